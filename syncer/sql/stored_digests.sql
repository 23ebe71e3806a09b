-- What is stored of a zone, without its columns.
select image_id, fingerprint, extra_digest, removed_at is null as present,
       unlisted_after is not null or withheld_since is not null as unlisted,
       withheld_since is not null as withheld
from syncer_store.images
where zone_key = $1
