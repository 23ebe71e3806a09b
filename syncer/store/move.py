"""Taking an inventory from one server to another: rows are copied, the schema is made there anew.

The migrations make the schema in the target, so that nothing of it can be lost and the versions of
the servers may differ either way; dump and restore would need programs of both, and cannot go to an
older server. Each row passes the constraints of the target. Then every table is counted and hashed
on both sides, and what holds the schema together is compared by name.

All rows come in one transaction, which commits what was found to be the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import anyio
import asyncpg
import msgspec
import structlog

from syncer.core.errors import ConfigError, LockHeld, TransactionFailed, unwrapped
from syncer.store import migrate
from syncer.store.connection import Connection, Server, named_errors, pins, sql
from syncer.store.lock import refuse_beside
from syncer.store.reading import stored_accounts
from syncer.store.schema import check_schema, installed_revision, revisions

_NAME: Final = "syncer db move"
_FIRST: Final = ("zones", "images", "baselines")
"""Tables that others refer to, by keys and in triggers."""
_SEEDED: Final = frozenset(("feed",))
"""Tables in which migrations write rows."""
_PARTS: Final = 8
"""Parts of a copy that are kept for a target that is slower than the source."""
_SHOWN: Final = 3
_log = structlog.get_logger()


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table, and what it holds: how many rows, and a hash of them in whatever order."""

    name: str
    rows: int
    hash: str


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied (``anew``), or was there already. ``left_out`` is not the program's own."""

    tables: list[Table]
    anew: bool
    left_out: list[str]

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(table.rows for table in self.tables)


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    quoted: str
    columns: list[str]
    listed: str

    @property
    def digest(self) -> str:
        """The statement that counts and hashes its rows."""
        statement = sql("move/digest").replace("t.*", self.listed)
        return statement.replace("syncer_store.runs", f"syncer_store.{self.quoted}")


async def refuse_runs(server: Server) -> None:
    """Raise LockHeld where a run of any account is at work."""
    async with server.session(name=_NAME) as connection:
        if await installed_revision(connection) is not None:
            await _refuse_runs(connection)


async def _refuse_runs(connection: Connection) -> None:
    for account in await stored_accounts(connection):
        if (overdue := await refuse_beside(connection, account)) is not None:
            raise LockHeld(
                f"run {overdue} of account {account!r} is at work though its time is up: "
                "the next 'syncer sync' ends it"
            )


async def copy(source: Server, target: Server, *, roles: bool) -> Copied:
    """Copy the inventory of one server into another that holds none; nobody may write to it.

    Where the target holds exactly this one, nothing is done. ``roles``: those of the program are
    made there too, if the source has them. Raises ConfigError, LockHeld, DatabaseError.
    """
    await _refuse_other(target)
    await migrate.upgrade(target)
    async with source.session(name=_NAME) as old, target.session(name=_NAME) as new:
        for connection in (old, new):
            await connection.execute(pins({"idle_in_transaction_session_timeout": "0"}, connection))
        async with old.transaction(isolation="repeatable_read"), new.transaction():
            await check_schema(old, source.where)
            await _refuse_runs(old)
            shapes = await _shapes(old)
            await _lock(new, shapes, target)
            left_out = [row[0] for row in await old.fetch(sql("move/others"))]
            before = await _digests(old, shapes)
            if anew := await _is_empty(new, shapes):
                await _copy_all(old, new, shapes, source, target)
                if roles and await old.fetchval(sql("move/has_roles")):
                    await new.execute(sql("schema/roles"))
                    await new.execute(sql("schema/queue_roles"))
            after = await _digests(new, shapes)
            await _compare(old, new, before, after, target, anew=anew)
            for shape in shapes:
                await new.execute(f"analyze syncer_store.{shape.quoted}")
    return Copied(tables=before, anew=anew, left_out=left_out)


async def _refuse_other(target: Server) -> None:
    """Raise ConfigError for an inventory of another schema, before that is upgraded."""
    async with target.session(name=_NAME) as connection:
        installed = await installed_revision(connection)
        if installed not in {None, revisions()[-1]} and not await _is_empty(
            connection, await _shapes(connection)
        ):
            raise _holds_another(target)


