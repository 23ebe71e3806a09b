-- What is stored of some images of a zone, with their columns.
select i.image_id, i.fingerprint, i.extra_digest, i.removed_at is null as present,
       m.image_id is not null as unlisted, {tracked: i.@}, i.extra::text, i.added::text
from syncer_store.images as i
left join syncer_store.missing as m on m.zone_key = i.zone_key and m.image_id = i.image_id
where i.zone_key = $1 and i.image_id = any ($2::text[])
