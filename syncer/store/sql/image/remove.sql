-- End the latest version of images that the API, asked by id, did not return.
with latest as (
    select i.image_id
    from syncer_store.images as i
    where i.zone_key = $1 and i.image_id = any ($4::text[]) and i.removed_at is null
    order by i.image_id
    for update
), numbered as (
    select image_id, $3::integer + row_number() over (order by image_id)::integer as ordinal
    from latest
)
update syncer_store.images as i
set removed_at = greatest(now(), i.valid_from + interval '1 microsecond'),
    removed_run_id = $2, removed_ordinal = n.ordinal,
    removed_not_before = coalesce(i.unlisted_after, $5),
    unlisted_after = null, withheld_since = null
from numbered as n
where i.zone_key = $1 and i.image_id = n.image_id
