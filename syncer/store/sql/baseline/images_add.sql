-- Copy the images that were present at an instant into a baseline.
with copied as (
    insert into syncer_store.baseline_images (
        baseline_id, zone_key, image_id, {tracked}, added)
    select $5, z.zone_key, i.image_id, {tracked: i.@}, i.added
    from syncer.images_asof($6) as i
    join syncer_store.zones as z using (account, service, zone_id)
    where ($1::text[] is null or i.account = any ($1))
      and ($2::text[] is null or i.service = any ($2))
      and ($3::text[] is null or i.zone_id ~ any ($3))
      and ($4::text[] is null or i.image_id ~ any ($4) or i.image_name ~ any ($4))
    returning zone_key
)
select count(*) as images, count(distinct zone_key) as zones
from copied
