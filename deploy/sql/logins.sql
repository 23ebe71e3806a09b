-- The database and its logins, each with no more rights than it needs. For a superuser, once; harmless
-- to run again. In psql:
--     \i deploy/sql/logins.sql
--     \password syncer_owner
--     \password syncer_app
--     \password syncer_grafana
-- and then, as the owner (again after each update of syncer):
--     export SYNCER_DATABASE_URL=postgresql://syncer_owner:PASSWORD@HOST/inventory
--     syncer db upgrade && syncer db roles
--
-- syncer_owner    owns the database and its schema: syncer db upgrade, syncer db roles
-- syncer_app      writes what it reads: sync, serve, approve, baseline, prune. It cannot change the schema
-- syncer_grafana  reads the views and functions: dashboards, people, every command that shows something

\set ON_ERROR_STOP on

select format('create role %I %s', name, kind)
from (values ('syncer_owner', 'login'), ('syncer_writer', 'nologin'), ('syncer_reader', 'nologin'),
             ('syncer_app', 'login'), ('syncer_grafana', 'login')) as role (name, kind)
where not exists (select from pg_roles where rolname = name) \gexec

select 'create database inventory owner syncer_owner'
where not exists (select from pg_database where datname = 'inventory') \gexec

grant syncer_writer to syncer_app;
grant syncer_reader to syncer_grafana;

-- Nobody else comes in, and who reads makes no temporary tables.
revoke all on database inventory from public;
grant connect on database inventory to syncer_writer, syncer_reader;

-- A slip in a dashboard writes nothing and ends by itself.
alter role syncer_grafana in database inventory set default_transaction_read_only = on;
alter role syncer_grafana in database inventory set statement_timeout = '30s';
