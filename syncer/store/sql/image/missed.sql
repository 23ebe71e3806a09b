-- Images that a whole look did not list: from its end ($3) on they are missing, if they were not yet.
-- $4 is the last whole look before it; an image of the same name may have appeared in this one.
insert into syncer_store.missing as m (
    zone_key, image_id, missing_since, since_run_id, last_listed_at, last_run_id, namesake_id)
select i.zone_key, i.image_id, $3::timestamptz, $2,
       syncer_store.last_seen(i.zone_key, i.image_id, i.opened_run_id, $4::timestamptz), $2,
       (select n.image_id from syncer_store.images as n
        where n.zone_key = i.zone_key and n.opened_run_id = $2 and n.image_name = i.image_name
          and n.opened_kind in ('appeared', 'returned')
        order by n.image_id limit 1)
from syncer_store.images as i
where i.zone_key = $1 and i.image_id = any ($5::text[]) and i.removed_at is null
order by i.image_id
on conflict (zone_key, image_id) do update
set looks = m.looks + 1, last_run_id = excluded.last_run_id
where m.last_run_id <> excluded.last_run_id
