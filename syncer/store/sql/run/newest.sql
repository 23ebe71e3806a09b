-- The newest run of an account, and whether its time is up.
select run_id, status, started_at, deadline_at, deadline_at < clock_timestamp() as overdue
from syncer_store.runs
where account = $1
order by run_id desc
limit 1
