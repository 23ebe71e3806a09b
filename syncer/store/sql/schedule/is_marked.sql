-- Whether a transaction of this database has that mark.
select exists (
    select from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
      and ((classid::bigint << 32) | objid::bigint) = $1
      and database = (select oid from pg_database where datname = current_database()))
