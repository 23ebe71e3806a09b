-- The tables of the store and their columns, but for the schema's version, which upgrades write.
select c.relname::text as name, quote_ident(c.relname) as quoted,
       array_agg(a.attname::text order by a.attname) as columns,
       string_agg(quote_ident(a.attname), ', ' order by a.attname) as listed
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as a on a.attrelid = c.oid
where n.nspname = 'syncer_store' and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
  and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
group by c.relname
order by c.relname collate "C"
