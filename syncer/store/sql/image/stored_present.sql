-- What is stored of the images of a zone that are present.
select image_id, fingerprint, extra_digest, true as present,
       unlisted_after is not null or withheld_since is not null as unlisted,
       withheld_since is not null as withheld, image_type
from syncer_store.images
where zone_key = $1 and removed_at is null
