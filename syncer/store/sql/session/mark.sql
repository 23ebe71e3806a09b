-- Set a variable for the rest of the session, and say which process did it.
select pg_backend_pid() as pid, set_config('syncer.session', $1, false)
