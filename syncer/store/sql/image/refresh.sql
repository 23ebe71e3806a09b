-- Write what opens no version: extra, a column that was added later and is filled, or a digest.
with incoming as (
    select *
    from unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[])
        as t (image_id, extra, fingerprint, extra_digest, added)
), latest as (
    select i.image_id
    from syncer_store.images as i
    where i.zone_key = $1 and i.image_id in (select image_id from incoming)
    order by i.image_id
    for update
)
update syncer_store.images as i
set extra = t.extra::jsonb, added = t.added::jsonb, fingerprint = t.fingerprint, extra_digest = t.extra_digest
from latest as l
join incoming as t using (image_id)
where i.zone_key = $1 and i.image_id = l.image_id
