"""Bringing the schema up to date: the only importer of Alembic and SQLAlchemy."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import anyio
import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from syncer.core.errors import ConfigError
from syncer.store import fitness
from syncer.store.connection import Server, named_errors, sql
from syncer.store.lock import lock_key
from syncer.store.schema import installed_revision, migrations_root, revisions

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK: Final = lock_key("migrate", "*")
_DRIVER: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_FOR_A_DBA: Final = "or hand what 'syncer db upgrade --sql' prints to your DBA"
_ADVICE: Final[tuple[tuple[tuple[type[asyncpg.PostgresError], ...], str], ...]] = (
    (
        (asyncpg.InsufficientPrivilegeError,),
        (
            "run it as the owner of database and schema (grant create on database lets a role "
            f"make the schema), {_FOR_A_DBA}"
        ),
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        (
            "point it at the primary, and set default_transaction_read_only to off for this role "
            "and database"
        ),
    ),
    (
        (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError),
        "install PostgreSQL's contrib package on the server (postgresql-contrib)",
    ),
)
"""What to do about what the server refuses to a migration, however often it is tried."""


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
        await fitness.check_server(server, connection, migrated=before is not None)
        if before != target:
            await _apply(server)
        await fitness.move_sequences(server, connection)
    return before, target


async def _apply(server: Server) -> None:
    """Apply all migrations. Raises ConfigError, with what to do, or DatabaseError."""
    with named_errors(server.where):
        try:
            await _migrate(server)
        except SQLAlchemyError as error:
            cause = _of_the_driver(error)
            if cause is None:
                raise
            for kinds, advice in _ADVICE:
                if isinstance(cause, kinds):
                    said = f"{' '.join(str(cause).split())} (SQLSTATE {cause.sqlstate})"
                    raise ConfigError(
                        f"the database at {server.where} refused: {said}; {advice}"
                    ) from cause
            raise cause from None


def _of_the_driver(error: BaseException | None) -> BaseException | None:
    """Return the error of asyncpg or of the network in what SQLAlchemy made of it."""
    while error is not None and not isinstance(error, _DRIVER):
        error = error.__cause__ or getattr(error, "orig", None)
    return error


async def _migrate(server: Server) -> None:
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
