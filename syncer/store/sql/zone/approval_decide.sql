-- Use up, at $5, the pending approval of a zone: this whole look is the one that it was for.
update syncer_store.approvals
set outcome = $2, decided_at = $5::timestamptz, run_id = $3, candidates = $4
where zone_key = $1 and outcome is null and of_run_id is null
returning approval_id, approved_by
