"""Opening the configured PostgreSQL: a server that is there, or the embedded one.

Also what takes an inventory out of the embedded one: a move to another server, a backup.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import anyio.to_thread
import msgspec
import structlog

from syncer.config.machine import libpq_environment
from syncer.config.settings import Database
from syncer.core.errors import ConfigError, LockHeld
from syncer.core.libpq import Address
from syncer.store.connection import Server, reading_transaction
from syncer.store.schema import check_schema, installed_revision, revisions

if TYPE_CHECKING:
    from syncer.embedded import EmbeddedPostgres
    from syncer.store.move import Copied

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_server(
    database: Database, *, as_it_is: bool = False, quiet: bool = False
) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL: start the embedded one and bring its schema up to date.

    ``quiet``: that one is begun is not said. ``as_it_is``: that schema is left alone. So is a
    database given by URL or PG* variables: only ``syncer db upgrade`` changes its schema.
    """
    if not database.embedded:
        yield given_server(database)
        return
    from syncer.embedded import EmbeddedPostgres, moving  # noqa: PLC0415  (start-up: where used)

    async with EmbeddedPostgres(database.home, pg_bin=database.pg_bin) as postgres:
        if postgres.begun and not quiet:
            _log.warning(
                "inventory.begun",
                folder=str(postgres.home),
                advice="if there was one before, is a setting missing? See 'syncer doctor'",
            )
        moving.clear_left(postgres.home, postgres.major)
        if others := postgres.other_majors:
            _log.warning(
                "inventory.another",
                used=postgres.major,
                others=others,
                home=str(postgres.home),
                advice="give 'syncer db move' again if it was cut short, else move the folder away "
                "that is not wanted",
            )
        server = _reviving(postgres)
        if not as_it_is:
            await _migrate(server)
        yield server


@contextlib.asynccontextmanager
async def open_to_compare(database: Database) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL for what writes nothing into it.

    Where there is no embedded one yet, it is one for the moment, with nothing in it.
    """
    async with contextlib.AsyncExitStack() as stack:
        quiet = False
        if database.embedded:
            from syncer.embedded import moving  # noqa: PLC0415  (start-up: where used)

            if not await anyio.to_thread.run_sync(moving.is_made, database.home):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="syncer-"))
                database = msgspec.structs.replace(database, home=Path(folder) / "postgres")
                quiet = True
        yield await stack.enter_async_context(open_server(database, quiet=quiet))


def given_server(database: Database) -> Server:
    """Return the server that the settings name."""
    assert database.address is not None  # noqa: S101  (or the settings are faulty)
    return Server(database.address, url=database.url.reveal() if database.url else None)


def _reviving(postgres: EmbeddedPostgres) -> Server:
    async def revive() -> str:
        await postgres.revive()
        return postgres.dsn()

    return Server(postgres.dsn(), revive=revive)


async def _migrate(server: Server) -> None:
    """Bring the schema of an embedded server up to date."""
    async with server.session() as connection:
        installed = await installed_revision(connection)
    if installed is None or installed in revisions()[:-1]:
        from syncer.store.migrate import upgrade  # noqa: PLC0415

        await upgrade(server)


def place_at_hand(database: Database) -> Address | str | None:
    """Return where the configured server is; None: it is the embedded one, and does not run."""
    if not database.embedded:
        return database.address
    from syncer.embedded import running_url  # noqa: PLC0415  (start-up: where used)

    return running_url(database.home)


async def embedded_major(database: Database) -> int:
    """Return the major of PostgreSQL by which an embedded inventory would be begun now.

    Raises ConfigError where there are no programs.
    """
    from syncer.embedded import find_binaries  # noqa: PLC0415

    return (await anyio.to_thread.run_sync(find_binaries, database.pg_bin)).major


@contextlib.asynccontextmanager
async def open_emptied(database: Database) -> AsyncIterator[Server]:
    """Open the embedded PostgreSQL with all it held dropped, whoever was connected to it."""
    from syncer.embedded import EmbeddedPostgres  # noqa: PLC0415

    async with EmbeddedPostgres(database.home, pg_bin=database.pg_bin) as postgres:
        await _empty(postgres)
        async with open_server(database) as server:
            yield server


async def _empty(postgres: EmbeddedPostgres) -> None:
    async with Server(postgres.dsn("postgres")).session() as connection:
        await connection.execute("drop database if exists syncer with (force)")
        await connection.execute("create database syncer")


@contextlib.asynccontextmanager
async def open_made(database: Database, *, as_it_is: bool = False) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL as ``open_server`` does, but begin no embedded one.

    Raises ConfigError where nothing was ever stored.
    """
    if database.embedded:
        from syncer.embedded import moving  # noqa: PLC0415  (start-up: where used)

        await anyio.to_thread.run_sync(moving.check_made, database.home)
    async with open_server(database, as_it_is=as_it_is) as server:
        yield server


@contextlib.asynccontextmanager
async def open_store(database: Database) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL for reading; its schema must be this program's.

    Raises ConfigError where nothing was ever stored.
    """
    async with open_made(database) as server:
        async with server.reading() as connection, reading_transaction(connection):
            await check_schema(connection, server.where)
        yield server


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A move: between which servers, what was ``copied``, and where the old data are ``kept``.

    Nothing was copied (None) where a move that was cut short had done all but its last step.
    """

    source: str
    target: str
    copied: Copied | None
    kept: Path


