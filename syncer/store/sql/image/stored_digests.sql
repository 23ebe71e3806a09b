-- The digests of the images of a zone that are present and were listed, without and with extra;
-- how many are present, and how many are stored at all.
select string_agg(fingerprint, '') filter (where listed and extra_digest is null) as plain,
       string_agg(fingerprint || extra_digest, '') filter (where listed) as extended,
       count(*) filter (where present) as present, count(*) as rows
from (
    select fingerprint, extra_digest, removed_at is null as present,
           removed_at is null and unlisted_after is null and withheld_since is null as listed
    from syncer_store.images
    where zone_key = $1) as stored
