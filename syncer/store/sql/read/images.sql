-- Images, as `syncer images` shows them.
select account, service, zone_id, image_id, {tracked}, {added}, image_size_gib, extra,
       fingerprint, presence, first_seen_at, changed_at, removed_at, withheld_since, observed_at,
       unlisted_since
from syncer.images
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or zone_id ~ any ($3))
  and ($4::text[] is null or image_id ~ any ($4) or image_name ~ any ($4))
  and ($5::text is null or presence = $5)
  and (not $6 or withheld_since is not null)
order by account, service, zone_id, image_id
limit $7
