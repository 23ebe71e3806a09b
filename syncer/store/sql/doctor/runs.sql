-- The newest runs of an account, newest first; times by the clock.
select run_id, status, clock_at as started_at, finished_at - (started_at - clock_at) as finished_at,
       deadline_at, error_code, error_message, zones, images, clock_timestamp() as now
from syncer.runs
where account = $1
order by run_id desc
limit 20
