-- The zones that an approval may mean; locked against another approval at the same time.
select zone_key, account, service, zone_id, withheld, gone_at is not null as gone
from syncer_store.zones
where zone_id = $3 and ($1::text is null or account = $1) and ($2::text is null or service = $2)
order by account, service
for no key update
