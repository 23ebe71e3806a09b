-- End the process of a run ($2) whose time is up, if it still is the one that the run has its lock in.
select pg_terminate_backend(pid)
from syncer.runs
where account = $1 and run_id = $2 and pid is not null and deadline_at < clock_timestamp()
