-- The images of a baseline, as pins.
select account, service, zone_id, image_id, {tracked}
from syncer.baseline_images
where name = $1
order by account, service, zone_id, image_id
