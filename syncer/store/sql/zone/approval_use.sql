-- Count with the approval that applies to a run what was removed ($4, at $3); it stays for what did
-- not count, unless every question did ($5).
update syncer_store.approvals
set removed = removed + $4,
    outcome = case when $5 then 'applied' end,
    decided_at = case when $5 then $3::timestamptz end,
    run_id = case when $5 then $2::bigint end,
    candidates = case when $5 then removed + $4 end
where zone_key = $1 and outcome is null and of_run_id is null and applied_run_id = $2
returning approval_id
