-- What the tables take on the disk, their indexes included.
select c.relname::text as name, pg_total_relation_size(c.oid) as octets
from pg_class as c
where c.relnamespace = (select oid from pg_namespace where nspname = 'syncer_store')
  and c.relkind in ('r', 'p', 'm')
order by octets desc
