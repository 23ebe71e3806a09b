-- Open a version of each image that changed or returned; the one before moves to the history. The
-- ids come in order, and so rows are locked. Looked up one by one, then found by their place: no
-- join is left that a planner could get wrong where it knows nothing of the tables.
with latest as materialized (
    select t.*, stored.place, stored.was, greatest(
        now(), coalesce((stored.was).removed_at, (stored.was).valid_from) + interval '1 microsecond'
    ) as opens_at
    from unnest(
        $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[], $16::text[],
        $17::integer[], $18::text[])
        as t (image_id, image_name, image_type, image_size, image_description, image_version,
              image_status, category, os_type, extra, fingerprint, extra_digest, kind, ordinal,
              fields)
    cross join lateral (
        select i.ctid as place, i as was
        from syncer_store.images as i
        where i.zone_key = $1 and i.image_id = t.image_id
        limit 1
        for update
    ) as stored
), superseded as (
    insert into syncer_store.image_history (
        zone_key, image_id, image_name, image_type, image_size, image_description, image_version,
        image_status, category, os_type, valid_from, valid_to, opened_kind, opened_run_id,
        opened_ordinal, opened_not_before, changed_fields, removed_run_id, removed_ordinal,
        removed_not_before)
    select (was).zone_key, (was).image_id, (was).image_name, (was).image_type, (was).image_size,
           (was).image_description, (was).image_version, (was).image_status, (was).category,
           (was).os_type, (was).valid_from, coalesce((was).removed_at, opens_at),
           (was).opened_kind, (was).opened_run_id, (was).opened_ordinal, (was).opened_not_before,
           (was).changed_fields, (was).removed_run_id, (was).removed_ordinal,
           (was).removed_not_before
    from latest
)
update syncer_store.images as i
set image_name = l.image_name, image_type = l.image_type, image_size = l.image_size,
    image_description = l.image_description, image_version = l.image_version,
    image_status = l.image_status, category = l.category, os_type = l.os_type,
    extra = l.extra::jsonb, fingerprint = l.fingerprint, extra_digest = l.extra_digest,
    valid_from = l.opens_at, opened_kind = l.kind::syncer_store.opening, opened_run_id = $2,
    opened_ordinal = l.ordinal, opened_not_before = coalesce(i.unlisted_after, $3),
    changed_fields = string_to_array(l.fields, ','),
    removed_at = null, removed_run_id = null, removed_ordinal = null, removed_not_before = null,
    unlisted_after = null, withheld_since = null
from latest as l
where i.ctid = l.place
