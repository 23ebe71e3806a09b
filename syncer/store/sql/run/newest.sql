-- The newest run of an account, whether its time is up, and the process that it is at work in.
select r.run_id, r.status, r.started_at, r.deadline_at,
       r.deadline_at < clock_timestamp() as overdue, r.pid, s.usename::text as role,
       s.application_name
from syncer.runs as r
left join pg_stat_activity as s using (pid)
where r.account = $1
order by r.run_id desc
limit 1
