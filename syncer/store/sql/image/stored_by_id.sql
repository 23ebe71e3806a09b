-- What is stored of some images of a zone, with their columns.
select image_id, fingerprint, extra_digest, removed_at is null as present,
       unlisted_after is not null or withheld_since is not null as unlisted,
       withheld_since is not null as withheld,
       {tracked}, extra::text
from syncer_store.images
where zone_key = $1 and image_id = any ($2::text[])