def _holds_another(target: Server) -> ConfigError:
    return ConfigError(
        f"the database at {target.where} holds another inventory already, and was left as it is: "
        "name a database that holds none"
    )


async def _shapes(connection: Connection) -> list[_Shape]:
    """Return the tables in an order in which they can be filled."""
    shapes = [_Shape(**row) for row in await connection.fetch(sql("move/tables"))]

    def place(shape: _Shape) -> tuple[int, str]:
        name = shape.name
        return _FIRST.index(name) if name in _FIRST else len(_FIRST), name

    return sorted(shapes, key=place)


async def _lock(connection: Connection, shapes: list[_Shape], server: Server) -> None:
    """Let nobody else write to the tables; who reads them may go on."""
    limit = {"lock_timeout": f"{server.timing.migrate * 1000:.0f}"}
    await connection.execute(pins(limit, connection, local=True))
    names = ", ".join(f"syncer_store.{shape.quoted}" for shape in shapes)
    try:
        await connection.execute(f"lock table {names} in exclusive mode")
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"the database at {server.where} refused ({error}): give the URL of who owns its "
            "schema syncer_store"
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise TransactionFailed(
            f"somebody else is at work in the database at {server.where}; try again later"
        ) from error


async def _is_empty(connection: Connection, shapes: list[_Shape]) -> bool:
    for shape in shapes:
        rows = f"select exists (select from syncer_store.{shape.quoted})"  # noqa: S608
        if shape.name not in _SEEDED and await connection.fetchval(rows):
            return False
    return True


async def _digests(connection: Connection, shapes: list[_Shape]) -> list[Table]:
    tables = []
    for shape in shapes:
        (row,) = await connection.fetch(shape.digest)
        tables.append(Table(name=shape.name, rows=row["rows"], hash=row["hash"]))
    return tables


async def _copy_all(
    old: Connection, new: Connection, shapes: list[_Shape], source: Server, target: Server
) -> None:
    for shape in shapes:
        if shape.name in _SEEDED:
            await new.execute(f"delete from syncer_store.{shape.quoted}")  # noqa: S608
        with unwrapped():
            rows = await _copy_one(old, new, shape, source, target)
        _log.info("table.copied", table=shape.name, rows=rows)
    for row in await old.fetch(sql("move/sequences")):
        await new.fetchval(
            sql("move/sequence_set"), row["name"], row["start_value"], row["last_value"]
        )


async def _copy_one(
    old: Connection, new: Connection, shape: _Shape, source: Server, target: Server
) -> int:
    """Hand a table's rows from one server to the other, as text, which all versions read."""
    send, receive = anyio.create_memory_object_stream[bytes](_PARTS)

    async def read() -> None:
        # Where nobody takes a part any more, the target's own error says why.
        with suppress(anyio.BrokenResourceError), named_errors(source.where, old), send:
            rows = f"select {shape.listed} from syncer_store.{shape.quoted}"  # noqa: S608
            await old.copy_from_query(rows, output=send.send)

    async def parts() -> AsyncIterator[bytes]:
        async for part in receive:
            yield part

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        with named_errors(target.where, new), receive:
            done: str = await new.copy_to_table(
                shape.name, schema_name="syncer_store", columns=shape.columns, source=parts()
            )
    return int(done.removeprefix("COPY "))


async def _compare(
    old: Connection,
    new: Connection,
    before: list[Table],
    after: list[Table],
    target: Server,
    *,
    anew: bool,
) -> None:
    """Raise unless both sides hold the same, table by table."""
    differ = [one.name for one, other in zip(before, after, strict=True) if one != other]
    for statement in ("move/objects", "move/sequences"):
        there = {tuple(row) for row in await old.fetch(sql(statement))}
        here = {tuple(row) for row in await new.fetch(sql(statement))}
        differ += sorted(str(one[0]) for one in there ^ here)
    if differ and not anew:
        raise _holds_another(target)
    if differ:
        more = f" and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
        raise TransactionFailed(
            f"what was copied to {target.where} is not what was there, and was taken back: "
            f"{', '.join(differ[:_SHOWN])}{more}"
        )
    _log.info("inventory.compared", tables=len(after), rows=sum(table.rows for table in after))
