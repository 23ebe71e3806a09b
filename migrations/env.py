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
        context.run_migrations()
else:
    context.configure(connection=connection, version_table_schema=STORE)
    with context.begin_transaction():
        context.execute(f"create schema if not exists {STORE}")
        context.execute(ALONE)
        context.config.attributes["before"] = context.get_context().get_current_revision()
        context.run_migrations()
