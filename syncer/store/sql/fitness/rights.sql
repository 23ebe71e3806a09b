-- What this role lacks of what syncer_writer has, and what it has beyond any need of a sync.
with objects as (
    select n.nspname || '.' || c.relname as name, c.oid, c.relkind,
           case when n.nspname = 'syncer' then array['select']
                else array['select', 'insert', 'update', 'delete'] end as needed
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where (n.nspname = 'syncer_store' and c.relkind in ('r', 'p')
           and c.relname <> 'alembic_version')
       or (n.nspname = 'syncer' and c.relkind = 'v')
), lacking as (
    select 'usage' as privilege, 'schema ' || nspname as name
    from pg_namespace
    where nspname in ('syncer', 'syncer_store') and not has_schema_privilege(oid, 'usage')
    union all
    select p.privilege, o.name
    from objects as o
    cross join lateral unnest(o.needed) as p (privilege)
    where not has_table_privilege(o.oid, p.privilege)
      -- Of an approval its outcome is written, and its time by db repair-clock.
      and not (o.name = 'syncer_store.approvals'
               and (p.privilege = 'delete'
                    or p.privilege = 'update' and not exists (
                        select from pg_attribute as a
                        where a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
                          and a.attname not in ('approval_id', 'zone_key', 'max_removals',
                                                'approved_by', 'of_run_id')
                          and not has_column_privilege(o.oid, a.attnum, 'update'))))
)
select r.rolname::text as role, r.rolsuper as superuser, r.rolcreaterole as creates_roles,
       (select count(*) from objects) as objects,
       coalesce((select jsonb_object_agg(privilege, names order by privilege) from (
           select privilege, jsonb_agg(name order by name) as names
           from lacking group by privilege) as l), '{}') as lacks
from pg_roles as r
where r.rolname = current_user
