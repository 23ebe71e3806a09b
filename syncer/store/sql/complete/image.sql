-- Images whose id begins so, and what to say of each.
select image_id as name, min(image_name) as text
from syncer.images
where starts_with(image_id, $1)
  and ($2::text[] is null or account = any ($2))
  and ($3::text[] is null or service = any ($3))
group by image_id
order by image_id
limit 500
