"""PostgreSQL and what is stored there. The session is read-only and waits for nothing long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec
from anyio.abc import TaskGroup

from syncer.config.settings import Loaded
from syncer.core.errors import ServerTooOld
from syncer.core.postgres import OLDEST_SERVER
from syncer.doctor import inventory
from syncer.doctor import judge_database as database
from syncer.doctor.checks import Check, Look
from syncer.doctor.embedded import Embedded
from syncer.doctor.finding import Finding, failed
from syncer.store.connection import Server, named_errors, sql
from syncer.store.lock import lock_key
from syncer.store.schema import installed_revision, revisions

_STATEMENT: Final = "4000"
"""Milliseconds that a statement may take; less than a check, so that the session stays usable."""
_CONNECT: Final = 8.0
_START: Final = 12.0
_GRANT: Final = "as the owner: syncer db roles, then grant syncer_writer to this role"
_BUSY: Final = "see what keeps it busy in pg_stat_activity and pg_locks; then try again"


def checks(
    loaded: Loaded, max_age: float, stack: AsyncExitStack, keepers: TaskGroup
) -> list[Check]:
    """Return the checks of the database. What they open is closed by ``stack`` and ``keepers``."""
    place = loaded.settings.database
    embedded = Embedded(place, keepers) if place.embedded else None
    ward = _Database(loaded, max_age, stack, embedded)
    doubt = loaded.doubtful("SYNCER_DATABASE_URL", "SYNCER_STATE_DIR", "SYNCER_PG_BIN")
    address = "SYNCER_DATABASE_URL" if place.url else "the PG* variables"
    log = f"the server's log tells more: {place.home / 'postgres.log'}"
    connect = Check(
        name="database",
        look=ward.connect,
        advice=log if embedded else f"is it running, and reached from here? Else correct {address}",
        mend=None if embedded else f"correct {address}: user, password, name of the database",
        needs=("embedded",) if embedded else (),
        doubt=doubt,
        patience=_START if embedded else _CONNECT,
    )

    def check(name: str, look: Look, *, needs: str = "schema", doubt: str | None = None) -> Check:
        return Check(name=name, look=look, advice=_BUSY, mend=_GRANT, needs=(needs,), doubt=doubt)

    whose = loaded.doubtful("SYNCER_ACCOUNT", "SYNCER_SERVICES")

    return [
        *(embedded.checks(doubt) if embedded else []),
        connect,
        check("schema", ward.schema, needs="database"),
        check("extension", ward.extension, needs="database"),
        check("privileges", ward.privileges, needs="database"),
        check("runs", ward.runs, doubt=whose),
        check("lock", ward.lock, needs="runs"),
        check("zones", ward.zones, doubt=whose),
        check("gone_zones", ward.gone_zones, needs="zones"),
        check("withheld", ward.withheld, needs="zones"),
        check("rate_limit", ward.rate_limit, doubt=whose),
        check("history", ward.history),
    ]


class _Database:
    """One session, and what was read in it."""

    def __init__(
        self, loaded: Loaded, max_age: float, stack: AsyncExitStack, embedded: Embedded | None
    ) -> None:
        self._settings = loaded.settings
        self._account = loaded.settings.account
        self._max_age = max_age
        self._stack = stack
        self._embedded = embedded
        self._connection: asyncpg.Connection[Any]
        self._where = ""
        self._installed: str | None = None
        self._runs: list[inventory.RunSeen] = []
        self._zones: list[inventory.ZoneSeen] = []

    async def connect(self) -> Sequence[Finding]:
        """Open the session."""
        url = self._settings.database.url
        server = Server(url.reveal() if url else None)
        if self._embedded is not None:
            if (found := await self._embedded.start()) is not None:
                return [found]
            server = Server(self._embedded.dsn)
        self._where = server.where
        started = time.monotonic()
        try:
            session = server.session(name="syncer doctor")
            self._connection = await self._stack.enter_async_context(session)
        except ServerTooOld as error:
            advice = f"upgrade it to PostgreSQL {OLDEST_SERVER} or newer, or name another server"
            return [failed("database", str(error), advice)]
        took = time.monotonic() - started
        await self._rows("doctor/session", _STATEMENT)
        (row,) = await self._rows("doctor/server")
        return [database.server(database.ServerSeen(**row), self._where, took)]

    async def _rows(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        with named_errors(self._where, self._connection):
            return [dict(row) for row in await self._connection.fetch(sql(statement), *arguments)]

    async def schema(self) -> Sequence[Finding]:
        """Compare the installed revision with ours."""
        with named_errors(self._where, self._connection):
            self._installed = await installed_revision(self._connection)
        embedded = self._embedded is not None
        return [database.schema(self._installed, revisions(), embedded=embedded)]

    async def extension(self) -> Sequence[Finding]:
        """Look for btree_gist."""
        rows = await self._rows("doctor/extension")
        installed, available = (
            (rows[0]["installed_version"], rows[0]["default_version"]) if rows else (None, None)
        )
        migrated = self._installed is not None
        return [database.extension(installed, available, migrated=migrated)]

    async def privileges(self) -> Sequence[Finding]:
        """Compare what our role may do with what syncer_writer may."""
        (row,) = await self._rows("doctor/privileges")
        lacks = msgspec.json.decode(row.pop("lacks"), type=dict[str, list[str]])
        seen = database.PrivilegesSeen(**row, lacks=lacks)
        return [database.privileges(seen, embedded=self._embedded is not None)]

    async def runs(self) -> Sequence[Finding]:
        """See how the last runs ended."""
        rows = await self._rows("doctor/runs", self._account)
        self._runs = [inventory.RunSeen(**row) for row in rows]
        return [inventory.runs(self._runs)]

    async def lock(self) -> Sequence[Finding]:
        """See who holds the run lock."""
        rows = await self._rows("run/lock_holders", [lock_key("run", self._account)])
        holders = [inventory.Holder(**row) for row in rows]
        seconds = await self._connection.fetchval(sql("run/clock"))
        return [inventory.lock(holders, self._runs, datetime.fromtimestamp(seconds, UTC))]

    async def zones(self) -> Sequence[Finding]:
        """See how old what is known of each zone is."""
        services = list(self._settings.services)
        rows = await self._rows("doctor/zones", self._account, services)
        self._zones = [inventory.ZoneSeen(**row) for row in rows]
        return [inventory.fresh(self._zones, self._max_age)]

    async def gone_zones(self) -> Sequence[Finding]:
        """See which zones the API lists no more."""
        return [inventory.gone(self._zones)]

    async def withheld(self) -> Sequence[Finding]:
        """See what the guard withholds."""
        return inventory.withheld(self._zones, self._account)

    async def rate_limit(self) -> Sequence[Finding]:
        """See what was learnt of the API's limit."""
        rows = await self._rows("doctor/rate_limit", self._account)
        return [inventory.rate_limit(inventory.RateSeen(**rows[0]) if rows else None)]

    async def history(self) -> Sequence[Finding]:
        """Weigh the tables."""
        rows = await self._rows("doctor/sizes")
        return [database.history([(row["name"], row["octets"]) for row in rows])]
