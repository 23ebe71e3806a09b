-- Whether this run is still the newest of its account: an older one may not write.
select coalesce(max(run_id), 0) = $2 from syncer_store.runs where account = $1
