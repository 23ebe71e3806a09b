-- The images of a baseline, as pins.
select account, service, zone_id, image_id, {tracked}, added
from syncer.baseline_images
where name = $1
order by account, service, zone_id, image_id
