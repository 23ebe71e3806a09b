-- The digests of the images of a zone that are present and were listed, without and with extra;
-- how many are present, and how many are stored at all.
select string_agg(fingerprint, '') filter (where listed and extra_digest is null) as plain,
       string_agg(fingerprint || extra_digest, '') filter (where listed) as extended,
       count(*) filter (where present) as present, count(*) as rows
from (
    select i.fingerprint, i.extra_digest, i.removed_at is null as present,
           i.removed_at is null and m.image_id is null as listed
    from syncer_store.images as i
    left join syncer_store.missing as m on m.zone_key = i.zone_key and m.image_id = i.image_id
    where i.zone_key = $1) as stored
