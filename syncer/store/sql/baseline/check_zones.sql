-- The zones of pinned images, and how long ago each was read whole, by the database's clock.
select account, service, zone_id, gone_at, last_complete_at, now() - last_complete_clock as age
from syncer.zones
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and zone_id = any ($3::text[])
order by account, service, zone_id
