-- A zone that a person took for gone was read again.
update syncer_store.retirements
set ended_at = $2
where zone_key = $1 and ended_at is null
