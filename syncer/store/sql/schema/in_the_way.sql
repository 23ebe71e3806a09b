-- The sessions that hold a lock on anything of ours, and so keep a migration waiting; when their
-- transactions began is seen by their own role, and by who may read all statistics.
select l.pid, a.usename::text as role, a.application_name, a.xact_start
from (
    select distinct pid
    from pg_locks
    where granted
      and pid <> pg_backend_pid()
      and database = (select oid from pg_database where datname = current_database())
      and relation in (
          select oid from pg_class
          where relnamespace in (to_regnamespace('syncer'), to_regnamespace('syncer_store')))
) as l
left join pg_stat_activity as a using (pid)
order by a.xact_start nulls last, l.pid
