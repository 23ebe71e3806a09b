-- Say that this session prunes the account; no row where another one does. (A process id is given
-- anew, and a key can be seen: whoever may not write does not prune.)
insert into syncer_store.prunes as p (account, pid, lock_key)
values ($1, pg_backend_pid(), $2)
on conflict (account) do update
set pid = excluded.pid, lock_key = excluded.lock_key
where not exists (
    select from pg_locks as l
    join pg_stat_activity as s using (pid)
    where l.pid = p.pid and l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
      and l.objsubid = 1 and l.pid <> excluded.pid
      and ((l.classid::bigint << 32) | l.objid::bigint) = p.lock_key
      and l.database = (select oid from pg_database where datname = current_database())
      and syncer_store.may_write(s.usesysid))
returning account
