"""Reading what is stored: one read-only transaction, rows a batch at a time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from syncer.core.errors import ConfigError
from syncer.core.moment import Moment
from syncer.store.connection import Connection, Server, reading_transaction, sql

_BATCH: Final = 1000


class Answer:
    """The rows of one statement: ``columns`` in order, ``jsonb`` those that hold JSON text."""

    def __init__(
        self,
        columns: list[str],
        jsonb: set[str],
        rows: AsyncIterator[dict[str, Any]],
    ) -> None:
        self.columns = columns
        self.jsonb = jsonb
        self.rows = rows


async def stored_accounts(connection: Connection) -> list[str]:
    """Return the accounts that have runs, by name."""
    return [row["account"] for row in await connection.fetch(sql("read/accounts"))]


async def zone_ids(
    connection: Connection, accounts: Sequence[str], services: Sequence[str]
) -> list[str]:
    """Return the ids of the zones ever seen, of the accounts and services (none: of all)."""
    rows = await connection.fetch(
        sql("read/zone_ids"), list(accounts) or None, list(services) or None
    )
    return [row["zone_id"] for row in rows]


class Reader:
    """Asks statements of ``sql/`` in one snapshot of the database, so that answers agree."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def ask(self, statement: str, *arguments: object) -> Answer:
        """Return the rows of a statement, streamed."""
        prepared = await self._connection.prepare(sql(statement))
        attributes = prepared.get_attributes()
        cursor = await prepared.cursor(*arguments)
        return Answer(
            [attribute.name for attribute in attributes],
            {a.name for a in attributes if a.type.name == "jsonb"},
            self._rows(cursor),
        )

    async def accounts(self) -> list[str]:
        """Return the accounts that have runs, by name."""
        return await stored_accounts(self._connection)

    async def zone_ids(self, accounts: Sequence[str], services: Sequence[str]) -> list[str]:
        """Return the ids of the zones ever seen, as ``zone_ids`` does."""
        return await zone_ids(self._connection, accounts, services)

    async def several(
        self, accounts: Sequence[str], services: Sequence[str]
    ) -> tuple[set[str], datetime]:
        """Return which of ``account`` and ``service`` have several values, and the time.

        Counted are those chosen, or where none are chosen all.
        """
        (row,) = await self.all("read/several", list(accounts) or None, list(services) or None)
        return {name for name in ("account", "service") if row[name]}, row["now"]

    async def _rows(self, cursor: Any) -> AsyncIterator[dict[str, Any]]:  # noqa: ANN401
        while True:
            batch = await cursor.fetch(_BATCH)
            for record in batch:
                yield dict(record)
            if len(batch) < _BATCH:
                return

    async def all(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Return all rows of a statement."""
        return [row async for row in (await self.ask(statement, *arguments)).rows]

    async def resolve(self, moment: Moment) -> tuple[datetime, str | None]:
        """Return a moment's instant, and the account of the run that it named.

        Raises ConfigError for a run that is not known or has not ended.
        """
        (row,) = await self.all("read/moment", moment.at, moment.ago, moment.run_id)
        if row["moment"] is None:
            state = "has not ended yet" if row["account"] else "is not known"
            raise ConfigError(f"run {moment.run_id} {state}: see 'syncer runs'")
        return row["moment"], row["account"]


class ReadSession:
    """A session in which snapshots are read, one after another."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reader]:
        """Open a read-only transaction whose statements all see the same instant."""
        async with reading_transaction(self._connection):
            yield Reader(self._connection)


@contextlib.asynccontextmanager
async def read_session(server: Server, *, name: str) -> AsyncIterator[ReadSession]:
    """Open a session for reading."""
    async with server.reading(name=name) as connection:
        yield ReadSession(connection)
