-- The roles that may write what a run writes: by a right of their own, or of a role they belong to.
select r.oid
from pg_catalog.pg_roles as r
where exists (
    select
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    cross join lateral pg_catalog.aclexplode(
        coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) as a
    where n.nspname = 'syncer_store' and c.relname = 'accounts' and a.privilege_type = 'UPDATE'
      and (a.grantee = 0 or pg_catalog.pg_has_role(r.oid, a.grantee, 'MEMBER')))
