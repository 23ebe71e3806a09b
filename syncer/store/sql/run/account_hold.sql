-- Say who is at work: the run, its process, and the advisory lock that this session took.
update syncer_store.accounts
set run_id = $2, pid = pg_backend_pid(), lock_key = $3
where account = $1
returning pid
