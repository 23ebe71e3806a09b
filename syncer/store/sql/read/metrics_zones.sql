-- The zones of an account that are there, as metrics show them (Unix times by the clock; 0: never).
select account, service, zone_id, present_images, withheld_removals, unlisted_images,
       coalesce(extract(epoch from last_complete_clock), 0)::double precision as last_complete,
       extract(epoch from clock_timestamp() - coalesce(last_complete_clock, first_seen_at))
           ::double precision as age
from syncer.zones
where account = $1 and gone_at is null
order by service, zone_id
