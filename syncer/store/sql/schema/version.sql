-- The revision of the schema that is installed (no row: never migrated).
select revision from syncer.schema_version
