-- Zones whose id begins so, and what to say of each.
select zone_id as name, min(zone_name) as text
from syncer.zones
where starts_with(zone_id, $1)
  and ($2::text[] is null or account = any ($2))
  and ($3::text[] is null or service = any ($3))
group by zone_id
order by zone_id
limit 500
