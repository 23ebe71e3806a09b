-- The ids of a zone's images that are stored as present, those that are missing among them.
select image_id
from syncer_store.images
where zone_key = $1 and removed_at is null
