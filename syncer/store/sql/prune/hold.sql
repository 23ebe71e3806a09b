-- Say that this session prunes the account, whose row is locked; no row where another one does.
update syncer_store.accounts as a
set prune_pid = pg_backend_pid(), prune_key = $2
where a.account = $1 and not exists (
    select from pg_locks as l
    where l.pid = a.prune_pid and l.locktype = 'advisory' and l.granted
      and l.mode = 'ExclusiveLock' and l.objsubid = 1 and l.pid <> pg_backend_pid()
      and ((l.classid::bigint << 32) | l.objid::bigint) = a.prune_key
      and l.database = (select oid from pg_database where datname = current_database()))
returning a.account
