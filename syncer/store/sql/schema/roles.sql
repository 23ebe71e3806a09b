-- The two roles of syncer. Run as a superuser or a role with CREATEROLE that owns the schemas;
-- harmless to run again. Give them to your login roles:
--   grant syncer_writer to my_syncer;  grant syncer_reader to my_dashboard;

do $$
begin
    if not exists (select from pg_roles where rolname = 'syncer_writer') then
        create role syncer_writer nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'syncer_reader') then
        create role syncer_reader nologin;
    end if;
end $$;

-- Who may only connect makes no temporary tables (as far as the database is ours); upgrades do.
do $$
begin
    if (select pg_has_role(datdba, 'usage') from pg_database where datname = current_database()) then
        execute format('grant temporary on database %I to %s', current_database(),
                       (select nspowner::regrole from pg_namespace where nspname = 'syncer_store'));
        execute format('revoke temporary on database %I from public', current_database());
    end if;
end $$;

-- syncer_writer: what `syncer sync` needs, and no more (migrations are the owner's).
grant usage on schema syncer, syncer_store to syncer_writer;
grant select, insert, update, delete on all tables in schema syncer_store to syncer_writer;
revoke insert, update, delete on syncer_store.alembic_version from syncer_writer;
grant usage on all sequences in schema syncer_store to syncer_writer;
grant select on all tables in schema syncer to syncer_writer;
grant execute on all functions in schema syncer to syncer_writer;

-- Of an approval it writes what came of it, and its time where db repair-clock moves that: what was
-- approved, and by whom, stays.
do $$
declare
    outcome text := (
        select string_agg(quote_ident(attname), ', ') from pg_attribute
        where attrelid = to_regclass('syncer_store.approvals') and attnum > 0 and not attisdropped
          and attname not in ('approval_id', 'zone_key', 'max_removals', 'approved_by',
                              'of_run_id'));
begin
    if outcome is not null then  -- an old schema has no approvals
        revoke update, delete on syncer_store.approvals from syncer_writer;
        execute format('grant update (%s) on syncer_store.approvals to syncer_writer', outcome);
    end if;
end $$;

-- syncer_reader: the views and functions of schema syncer, nothing of syncer_store.
grant usage on schema syncer to syncer_reader;
grant select on all tables in schema syncer to syncer_reader;
grant execute on all functions in schema syncer to syncer_reader;

-- The same for what upgrades add: they are the owner's, whoever runs this.
do $$
declare
    store text := (select nspowner::regrole from pg_namespace where nspname = 'syncer_store');
    views text := (select nspowner::regrole from pg_namespace where nspname = 'syncer');
begin
    execute 'alter default privileges for role ' || store || ' in schema syncer_store
        grant select, insert, update, delete on tables to syncer_writer';
    execute 'alter default privileges for role ' || store || ' in schema syncer_store
        grant usage on sequences to syncer_writer';
    execute 'alter default privileges for role ' || views || ' in schema syncer
        grant select on tables to syncer_writer, syncer_reader';
    execute 'alter default privileges for role ' || views || ' in schema syncer
        grant execute on functions to syncer_writer, syncer_reader';
end $$;
