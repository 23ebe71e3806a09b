-- What is not ours and depends on functions ($1), views ($2) or columns of tables ($3) of ours,
-- itself or by others, each after what it depends on: what it is, the statement that drops it, and
-- those that make it again (null: of this kind a person must know).
with recursive anew (classid, objid, objsubid) as (
    select 'pg_catalog.pg_proc'::pg_catalog.regclass::oid, p.oid, 0
    from pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
    where n.nspname || '.' || p.proname = any ($1::text[])
    union all
    select 'pg_catalog.pg_class'::pg_catalog.regclass::oid, c.oid, coalesce(a.attnum, 0)
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    left join pg_catalog.pg_attribute as a
        on a.attrelid = c.oid
       and n.nspname || '.' || c.relname || '.' || a.attname = any ($3::text[])
    where n.nspname || '.' || c.relname = any ($2::text[]) or a.attnum is not null
), edges as materialized (
    select d.refclassid, d.refobjid, d.refobjsubid,
           case when w.oid is null then d.classid
                else 'pg_catalog.pg_class'::pg_catalog.regclass end as classid,
           coalesce(w.ev_class, d.objid) as objid
    from pg_catalog.pg_depend as d
    left join pg_catalog.pg_rewrite as w
        on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and w.oid = d.objid
    left join pg_catalog.pg_class as c
        on c.oid = coalesce(w.ev_class, d.objid)
       and (w.oid is not null or d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
    left join pg_catalog.pg_proc as p
        on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.objid
    left join pg_catalog.pg_constraint as r
        on d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and r.oid = d.objid
    left join pg_catalog.pg_namespace as n on n.oid = coalesce(c.relnamespace, p.pronamespace, r.connamespace)
    where d.deptype = 'n' and coalesce(n.nspname, '') not in ('syncer', 'syncer_store')
      and d.refobjid is distinct from w.ev_class -- as rules have it before PostgreSQL 16
), dependents (classid, objid, depth) as (
    select e.classid, e.objid, 1
    from anew as a
    join edges as e on e.refclassid = a.classid and e.refobjid = a.objid
                   and (a.objsubid = 0 or e.refobjsubid = a.objsubid)
    union
    select e.classid, e.objid, d.depth + 1
    from dependents as d
    left join pg_catalog.pg_class as c
        on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid
    join edges as e on (e.refclassid, e.refobjid) in (
        (d.classid, d.objid), ('pg_catalog.pg_type'::pg_catalog.regclass::oid, c.reltype))
    where d.depth < 100
), theirs as (
    select d.classid, d.objid, max(d.depth) as depth, c.relkind, c.relowner, p.prokind, p.proowner,
           pg_catalog.pg_describe_object(d.classid, d.objid, 0) as described,
           i.type, i.identity
    from dependents as d
    cross join lateral pg_catalog.pg_identify_object(d.classid, d.objid, 0) as i
    left join pg_catalog.pg_class as c
        on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid
    left join pg_catalog.pg_proc as p
        on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.objid
    group by d.classid, d.objid, c.relkind, c.relowner, p.prokind, p.proowner, i.type, i.identity
), made as (
    select t.*,
           case
               when t.relkind in ('v', 'm') then 'create ' || t.type || ' ' || t.identity
                   || coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '')
                   || E' as\n' || pg_catalog.pg_get_viewdef(t.objid)
               when t.prokind in ('f', 'p') then pg_catalog.pg_get_functiondef(t.objid) || ';'
               when l.oid is not null then 'create policy ' || quote_ident(l.polname) || ' on '
                   || l.polrelid::pg_catalog.regclass
                   || case when l.polpermissive then '' else ' as restrictive' end
                   || case l.polcmd when 'r' then ' for select' when 'a' then ' for insert'
                          when 'w' then ' for update' when 'd' then ' for delete' else '' end
                   || ' to ' || case when l.polroles = '{0}' then 'public' else (
                       select string_agg(r::pg_catalog.regrole::text, ', ')
                       from unnest(l.polroles) as r) end
                   || coalesce(' using (' || pg_catalog.pg_get_expr(l.polqual, l.polrelid) || ')', '')
                   || coalesce(' with check ('
                       || pg_catalog.pg_get_expr(l.polwithcheck, l.polrelid) || ')', '') || ';'
           end as statement,
           t.type || ' ' || t.identity as object,
           case when t.relkind is null then t.type else 'table' end || ' ' || t.identity as granted,
           coalesce(c.relacl, p.proacl) as acl
    from theirs as t
    left join pg_catalog.pg_class as c on c.oid = t.objid and t.relkind is not null
    left join pg_catalog.pg_proc as p on p.oid = t.objid and t.prokind is not null
    left join pg_catalog.pg_policy as l
        on t.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and l.oid = t.objid
)
select described,
       case when statement is not null then 'drop ' || object || ';' end as drop,
       case when statement is not null then concat_ws(E'\n',
           statement,
           'alter ' || object || ' owner to ' || coalesce(relowner, proowner)::pg_catalog.regrole || ';',
           case when prokind is not null and acl is not null
               then 'revoke all on ' || granted || ' from public;' end,
           (select string_agg('grant ' || privilege_type || ' on ' || granted || ' to '
                       || case when grantee = 0 then 'public'
                               else grantee::pg_catalog.regrole::text end
                       || case when is_grantable then ' with grant option;' else ';' end, E'\n')
            from pg_catalog.aclexplode(acl) where grantee <> coalesce(relowner, proowner)),
           (select string_agg('grant ' || g.privilege_type || ' (' || quote_ident(a.attname)
                       || ') on ' || granted || ' to '
                       || case when g.grantee = 0 then 'public'
                               else g.grantee::pg_catalog.regrole::text end || ';', E'\n')
            from pg_catalog.pg_attribute as a, pg_catalog.aclexplode(a.attacl) as g
            where a.attrelid = objid and relkind is not null),
           (select string_agg(pg_catalog.pg_get_indexdef(indexrelid) || ';', E'\n')
            from pg_catalog.pg_index where indrelid = objid and relkind = 'm'),
           (select string_agg(pg_catalog.pg_get_triggerdef(oid) || ';', E'\n' order by tgname)
            from pg_catalog.pg_trigger
            where tgrelid = objid and relkind is not null and not tgisinternal),
           (select string_agg(pg_catalog.pg_get_ruledef(oid), E'\n' order by rulename)
            from pg_catalog.pg_rewrite
            where ev_class = objid and relkind is not null and rulename <> '_RETURN'),
           (select string_agg('comment on ' || case objsubid when 0 then object
                       else 'column ' || identity || '.' || (
                           select quote_ident(attname) from pg_catalog.pg_attribute
                           where attrelid = k.objoid and attnum = k.objsubid) end
                       || ' is ' || quote_literal(description) || ';', E'\n')
            from pg_catalog.pg_description as k
            where k.classoid = made.classid and k.objoid = made.objid)) end as make
from made
order by depth, described
