-- Zones whose content is not known at an instant.
select account, service, zone_id, gone, gone is null and $4 > clock_timestamp() as to_come
from syncer.zone_coverage($4, case when cardinality($1::text[]) = 1 then ($1::text[])[1] end)
where coverage = 'unknown'
  and ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or zone_id ~ any ($3))
order by account, service, zone_id
