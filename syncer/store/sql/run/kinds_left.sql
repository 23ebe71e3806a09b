-- The kinds (a service and an image type; $3, $4) that still have an image in zones ($2) which
-- was present before this run ($1; null: nothing of it is stored), and which the looks of this run
-- did not miss ($5, $6).
select distinct k.service, k.image_type
from unnest($3::text[], $4::text[]) as k (service, image_type)
where exists (
    select from syncer_store.zones as z
    join syncer_store.images as i using (zone_key)
    where z.zone_key = any ($2::integer[]) and z.service = k.service
      and i.image_type is not distinct from k.image_type and i.removed_at is null
      and (i.opened_run_id is distinct from $1::bigint or i.opened_kind = 'changed')
      and (i.zone_key, i.image_id) not in (
          select t.zone_key, t.image_id
          from unnest($5::integer[], $6::text[]) as t (zone_key, image_id)))
