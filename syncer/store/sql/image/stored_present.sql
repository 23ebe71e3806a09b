-- What is stored of the images of a zone that are present.
select i.image_id, i.fingerprint, i.extra_digest, true as present,
       m.image_id is not null as unlisted, i.image_type
from syncer_store.images as i
left join syncer_store.missing as m on m.zone_key = i.zone_key and m.image_id = i.image_id
where i.zone_key = $1 and i.removed_at is null
