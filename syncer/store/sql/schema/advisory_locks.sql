-- For a superuser, in this database: only syncer takes advisory locks. They fill the lock table that
-- all programs of the server share. Another program that takes some here needs a grant of its own.
do $$
declare
    name regprocedure;
begin
    for name in
        select oid from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
          and proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
    loop
        execute format('revoke execute on function %s from public', name);
        execute format('grant execute on function %s to syncer_writer, %s', name,
                       (select nspowner::regrole from pg_namespace where nspname = 'syncer_store'));
    end loop;
    -- And only who may update it can lock the view that pg_dump, and so syncer db dump, waits for.
    revoke update on pg_catalog.pg_settings from public;
end $$;
