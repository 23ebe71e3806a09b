-- What a database is like: its encoding and its clock, and how many connections a role may have.
-- What is in use is counted by what every role may see.
select pg_backend_pid() as pid,
       current_setting('server_encoding') as encoding,
       extract(epoch from clock_timestamp())::double precision as clock,
       (select extversion from pg_extension where extname = 'btree_gist') as extension,
       r.rolname::text as role, d.datname::text as database, r.rolsuper as superuser,
       nullif(r.rolconnlimit, -1) as role_limit, nullif(d.datconnlimit, -1) as database_limit,
       current_setting('max_connections')::integer
           - current_setting('superuser_reserved_connections')::integer
           - coalesce(current_setting('reserved_connections', true)::integer, 0) as server_limit,
       a.role_used, a.database_used, a.server_used
from pg_roles as r
cross join pg_database as d
cross join lateral (
    select count(*) filter (where usesysid = r.oid) as role_used,
           count(*) filter (where datid = d.oid) as database_used,
           count(*) as server_used
    from pg_stat_get_activity(null)
    where datid is not null and usesysid is not null) as a
where r.rolname = session_user and d.datname = current_database()
