"""Bringing the schema up to date: the only importer of Alembic and SQLAlchemy."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import anyio
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from syncer.core.errors import ConfigError
from syncer.store.connection import Server, sql
from syncer.store.lock import lock_key
from syncer.store.schema import installed_revision, migrations_root, revisions

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK: Final = lock_key("migrate", "*")


async def upgrade(server: Server) -> tuple[str | None, str]:
    """Apply what is missing, one migrator at a time; return the revisions before and after."""
    target = revisions()[-1]
    async with server.session(name="syncer db upgrade") as connection:
        # Polled: a session that waits inside pg_advisory_lock holds a snapshot, on which
        # CREATE INDEX CONCURRENTLY in the holder would wait in turn.
        locked = False
        with anyio.move_on_after(server.timing.migrate):
            while not (locked := await connection.fetchval(sql("run/lock_try"), _LOCK)):  # noqa: ASYNC110  (the lock is the database's)
                await anyio.sleep(server.timing.poll)
        if not locked:
            raise ConfigError(
                f"another 'syncer db upgrade' has been at work on {server.where} for "
                f"{server.timing.migrate:g} s; try again when it ended"
            )
        before = await installed_revision(connection)
        if before is not None and before not in revisions():
            raise ConfigError(
                f"the schema of the database at {server.where} is {before}, newer than this "
                f"program, which knows {target}: install a newer syncer"
            )
        if before != target:
            await _apply(server)
    return before, target


async def _apply(server: Server) -> None:
    async def connect() -> Any:  # noqa: ANN401  (asyncpg's connection, for SQLAlchemy)
        return await server.connect(name="syncer db upgrade")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _run(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def as_sql(to: str = "head") -> str:
    """Return the statements of every migration up to one, for a DBA to read and run."""
    out = io.StringIO()
    config = Config(output_buffer=out)
    config.set_main_option("script_location", str(migrations_root()))
    command.upgrade(config, to, sql=True)
    return out.getvalue()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_root()))
    return config
