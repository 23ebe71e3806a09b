"""The queue that hands accounts to workers: the schema of procrastinate, and the way into it.

Its tables lie in a schema of their own, ``syncer_queue``, and its statements name none: each
transaction sets the search path for itself, so that any pooler will do. What stands in the queue is
a matter of seconds and can be lost: whose turn it is stands in ``syncer_store.account_schedule``.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import msgspec

from syncer.core.backoff import Backoff
from syncer.core.errors import ConfigError, DatabaseError, StatementRefused, SyncerError
from syncer.store.connection import (
    PINNED,
    Connection,
    Server,
    in_time,
    is_lost,
    named_errors,
    pins,
    sql,
)

SCHEMA: Final = "syncer_queue"
INSTALL: Final = "pip install 'syncer[distributed]'"
_JSONB: Final = b"\x01"
"""How jsonb begins on the wire: its version."""
_PATH: Final = {"search_path": SCHEMA}


class Queue:
    """One connection for short transactions, through whatever pooler; opened anew where it is lost.

    One transaction at a time. Use as a context, which closes it.
    """

    def __init__(self, server: Server) -> None:
        self.where = server.where
        self._server = server
        # Whoever is frozen in a tick keeps all others from theirs.
        idle = f"{server.timing.idle_transaction * 1000:.0f}"
        self._pinned = PINNED | _PATH | {"idle_in_transaction_session_timeout": idle}
        self._one_at_a_time = anyio.Lock()
        self._opened = contextlib.AsyncExitStack()
        self._connection: asyncpg.Connection[Any] | None = None

    async def __aenter__(self) -> Queue:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._opened.aclose()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Do a transaction, in which names without a schema are the queue's.

        Raises ConfigError or DatabaseError: then it was not done, or only its answer was lost.
        """
        async with self._one_at_a_time:
            with in_time(self.where, self._server.timing.read):
                connection = await self._connected()
                try:
                    with named_errors(self.where, connection):
                        async with connection.transaction():
                            await connection.execute(pins(self._pinned, connection, local=True))
                            yield connection
                finally:
                    if not is_lost(connection) and connection.is_in_transaction():
                        connection.terminate()  # it was given up

    async def insist(
        self,
        do: Callable[[Connection], Awaitable[object]],
        retry: Backoff,
        failed: Callable[[SyncerError], None],
    ) -> None:
        """Do a transaction, again while the database does not take it; then give up.

        Each error is handed to ``failed``; what the database refuses for good is not tried again.
        """
        for attempt in range(1, retry.attempts + 1):
            try:
                async with self.transaction() as connection:
                    await do(connection)
            except (DatabaseError, ConfigError) as error:
                failed(error)
                if isinstance(error, StatementRefused):
                    return
                await anyio.sleep(retry.delay(attempt, random=random.random()))  # noqa: S311
            else:
                return

    async def _connected(self) -> asyncpg.Connection[Any]:
        if self._connection is None or self._connection.is_closed():
            await self._opened.aclose()
            reading = self._server.reading(name="syncer worker queue")
            connection = await self._opened.enter_async_context(reading)
            with named_errors(self.where, connection):
                async with connection.transaction():  # it is asked for the type
                    await connection.set_type_codec(  # in text it may stand in no composite type
                        "jsonb",
                        schema="pg_catalog",
                        format="binary",
                        encoder=lambda value: _JSONB + msgspec.json.encode(value),
                        decoder=lambda octets: msgspec.json.decode(octets[len(_JSONB) :]),
                    )
            self._connection = connection
        return self._connection


async def install(server: Server) -> bool:
    """Bring the queue's schema up to date; return False where procrastinate is not installed.

    Raises ConfigError or DatabaseError.
    """
    known = _migrations()
    if not known:
        return False
    async with server.session(name="syncer db upgrade") as connection:
        if known.keys() <= await _applied(connection):
            return True
        async with connection.transaction():
            limit = {"lock_timeout": f"{server.timing.migrate * 1000:.0f}"}
            await connection.execute(pins(limit, connection, local=True))
            await connection.execute(sql("schema/become_owner"))
            await connection.execute(sql("schema/one_migrator"))
            applied = await _applied(connection)
            await connection.execute(sql("schema/queue_make"))
            await connection.execute(pins(_PATH, connection, local=True))
            later = [known[name] for name in sorted(known.keys() - applied)]
            for file in later if applied else [_whole(known)]:
                await connection.execute(file.read_text(encoding="utf-8"))
            await connection.execute(sql("schema/queue_applied"), list(known))
            await connection.execute(sql("schema/queue_roles"))
    return True


def as_sql() -> str:
    """Return the statements that make the queue's schema, for a DBA; none without procrastinate."""
    known = _migrations()
    if not known:
        return ""
    names = ", ".join(f"'{name}'" for name in sorted(known))
    return "\n".join(
        (
            "begin;",
            sql("schema/queue_make").rstrip() + ";",
            f"set local search_path to {SCHEMA};",
            _whole(known).read_text(encoding="utf-8"),
            f"insert into applied (name) select unnest(array[{names}]);",
            "commit;",
        )
    )


async def check(connection: Connection, where: str) -> None:
    """Raise ConfigError unless the queue's schema is there, and not older than this procrastinate.

    ``connection`` is one of ``Queue.transaction`` or of ``Server.session``.
    """
    known = _migrations()
    if not known:
        raise ConfigError(f"a worker needs procrastinate: {INSTALL}")
    applied = await _applied(connection)
    if not known.keys() <= applied:
        state = "has no queue" if not applied else "has the queue of an older procrastinate"
        raise ConfigError(
            f"the database at {where} {state}; run, where syncer[distributed] is installed: "
            "syncer db upgrade"
        )


async def _applied(connection: Connection) -> set[str]:
    if not await connection.fetchval(sql("schema/queue_there")):
        return set()
    return {row["name"] for row in await connection.fetch(sql("schema/queue_installed"))}


def _whole(migrations: Mapping[str, Path]) -> Path:
    """Return the file of all that the migrations come to."""
    return next(iter(migrations.values())).parents[1] / "schema.sql"


def _migrations() -> dict[str, Path]:
    """Return the migrations of the installed procrastinate by name; none where it is not there.

    It is not imported for that.
    """
    spec = find_spec("procrastinate")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return {path.name: path for path in folder.glob("sql/migrations/*.sql")}
