-- A team that reads its own accounts and no other. For a superuser, or for the owner of schema syncer
-- where the role is there already; harmless to run again, and to be run again after each update of
-- syncer (it has the new views and columns then) and with other accounts. With psql:
--     psql -v team=team_web -v accounts=prod,staging -d inventory -f deploy/sql/team.sql
-- makes the role team_web and, under the same name, a schema: the views and functions of schema
-- syncer, under their names, for the accounts prod and staging. Then, for a person or a tool:
--     create role anna login password '...' in role team_web;
--     alter role anna set search_path = team_web;
--     alter role anna set statement_timeout = '30s';
--
-- What a team cannot do is get rows of other accounts, or run anything with more rights than its own.
-- What it can, by trying: a plan (explain analyze) counts the rows that a condition left over, and
-- such conditions as image_name < 'M' are worked out before the accounts are (they are leakproof), so
-- names and zones of others can be guessed letter by letter. Where even names are secret, give each
-- team a database of its own. Nothing bounds what a question costs (how many steps image_counts is asked
-- for) but statement_timeout, which keeps from accidents: whoever connects may set it otherwise.
--
-- Do not give syncer_reader to such a login: it reads every account. Left out are views that look over
-- accounts (account_spread) or machines (workers), and baselines with images of other accounts. What is
-- numbered over all accounts (change_id, run_id) lets the team see how much goes on elsewhere, no more.
-- To take it all back, in this order:
--     drop schema team_web cascade; drop owned by team_web; drop role team_web;

\set ON_ERROR_STOP on

select format('create role %I nologin', :'team')
where not exists (select from pg_roles where rolname = :'team') \gexec

select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = 'syncer' \gset
set role :"owner";
begin;
select set_config('team.name', :'team', true), set_config('team.accounts', :'accounts', true) \g /dev/null

do $$
declare
    team constant text := current_setting('team.name');
    accounts constant text[] := regexp_split_to_array(btrim(current_setting('team.accounts')),
                                                      '\s*,\s*');
    mine constant text := format('%L::text[]', accounts);
    made record;
begin
    if team like 'syncer%' or team like 'pg\_%' or team = 'public' then
        raise 'schema % is not a team''s', team;
    end if;
    if to_regnamespace(quote_ident(team)) is null then
        execute format('create schema %I', team);
    elsif obj_description(to_regnamespace(quote_ident(team)), 'pg_namespace')
          like 'What syncer knows of the accounts %' is not true then
        raise 'schema % is there already, and not by this script', team;
    end if;
    execute format('comment on schema %I is %L', team, 'What syncer knows of the accounts '
                   || array_to_string(accounts, ', '));

    for made in
        select a as name from unnest(accounts) as a
        where not exists (select from syncer.runs as r where r.account = a)
    loop
        raise warning 'nothing is known of an account %', quote_literal(made.name);
    end loop;

    -- Each view that has the account of its rows; barriers keep whoever asks from seeing others by
    -- what their own conditions do or how they fail.
    for made in
        select table_name as name, format('select * from syncer.%I where account = any (%s)',
                                          table_name, mine) as query
        from information_schema.columns
        where table_schema = 'syncer' and column_name = 'account'
          and table_name in (select viewname from pg_views where schemaname = 'syncer')
        union all values
        ('schema_version', 'select * from syncer.schema_version'),
        ('feed', format('select (select max(r.last_change_id) from syncer.runs as r
                                 where r.account = any (%s)) as last_change_id, f.pruned_to
                         from syncer.feed as f', mine)),
        ('baselines', format('select b.* from syncer.baselines as b
                              where exists (select from syncer.baseline_images as i
                                            where i.name = b.name)
                                and not exists (select from syncer.baseline_images as i
                                                where i.name = b.name
                                                  and i.account <> all (%s))', mine))
    loop
        execute format('create or replace view %I.%I with (security_barrier) as %s',
                       team, made.name, made.query);
    end loop;

    -- Each function, with the rights of its owner, for the team's accounts. The path ends with what
    -- the caller made in a session: were it not named, a type there (text) would come before the real
    -- one, and what it checks would be done with the owner's rights.
    for made in
        select proname as name, pg_get_function_arguments(p.oid) as arguments,
               pg_get_function_result(p.oid) as result,
               array_position(proargnames, 'of_account') as nth, array(
                   select case when proargnames[n] = 'of_account' then 'a' else '$' || n end
                   from generate_series(1, pronargs) as n) as given
        from pg_proc as p
        where pronamespace = 'syncer'::regnamespace
    loop
        execute format('create or replace function %I.%I(%s) returns %s language sql stable '
                       'security definer set search_path = pg_catalog, pg_temp as %L', team, made.name, made.arguments, made.result,
            case
                when made.name = 'image_presence' then format(
                    'select case when $1 = any (%s) then syncer.image_presence($1, $2, $3, $4, $5) '
                    'else ''unknown'' end', mine)
                when made.nth is not null then format(
                    'select f.* from unnest(%s) as a cross join lateral syncer.%I(%s) as f '
                    'where a = coalesce($%s, a)', mine, made.name,
                    array_to_string(made.given, ', '), made.nth)
                else format( -- of all: as the one that is asked for an account, for each of them
                    'select f.* from unnest(%s) as a cross join lateral syncer.%I(%s, a) as f', mine,
                    made.name, array_to_string(made.given, ', '))
            end);
    end loop;

    -- What they mean, as tools for SQL and BI show it.
    for made in
        select format('view %I.%I', team, v.relname) as named, obj_description(s.oid) as comment
        from pg_class as v
        join pg_class as s using (relname)
        where v.relnamespace = to_regnamespace(quote_ident(team))
          and s.relnamespace = 'syncer'::regnamespace
        union all
        select format('column %I.%I.%I', team, v.relname, a.attname),
               col_description(s.oid, a.attnum)
        from pg_class as v
        join pg_class as s using (relname)
        join pg_attribute as a on a.attrelid = s.oid and a.attnum > 0
        where v.relnamespace = to_regnamespace(quote_ident(team))
          and s.relnamespace = 'syncer'::regnamespace
        union all
        select format('function %I.%I(%s)', team, proname, pg_get_function_identity_arguments(oid)),
               obj_description(oid)
        from pg_proc
        where pronamespace = 'syncer'::regnamespace
    loop
        execute format('comment on %s is %L', made.named, made.comment);
    end loop;

    execute format('grant usage on schema %I to %I', team, team);
    execute format('grant select on all tables in schema %I to %I', team, team);
    execute format('revoke execute on all functions in schema %I from public', team);
    execute format('grant execute on all functions in schema %I to %I', team, team);
    if pg_has_role((select datdba from pg_database where datname = current_database()), 'usage') then
        execute format('grant connect on database %I to %I', current_database(), team);
    end if;
end $$;

commit;
reset role;
