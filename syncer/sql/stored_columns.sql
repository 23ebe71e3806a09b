-- The tracked columns of images whose digests differ.
select image_id, image_name, image_type, image_size, image_description, image_version, image_status, category, os_type
from syncer_store.images
where zone_key = $1 and image_id = any ($2::text[])
