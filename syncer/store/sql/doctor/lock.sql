-- The process that the newest run of an account is at work in.
select r.pid, s.application_name, s.client_addr::text as client
from syncer.runs as r
left join pg_stat_activity as s using (pid)
where r.account = $1 and r.pid is not null
order by r.run_id desc
limit 1
