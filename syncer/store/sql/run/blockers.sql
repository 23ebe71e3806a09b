-- The sessions whose transactions a session ($1) waits for, but for those that wait themselves.
select b.pid, a.usename::text as role, a.application_name
from unnest(pg_blocking_pids($1)) as b (pid)
left join pg_stat_activity as a using (pid)
where not exists (select from pg_locks as l where l.pid = b.pid and not l.granted)
