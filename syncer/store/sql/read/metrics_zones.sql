-- The zones of an account that are there, as metrics show them; ages are by the database's clock.
select account, service, zone_id, present_images, withheld_removals, unlisted_images,
       last_complete_clock is null as unseen,
       extract(epoch from clock_timestamp() - coalesce(last_complete_clock, first_seen_at))
           ::double precision as age
from syncer.zones
where account = $1 and gone_at is null
order by service, zone_id
