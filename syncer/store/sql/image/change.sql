-- Open a version of each image that changed or returned; the one before moves to the history.
with incoming as (
    select *
    from unnest(
        $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[], $16::text[],
        $17::integer[], $18::text[])
        as t (image_id, image_name, image_type, image_size, image_description, image_version,
              image_status, category, os_type, extra, fingerprint, extra_digest, kind, ordinal,
              fields)
), latest as (
    select i.*, greatest(now(), coalesce(i.removed_at, i.valid_from) + interval '1 microsecond')
        as opens_at
    from syncer_store.images as i
    where i.zone_key = $1 and i.image_id in (select image_id from incoming)
    order by i.image_id
    for update
), superseded as (
    insert into syncer_store.image_history (
        zone_key, image_id, image_name, image_type, image_size, image_description, image_version,
        image_status, category, os_type, valid_from, valid_to, opened_kind, opened_run_id,
        opened_ordinal, opened_not_before, changed_fields, removed_run_id, removed_ordinal,
        removed_not_before)
    select zone_key, image_id, image_name, image_type, image_size, image_description,
           image_version, image_status, category, os_type, valid_from,
           coalesce(removed_at, opens_at), opened_kind, opened_run_id, opened_ordinal,
           opened_not_before, changed_fields, removed_run_id, removed_ordinal, removed_not_before
    from latest
)
update syncer_store.images as i
set image_name = t.image_name, image_type = t.image_type, image_size = t.image_size,
    image_description = t.image_description, image_version = t.image_version,
    image_status = t.image_status, category = t.category, os_type = t.os_type,
    extra = t.extra::jsonb, fingerprint = t.fingerprint, extra_digest = t.extra_digest,
    valid_from = l.opens_at, opened_kind = t.kind::syncer_store.opening, opened_run_id = $2,
    opened_ordinal = t.ordinal, opened_not_before = coalesce(i.unlisted_after, $3),
    changed_fields = string_to_array(t.fields, ','),
    removed_at = null, removed_run_id = null, removed_ordinal = null, removed_not_before = null,
    unlisted_after = null, withheld_since = null
from latest as l
join incoming as t using (image_id)
where i.zone_key = $1 and i.image_id = l.image_id
