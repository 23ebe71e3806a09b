-- A later approval, at $2, replaces an earlier one.
update syncer_store.approvals
set outcome = 'replaced', decided_at = $2::timestamptz
where zone_key = $1 and outcome is null and of_run_id is null
