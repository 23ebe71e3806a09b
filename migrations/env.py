"""Alembic's environment: SQL first, one transaction for everything, one migrator at a time.

``syncer db upgrade`` passes a live connection in ``config.attributes["connection"]``; without one
(``--sql``) the statements are printed for a DBA.
"""

from alembic import context

STORE = "syncer_store"

# One migrator at a time: the one that waits here finds nothing left to do.
ALONE = f"""
    do $$ begin
        if to_regclass('{STORE}.alembic_version') is not null then
            lock table {STORE}.alembic_version in access exclusive mode;
        end if;
    end $$"""

# Who reads locks a view and then its tables: whoever changes a table and then the view may meet him
# in a deadlock. So all views are locked before any table (a lock of a view by LOCK is one of its
# tables too; to give it the owner that it has is not). Migrations keep readers waiting anyway.
VIEWS_FIRST = """
    do $$ declare
        view record;
    begin
        for view in
            select quote_ident(c.relname) as name, c.relowner::regrole::text as owner
            from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = 'syncer' and c.relkind = 'v'
            order by c.oid
        loop
            execute 'alter view syncer.' || view.name || ' owner to ' || view.owner;
        end loop;
    end $$"""

# What others were granted on our views and functions is lost with each that a migration makes anew,
# and with a function everybody may call it again. So it is noted before, and restored after, where
# there is another of the same name. In a setting of the transaction: a table needs more rights.
# No percent sign: printed, it would be two.
GRANTS = """
        select o.kind || ' syncer.' || quote_ident(o.name) || o.arguments as object, o.oid,
               g.privilege_type || of_column as privilege, g.is_grantable,
               case when g.grantee = 0 then 'public' else g.grantee::regrole::text end as grantee
        from (
            select 'function' as kind, oid, pronamespace as space, proname as name,
                   '(' || pg_get_function_identity_arguments(oid) || ')' as arguments,
                   '' as of_column, proowner as owner,
                   coalesce(proacl, acldefault('f', proowner)) as acl
            from pg_proc
            union all
            select 'table', oid, relnamespace, relname, '', '', relowner,
                   coalesce(relacl, acldefault('r', relowner))
            from pg_class where relkind in ('v', 'm')
            union all
            select 'table', c.oid, c.relnamespace, c.relname, '',
                   ' (' || quote_ident(a.attname) || ')', c.relowner, a.attacl
            from pg_class as c join pg_attribute as a on a.attrelid = c.oid
            where c.relkind in ('v', 'm') and a.attacl is not null
        ) as o
        join pg_namespace as n on n.oid = o.space and n.nspname = 'syncer'
        left join lateral (
            select * from aclexplode(o.acl) as g where g.grantee <> o.owner) as g on true"""
NOTE_GRANTS = f"""
    do $$ begin
        perform set_config('syncer.grants', (
            select coalesce(json_agg(g), '[]')::text from ({GRANTS}) as g), true);
    end $$"""
RESTORE_GRANTS = f"""
    do $$ declare
        change record;
    begin
        for change in
            with noted as materialized (
                select * from json_to_recordset(current_setting('syncer.grants')::json) as g (
                    object text, oid oid, privilege text, is_grantable boolean, grantee text)
            ), found as materialized ({GRANTS}
            ), anew as (
                select object from found
                except select f.object from found as f join noted using (oid)
            )
            select 'revoke ' || privilege || ' on ' || object || ' from ' || grantee as statement
            from (select object, privilege, grantee from found
                  except select object, privilege, grantee from noted) as g
            where object in (select object from anew) and object in (select object from noted)
              and privilege is not null
            union all
            select 'grant ' || privilege || ' on ' || object || ' to ' || grantee
                   || case when is_grantable then ' with grant option' else '' end
            from (select object, privilege, is_grantable, grantee from noted
                  except select object, privilege, is_grantable, grantee from found) as g
            where object in (select object from anew) and privilege is not null
        loop
            execute change.statement;
        end loop;
    end $$"""

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(
        dialect_name="postgresql",
        as_sql=True,
        version_table_schema=STORE,
        output_buffer=context.config.output_buffer,
    )
    with context.begin_transaction():
        context.execute(f"create schema if not exists {STORE}")
        context.execute(VIEWS_FIRST)
        context.execute(NOTE_GRANTS)
        context.run_migrations()
        context.execute(RESTORE_GRANTS)
else:
    context.configure(connection=connection, version_table_schema=STORE)
    with context.begin_transaction():
        context.execute(f"create schema if not exists {STORE}")
        context.execute(ALONE)
        context.config.attributes["before"] = context.get_context().get_current_revision()
        context.execute(VIEWS_FIRST)
        context.execute(NOTE_GRANTS)
        context.run_migrations()
        context.execute(RESTORE_GRANTS)
