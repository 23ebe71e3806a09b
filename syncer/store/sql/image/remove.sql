-- End at $4 the latest version of images that the API, asked by id, did not return, and the gap in
-- what is known of them.
with gone as (
    delete from syncer_store.missing as m
    where m.zone_key = $1 and m.image_id = any ($5::text[])
    returning m.*
), closed as (
    insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
        ended_run_id, last_listed_at, rule, withheld_since, namesake_id, approval_id)
    select zone_key, image_id, missing_since, $4::timestamptz, 'removed', $2, last_listed_at, rule,
           withheld_since, namesake_id, coalesce(approval_id, $6)
    from gone
), latest as (
    select i.image_id, gone.last_listed_at
    from syncer_store.images as i
    join gone using (zone_key, image_id)
    where i.removed_at is null
    order by i.image_id
    for update of i
), numbered as (
    select image_id, last_listed_at,
           $3::integer + row_number() over (order by image_id)::integer as ordinal
    from latest
)
update syncer_store.images as i
set removed_at = greatest($4::timestamptz, i.valid_from + interval '1 microsecond'),
    removed_run_id = $2, removed_ordinal = n.ordinal, removed_not_before = n.last_listed_at
from numbered as n
where i.zone_key = $1 and i.image_id = n.image_id
