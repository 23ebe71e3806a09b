-- What of an embedded server is not the program's own, and is not moved with the inventory.
select 'role ' || rolname from pg_roles
where rolname not in ('syncer', 'syncer_writer', 'syncer_reader') and rolname !~ '^pg_'
union all
select 'database ' || datname from pg_database
where not datistemplate and datname not in ('postgres', 'syncer')
union all
select i.type || ' ' || i.identity
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
left join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
cross join lateral pg_identify_object('pg_class'::regclass, c.oid, 0) as i
where c.relkind in ('r', 'p', 'v', 'm', 'f') and d.objid is null
  and n.nspname not in ('syncer', 'syncer_store', 'information_schema') and n.nspname !~ '^pg_'
union all
select format('function %s', p.oid::regprocedure)
from pg_proc as p
join pg_namespace as n on n.oid = p.pronamespace
left join pg_depend as d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
where d.objid is null
  and n.nspname not in ('syncer', 'syncer_store', 'information_schema') and n.nspname !~ '^pg_'
order by 1
