-- The zones of an account, but for those retired, as metrics show them; ages are by the database's clock.
select account, service, zone_id, present_images, withheld_removals, unlisted_images,
       gone_at is not null as gone, last_complete_clock is null as unseen,
       extract(epoch from clock_timestamp() - coalesce(last_complete_clock, first_seen_at))
           ::double precision as age
from syncer.zones
where account = $1 and retired_by is null
order by service, zone_id
