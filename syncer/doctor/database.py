"""PostgreSQL: the server, the schema, the extension, what our role may do.

The session is read-only and waits for nothing long.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg
import msgspec

from syncer.config.settings import Settings
from syncer.core.errors import ServerTooOld
from syncer.core.postgres import OLDEST_SERVER
from syncer.doctor.checks import Check, Probe, Timing
from syncer.doctor.embedded import ADDRESS, EmbeddedServer
from syncer.doctor.finding import Finding, failed, listed, number, ok, size, skipped, warning
from syncer.store.connection import Server, named_errors, sql
from syncer.store.schema import installed_revision, revisions

_UPGRADE: Final = "as the schema's owner, run: syncer db upgrade"
_GRANT: Final = "as the owner: syncer db roles, then grant syncer_writer to this role"
_BUSY: Final = "see what keeps it busy in pg_stat_activity and pg_locks; then try again"


def checks(
    settings: Settings, session: Session, embedded: EmbeddedServer | None, timing: Timing
) -> list[Check]:
    """Return the checks of the database; the first opens ``session``.

    ``embedded`` is the server to open it with, where the settings name no other.
    """
    probes = _DatabaseProbes(settings, session, embedded, timing)
    place = settings.database
    if embedded is not None:
        connect = Check(
            name="database",
            probe=probes.connect,
            advice=f"the server's log says more: {place.home / 'postgres.log'}",
            depends_on=("embedded", *ADDRESS),
            timeout=timing.start,
        )
    else:
        address = "SYNCER_DATABASE_URL" if place.url else "the PG* variables"
        connect = Check(
            name="database",
            probe=probes.connect,
            advice=f"is it running, and reached from here? Else correct {address}",
            fix=f"correct {address}: user, password, name of the database",
            depends_on=ADDRESS,
            timeout=timing.connect,
        )
    return [
        connect,
        session_check("schema", probes.schema, timing, depends_on=("database",)),
        session_check("extension", probes.extension, timing, depends_on=("database",)),
        session_check("privileges", probes.privileges, timing, depends_on=("database",)),
        session_check("history", probes.history, timing, depends_on=("schema",)),
    ]


def session_check(name: str, probe: Probe, timing: Timing, *, depends_on: tuple[str, ...]) -> Check:
    """Return a check that reads in the session."""
    return Check(
        name=name,
        probe=probe,
        advice=_BUSY,
        fix=_GRANT,
        depends_on=depends_on,
        timeout=timing.check,
    )


class Session:
    """The one session in which everything is read; ``stack`` closes it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.connection: asyncpg.Connection[Any]
        self.where = ""
        self._stack = stack

    async def open(self, server: Server, *, statement: float) -> None:
        """Open it, read-only; a statement may take that many seconds. Raises as a server does."""
        self.where = server.where
        opened = server.session(name="syncer doctor")
        self.connection = await self._stack.enter_async_context(opened)
        await self.rows("doctor/session", f"{statement * 1000:.0f}")

    async def rows(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Return the rows of ``sql/<statement>.sql``. Raises ConfigError or DatabaseError."""
        with named_errors(self.where, self.connection):
            return [dict(row) for row in await self.connection.fetch(sql(statement), *arguments)]

    async def value(self, statement: str) -> Any:  # noqa: ANN401  (whatever the statement selects)
        """Return the one value of ``sql/<statement>.sql``. Raises ConfigError or DatabaseError."""
        with named_errors(self.where, self.connection):
            return await self.connection.fetchval(sql(statement))


class _DatabaseProbes:
    def __init__(
        self,
        settings: Settings,
        session: Session,
        embedded: EmbeddedServer | None,
        timing: Timing,
    ) -> None:
        self._url = settings.database.url
        self._session = session
        self._embedded = embedded
        self._statement = timing.statement
        self._installed: str | None = None

    async def connect(self) -> Sequence[Finding]:
        """Open the session."""
        server = Server(self._url.reveal() if self._url else None)
        if self._embedded is not None:
            if (not_made := await self._embedded.start()) is not None:
                return [not_made]
            server = Server(self._embedded.dsn)
        began = time.monotonic()
        try:
            await self._session.open(server, statement=self._statement)
        except ServerTooOld as error:
            advice = f"upgrade it to PostgreSQL {OLDEST_SERVER} or newer, or name another server"
            return [failed("database", str(error), advice)]
        took = time.monotonic() - began
        (row,) = await self._session.rows("doctor/server")
        return [judge_server(ServerSeen(**row), server.where, took)]

    async def schema(self) -> Sequence[Finding]:
        """Compare the installed revision with ours."""
        with named_errors(self._session.where, self._session.connection):
            self._installed = await installed_revision(self._session.connection)
        embedded = self._embedded is not None
        return [judge_schema(self._installed, revisions(), embedded=embedded)]

    async def extension(self) -> Sequence[Finding]:
        """Look for btree_gist."""
        rows = await self._session.rows("doctor/extension")
        installed, available = (
            (rows[0]["installed_version"], rows[0]["default_version"]) if rows else (None, None)
        )
        migrated = self._installed is not None
        return [judge_extension(installed, available, migrated=migrated)]

    async def privileges(self) -> Sequence[Finding]:
        """Compare what our role may do with what syncer_writer may."""
        (row,) = await self._session.rows("doctor/privileges")
        lacks = msgspec.json.decode(row.pop("lacks"), type=dict[str, list[str]])
        seen = PrivilegesSeen(**row, lacks=lacks)
        return [judge_privileges(seen, embedded=self._embedded is not None)]

    async def history(self) -> Sequence[Finding]:
        """Measure the tables."""
        rows = await self._session.rows("doctor/sizes")
        return [judge_history([(row["name"], row["octets"]) for row in rows])]


class ServerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the server reports of itself and of our session."""

    version: str
    standby: bool
    read_only: bool
    role: str
    database: str


def judge_server(seen: ServerSeen, where: str, took: float) -> Finding:
    """Judge whether the server can be written at all; to connect ``took`` that many seconds."""
    message = (
        f"PostgreSQL {seen.version.split()[0]} at {where}, database {seen.database}, "
        f"role {seen.role}"
    )
    if seen.standby:
        return failed(
            "database", f"{message}: a standby, which cannot be written", "point it at the primary"
        )
    if seen.read_only:
        return failed(
            "database",
            f"{message}: its transactions are read-only by default",
            "set default_transaction_read_only to off for this role, database or server",
        )
    return ok("database", f"{message} ({took * 1000:.0f} ms)")


def judge_schema(installed: str | None, known: Sequence[str], *, embedded: bool) -> Finding:
    """Judge the schema's revision by those that this program knows, oldest first."""
    needed = known[-1]
    if installed == needed:
        return ok("schema", f"{installed}, as this program needs it")
    if installed is not None and installed not in known:
        return failed(
            "schema",
            f"{installed}: newer than this program, which knows {needed}",
            "install a newer syncer",
        )
    if embedded:
        was = f"{installed}: " if installed else ""
        return skipped("schema", f"{was}the next command that uses it brings it to {needed}")
    if installed is None:
        return failed("schema", "was never migrated", _UPGRADE)
    return failed("schema", f"{installed}: this program needs {needed}", _UPGRADE)


def judge_extension(installed: str | None, available: str | None, *, migrated: bool) -> Finding:
    """Judge btree_gist, without which intervals that overlap could not be forbidden."""
    if installed is not None:
        return ok("extension", f"btree_gist {installed}")
    if available is None:
        return failed(
            "extension",
            "btree_gist is not there to be installed",
            "install PostgreSQL's contrib package on the server (postgresql-contrib)",
        )
    if migrated:
        return failed(
            "extension",
            "btree_gist is gone, and with it what keeps versions from overlapping",
            "restore the database, or dump the data and let syncer db upgrade make it anew",
        )
    return ok("extension", f"btree_gist {available} is there; syncer db upgrade installs it")


class PrivilegesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What our role may do.

    ``lacks`` is what it lacks of ``syncer_writer``'s privileges: names of objects by privilege;
    ``objects`` counts all that ``syncer_writer`` may use.
    """

    role: str
    superuser: bool
    creates_roles: bool
    objects: int
    lacks: Mapping[str, Sequence[str]]


def judge_privileges(seen: PrivilegesSeen, *, embedded: bool) -> Finding:
    """Judge whether the role can do what a sync does, and how much more it could."""
    if not seen.objects:
        return skipped("privileges", "nothing is there yet")
    if seen.lacks:
        lacks = "; ".join(
            f"{privilege} on {listed([name.removeprefix('syncer_store.') for name in names], 3)}"
            for privilege, names in seen.lacks.items()
        )
        return failed(
            "privileges",
            f"role {seen.role} cannot sync, it lacks {lacks}",
            f"as the owner: syncer db roles, then: grant syncer_writer to {_quoted(seen.role)}",
        )
    powers = [
        name
        for name, has in (("a superuser", seen.superuser), ("creates roles", seen.creates_roles))
        if has
    ]
    if powers and not embedded:
        return warning(
            "privileges",
            f"role {seen.role} can sync, but it is much more than that: {' and '.join(powers)}",
            "sync as a role of its own: syncer db roles, then: create role my_syncer login in "
            "role syncer_writer",
        )
    return ok("privileges", f"role {seen.role} can do all that a sync does")


def _quoted(name: str) -> str:
    """Return a role's name as SQL has it."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


def judge_history(tables: Sequence[tuple[str, int]]) -> Finding:
    """Show how much room the tables take (name and bytes, the largest first)."""
    total = sum(octets for _, octets in tables)
    largest = ", ".join(f"{name} {size(octets)}" for name, octets in tables[:3])
    return ok("history", f"{size(total)} in {number(len(tables), 'table')}: {largest}, ...")
