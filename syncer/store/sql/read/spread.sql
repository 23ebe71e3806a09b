-- Images that zones do not offer alike, as `syncer spread` shows them.
select account, service, image_name, differs, zones, missing_zones, image_versions, image_sizes,
       image_statuses, image_ids, offers
from syncer.image_spread
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or exists (
        select from unnest(zones || missing_zones) as z where z ~ any ($3)))
  and ($4::text[] is null or image_name ~ any ($4)
       or exists (select from unnest(image_ids) as i where i ~ any ($4)))
order by account, service, image_name
limit $5
