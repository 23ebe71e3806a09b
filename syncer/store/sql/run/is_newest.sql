-- Whether this run is still the newest of its account: an older one may not write.
select run_id = $2 from syncer_store.accounts where account = $1
