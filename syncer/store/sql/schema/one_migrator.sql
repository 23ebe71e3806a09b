-- One migrator at a time, as in migrations/env.py.
lock table syncer_store.alembic_version in access exclusive mode
