-- Who holds the run lock ($1) or writes under the fence ($2) of an account.
select distinct l.pid, a.backend_start, a.application_name, a.client_addr::text as client
from pg_locks as l
join pg_stat_activity as a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database())
  and ((l.classid::bigint << 32) | l.objid::bigint) = any ($1::bigint[])
