-- For the rest of the transaction nothing waits longer than $1 milliseconds for a lock: neither a
-- run nor a prune hangs on a session that is frozen.
select set_config('lock_timeout', $1, true)
