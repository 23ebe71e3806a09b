-- This run's whole look is the one that the pending approval of a zone was for.
update syncer_store.approvals
set applied_run_id = $2
where zone_key = $1 and outcome is null and of_run_id is null
returning approval_id, approved_by
