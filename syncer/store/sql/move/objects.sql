-- What holds the schema together, by name: constraints, triggers, indexes, functions and views, each
-- with whether it is in force. Not-null constraints have names since PostgreSQL 18 only.
select format('constraint %s.%s %s %s', conrelid::regclass, conname, contype, convalidated)
from pg_constraint
where connamespace = 'syncer_store'::regnamespace and contype <> 'n' and conrelid <> 0
union all
select format('trigger %s.%s %s', tgrelid::regclass, tgname, tgenabled)
from pg_trigger as t
join pg_class as c on c.oid = t.tgrelid
where c.relnamespace = 'syncer_store'::regnamespace and not tgisinternal
union all
select format('index %s %s', indexrelid::regclass, indisvalid)
from pg_index as i
join pg_class as c on c.oid = i.indexrelid
where c.relnamespace = 'syncer_store'::regnamespace
union all
select format('column %s.%s %s %s', c.oid::regclass, a.attname,
              format_type(a.atttypid, a.atttypmod), a.attnotnull)
from pg_attribute as a
join pg_class as c on c.oid = a.attrelid
where c.relnamespace in ('syncer_store'::regnamespace, 'syncer'::regnamespace)
  and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped
union all
select format('function %s', p.oid::regprocedure)
from pg_proc as p
left join pg_depend as d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
where p.pronamespace in ('syncer_store'::regnamespace, 'syncer'::regnamespace) and d.objid is null
union all
select 'revision ' || revision from syncer.schema_version
