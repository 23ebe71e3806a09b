-- Names and ids of images that begin as a text does, to be offered in the place of an unknown one.
select distinct name
from (
    select unnest(array[image_id, image_name]) as name
    from syncer.images
) as each
where starts_with(lower(name), lower(left($1, 3)))
order by name
limit 2000
