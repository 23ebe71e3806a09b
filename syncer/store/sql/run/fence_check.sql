-- Is this run still the newest of its account?
select coalesce(max(run_id), 0) = $2 from syncer_store.runs where account = $1
