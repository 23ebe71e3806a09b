-- The zones of an account that are there, as metrics show them (Unix times; 0: never).
select account, service, zone_id, present_images, withheld_removals,
       coalesce(extract(epoch from last_complete_at), 0)::double precision as last_complete,
       extract(epoch from first_seen_at)::double precision as first_seen
from syncer.zones
where account = $1 and gone_at is null
order by service, zone_id
