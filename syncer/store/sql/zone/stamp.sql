-- Something outside of a run was stamped ($2): runs begin after it.
update syncer_store.zones
set newest_at = greatest(newest_at, $2::timestamptz)
where zone_key = $1
