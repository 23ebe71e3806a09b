-- The ids of the zones ever seen.
select distinct zone_id
from syncer.zones
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
order by zone_id
