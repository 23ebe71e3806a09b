-- A later approval replaces an earlier one.
update syncer_store.approvals
set outcome = 'replaced', decided_at = clock_timestamp()
where zone_key = $1 and outcome is null
