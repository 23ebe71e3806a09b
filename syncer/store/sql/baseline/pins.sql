-- The images of a baseline, as pins.
select account, service, zone_id, image_id, image_name, image_type, image_size,
       image_description, image_version, image_status, category, os_type
from syncer.baseline_images
where name = $1
order by account, service, zone_id, image_id
