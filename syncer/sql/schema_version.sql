-- The revision of the schema that is installed (no row: never migrated).
select version_num from syncer_store.alembic_version
