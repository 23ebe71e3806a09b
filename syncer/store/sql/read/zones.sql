-- Zones, as `syncer zones` shows them.
select account, service, zone_id, zone_name, attributes, first_seen_at, last_seen_at, gone_at,
       last_complete_at, last_attempt_at, last_status, present_images, withheld_removals,
       approved_removals, kept_from, listed, unlisted_images, retired_by
from syncer.zones
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or zone_id ~ any ($3))
order by account, service, zone_id
limit $4
