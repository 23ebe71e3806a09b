"""Bringing the schema up to date: the only importer of Alembic and SQLAlchemy."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

import anyio
import asyncpg
import msgspec
from alembic import command
from alembic.config import Config
from anyio.lowlevel import RunVar
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from syncer.core.errors import ConfigError, DatabaseError, TransactionFailed
from syncer.store import fitness, queue
from syncer.store.connection import Server, named_errors, pins, sql
from syncer.store.schema import installed_revision, migrations_root, revisions

if TYPE_CHECKING:
    from sqlalchemy import Connection

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
_ANEW: Final = re.compile(r"drop (function|view) (?:if exists )?(syncer\.\w+)")
_TABLE: Final = re.compile(r"alter table (syncer_store\.\w+)([^;]*)")
_COLUMN: Final = re.compile(r"drop column (?:if exists )?(\w+)")
_DEADLOCKS: Final = 3
"""So often is a migration tried again that the server ended for a deadlock."""
_NAMED: Final = 10
"""The most dependents that an error names."""


class Dependent(msgspec.Struct, frozen=True):
    """Something that is not ours and depends on what a migration makes anew.

    ``drop`` and ``make`` are the statements that save it (None: of a kind that is not known here).
    """

    described: str
    drop: str | None
    make: str | None


async def upgrade(server: Server) -> tuple[str | None, str]:
    """Apply what is missing, one migrator at a time; return the revisions before and after."""
    target = revisions()[-1]
    async with server.session(name="syncer db upgrade") as connection:
        before = await installed_revision(connection)
        if before is not None and before not in revisions():
            raise ConfigError(
                f"the schema of the database at {server.where} is {before}, newer than this "
                f"program, which knows {target}: install a newer syncer"
            )
        await fitness.check_server(server, connection, migrated=before is not None)
        if before != target:
            try:
                before = await _apply(server)
            except DatabaseError:
                # Of two that make the schema, one is refused when the other has done it.
                before = await installed_revision(connection)
                if before != target:
                    raise
        await fitness.move_sequences(server, connection)
    await queue.install(server)
    return before, target


async def _apply(server: Server) -> str | None:
    """Apply what is missing; return the revision before.

    Raises ConfigError, with what to do, or DatabaseError.
    """
    with named_errors(server.where):
        try:
            return await _migrated(server)
        except SQLAlchemyError as error:
            cause = _of_the_driver(error)
            if cause is None:
                raise
            if isinstance(cause, asyncpg.DependentObjectsStillExistError):
                raise ConfigError(await _in_the_way(server, cause)) from cause
            said = f"{' '.join(str(cause).split())} (SQLSTATE {getattr(cause, 'sqlstate', None)})"
            if isinstance(cause, asyncpg.LockNotAvailableError):
                raise TransactionFailed(
                    f"nothing was done to the database at {server.where}: {said}; "
                    f"{await _who_is_in_the_way(server)}"
                ) from cause
            for kinds, advice in _ADVICE:
                if isinstance(cause, kinds):
                    raise ConfigError(
                        f"the database at {server.where} refused: {said}; {advice}"
                    ) from cause
            raise cause from None


async def dependents(server: Server) -> list[Dependent]:
    """Return what stands in the way of an upgrade, each after what it depends on.

    That is what depends on our functions, views and columns that the migrations still to come drop.
    """
    async with server.session(name="syncer db upgrade") as connection:
        before = await installed_revision(connection)
        if before is None or before not in revisions()[:-1]:
            return []
        statements = as_sql(f"{before}:head")
        dropped = {"function": list[str](), "view": list[str]()}
        for kind, name in _ANEW.findall(statements):
            dropped[kind].append(name)
        columns = [
            f"{table}.{column}"
            for table, changes in _TABLE.findall(statements)
            for column in _COLUMN.findall(changes)
        ]
        found = await connection.fetch(
            sql("schema/dependents"), dropped["function"], dropped["view"], columns
        )
    return [Dependent(*row) for row in found]


async def _in_the_way(server: Server, error: asyncpg.PostgresError) -> str:
    found = await dependents(server)
    names = [one.described for one in found[:_NAMED]] or [" ".join(str(error.detail).split())]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"nothing was done to the database at {server.where}: what an upgrade makes anew is used "
        f"by {', '.join(names)}{more} (SQLSTATE {error.sqlstate}); save what makes them again with "
        "'syncer db dependents', drop them with what 'syncer db dependents --drop' prints, "
        "upgrade, and make them again"
    )


async def _who_is_in_the_way(server: Server) -> str:
    """Return who holds a lock on what is to be migrated, and the statements that end them."""
    async with server.session(name="syncer db upgrade") as connection:
        found = await connection.fetch(sql("schema/in_the_way"))
    named = [
        f"process {row['pid']} of role {row['role']} ({row['application_name'] or 'without a name'}"
        + (f", since {row['xact_start']:%Y-%m-%d %H:%M:%SZ}" if row["xact_start"] else "")
        + f") is in the way: wait for it, or end it: select pg_terminate_backend({row['pid']})"
        for row in found[:_NAMED]
    ]
    return "; ".join(named) or "who was in the way is gone: try again"


def _of_the_driver(error: BaseException | None) -> BaseException | None:
    """Return the error of asyncpg or of the network in what SQLAlchemy made of it."""
    while error is not None and not isinstance(error, _DRIVER):
        error = error.__cause__ or getattr(error, "orig", None)
    return error


_alembic = RunVar[anyio.Lock]("_alembic")
"""Alembic keeps what it works on in globals: in one process one migration after the other."""


async def _migrated(server: Server) -> str | None:
    """Migrate, again where who reads meanwhile was in the way: each waited for the other."""
    for _ in range(_DEADLOCKS):
        try:
            return await _migrate(server)
        except SQLAlchemyError as error:
            if not isinstance(_of_the_driver(error), asyncpg.DeadlockDetectedError):
                raise
    return await _migrate(server)


async def _migrate(server: Server) -> str | None:
    async def connect() -> Any:  # noqa: ANN401  (asyncpg's connection, for SQLAlchemy)
        connection = await server.connect(name="syncer db upgrade")
        limit = {"lock_timeout": f"{server.timing.migrate * 1000:.0f}"}
        await connection.execute(pins(limit, connection))
        await connection.execute(sql("schema/become_owner"))
        return connection

    if _alembic.get(None) is None:
        _alembic.set(anyio.Lock())
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with _alembic.get(), engine.begin() as connection:
            return await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _run(connection: Connection) -> str | None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    before: str | None = config.attributes["before"]
    return before


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
