-- Open a version at $4 of each image that changed or returned; the one before moves to the history.
-- Its state was seen last by the last whole look ($3), unless that missed it, or by a later look that
-- was not whole.
with incoming as (
    select *
    from unnest(
        $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::text[], $10::integer[], $11::text[],
        $12::text[], {tracked: $#::text[] from 13})
        as t (image_id, extra, fingerprint, extra_digest, kind, ordinal, fields, added,
              {tracked})
), latest as (
    select i.*, greatest($4::timestamptz, coalesce(i.removed_at, i.valid_from)
        + interval '1 microsecond') as opens_at
    from syncer_store.images as i
    where i.zone_key = $1 and i.image_id in (select image_id from incoming)
    order by i.image_id
    for update
), superseded as (
    insert into syncer_store.image_history (
        zone_key, image_id, {tracked}, added,
        valid_from, valid_to, opened_kind, opened_run_id, opened_ordinal, opened_not_before,
        changed_fields, removed_run_id, removed_ordinal, removed_not_before)
    select zone_key, image_id, {tracked}, added,
           valid_from, coalesce(removed_at, opens_at), opened_kind, opened_run_id, opened_ordinal,
           opened_not_before, changed_fields, removed_run_id, removed_ordinal, removed_not_before
    from latest
)
update syncer_store.images as i
set {tracked: @ = t.@},
    extra = t.extra::jsonb, added = t.added::jsonb,
    fingerprint = t.fingerprint, extra_digest = t.extra_digest,
    valid_from = l.opens_at, opened_kind = t.kind::syncer_store.opening, opened_run_id = $2,
    opened_ordinal = t.ordinal,
    opened_not_before = case when l.removed_at is null
        then coalesce(m.last_listed_at, syncer_store.last_seen($1, l.image_id, l.opened_run_id, $3))
        else $3 end,
    changed_fields = string_to_array(t.fields, ','),
    removed_at = null, removed_run_id = null, removed_ordinal = null, removed_not_before = null
from latest as l
join incoming as t using (image_id)
left join syncer_store.missing as m on m.zone_key = l.zone_key and m.image_id = l.image_id
where i.zone_key = $1 and i.image_id = l.image_id
