-- Write what opens no version: extra, a digest, or an image that was missed and is seen again. The
-- ids come in order, and so rows are locked (looked up as in images_change).
with latest as materialized (
    select t.*, stored.place
    from unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[])
        as t (image_id, extra, fingerprint, extra_digest)
    cross join lateral (
        select i.ctid as place
        from syncer_store.images as i
        where i.zone_key = $1 and i.image_id = t.image_id
        limit 1
        for update
    ) as stored
)
update syncer_store.images as i
set extra = l.extra::jsonb, fingerprint = l.fingerprint, extra_digest = l.extra_digest,
    unlisted_after = null, withheld_since = null
from latest as l
where i.ctid = l.place