async def move_up(database: Database, programs: str | None) -> Moved | None:
    """Take the embedded inventory into the present major; None: it is of that one.

    ``programs`` is the folder of the old server's. Raises ConfigError, LockHeld, DatabaseError.
    """
    from syncer.embedded import EmbeddedPostgres, moving  # noqa: PLC0415

    home = database.home
    target, origin = await anyio.to_thread.run_sync(moving.target_programs, home, database.pg_bin)
    if origin is None and not await anyio.to_thread.run_sync(moving.has_other, home, target.major):
        return None
    source = await anyio.to_thread.run_sync(
        lambda: moving.source_programs(home, programs, database.pg_bin, but=target.major)
    )
    async with _alone(home, source.directory) as old:
        copied = None
        moving.clear_left(home, target.major)
        if origin != source.major:
            await _refuse_older(old, source.directory)
            place = await anyio.to_thread.run_sync(moving.home_of_copy, home, target.major)
            try:
                async with EmbeddedPostgres(
                    place, pg_bin=str(target.directory), alone=True, die_with_parent=True
                ) as new:
                    copied = await _copied(old, new)
            except BaseException:
                moving.discard(place)  # it may be what filled the disk
                raise
            await anyio.to_thread.run_sync(moving.adopt, place, home, target.major, source.major)
            _log.info("inventory.placed", data=str(home / f"data-{target.major}"))
        return Moved(
            source=f"PostgreSQL {source.major}",
            target=f"PostgreSQL {target.major}",
            copied=copied,
            kept=await old.retire(_stamp()),
        )


async def _copied(old: EmbeddedPostgres, new: EmbeddedPostgres) -> Copied:
    """Copy one embedded inventory into another, in which a move cut short may have left some."""
    from syncer.store import move  # noqa: PLC0415

    await _empty(new)
    return await move.copy(_reviving(old), Server(new.dsn()), roles=True)


async def move_to_server(database: Database, programs: str | None) -> Moved:
    """Take the embedded inventory to the server that the settings name.

    Raises ConfigError, LockHeld, DatabaseError.
    """
    from syncer.embedded import moving  # noqa: PLC0415
    from syncer.store import move  # noqa: PLC0415

    source = await anyio.to_thread.run_sync(
        moving.source_programs, database.home, programs, database.pg_bin
    )
    async with _alone(database.home, source.directory) as old:
        await _refuse_older(old, source.directory)
        target = given_server(database)
        copied = await move.copy(_reviving(old), target, roles=False)
        return Moved(
            source=f"PostgreSQL {source.major}",
            target=target.where,
            copied=copied,
            kept=await old.retire(_stamp()),
        )


@contextlib.asynccontextmanager
async def _alone(home: Path, programs: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Start the embedded server for nobody else, its schema as it is.

    Raises LockHeld, with the run that is at work.
    """
    from syncer.embedded import EmbeddedPostgres  # noqa: PLC0415
    from syncer.store import move  # noqa: PLC0415

    async with contextlib.AsyncExitStack() as stack:
        alone = EmbeddedPostgres(home, pg_bin=str(programs), alone=True)
        try:
            postgres = await stack.enter_async_context(alone)
        except LockHeld as error:
            async with EmbeddedPostgres(home, pg_bin=str(programs)) as shared:
                await move.refuse_runs(Server(shared.dsn()))
            raise LockHeld(f"{error}, which must end first; nothing was moved") from error
        yield postgres


async def _refuse_older(postgres: EmbeddedPostgres, programs: Path) -> None:
    """Raise ConfigError for a schema of before: what is kept of a move stays as it was."""
    async with Server(postgres.dsn()).session() as connection:
        installed = await installed_revision(connection)
    if installed is None or installed in revisions()[:-1]:
        raise ConfigError(
            f"the schema of the inventory under {postgres.home} is {installed or 'missing'}, and "
            f"one of {revisions()[-1]} is moved; nothing was changed: first run SYNCER_PG_BIN="
            f"{shlex.quote(str(programs))} syncer db upgrade"
        )


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


async def dump(database: Database, output: IO[bytes]) -> None:
    """Write a backup of the inventory as it is, by pg_dump; none is begun or upgraded for it.

    Raises ConfigError, BackupFailed.
    """
    from syncer.embedded import dump as backup  # noqa: PLC0415

    async with open_made(database, as_it_is=True) as server:
        async with server.reading(name="syncer db dump") as connection:
            major = connection.get_server_version().major
            async with reading_transaction(connection):
                if await installed_revision(connection) is None:
                    raise ConfigError(
                        f"the database at {server.where} holds no inventory: it was never migrated"
                    )
        written_by = await backup.dump(
            server.url,
            output,
            server=major,
            pg_bin=database.pg_bin,
            environment=None if database.embedded else libpq_environment(),
        )
        if written_by > major:
            _log.warning(
                "backup.newer_than_server",
                pg_dump=written_by,
                server=major,
                advice=f"it is restored into PostgreSQL {written_by} or newer; for one that "
                f"{major} takes, install postgresql-client-{major}",
            )
