-- Of globs (as regular expressions, with their numbers from 1), those that match no image ever seen.
select asked.number
from unnest($4::text[]) with ordinality as asked (pattern, number)
where not exists (
    select from syncer.images
    where ($1::text[] is null or account = any ($1))
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
      and (image_id ~ asked.pattern or image_name ~ asked.pattern))
order by asked.number
