"""PostgreSQL: the server, the schema, the extension, what our role may do.

What a sync refuses is judged by ``store.fitness``, as a sync judges it. Everything is read in
read-only transactions, which wait for nothing long and go through any pooler.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg
import msgspec

from syncer.config.settings import Settings
from syncer.core.errors import ServerTooOld
from syncer.core.hints import number
from syncer.core.postgres import OLDEST_SERVER
from syncer.doctor.checks import Check, Probe, Timing
from syncer.doctor.embedded import ADDRESS, EmbeddedServer
from syncer.doctor.finding import Finding, failed, ok, size, skipped, warning
from syncer.store import fitness
from syncer.store.connection import Server, named_errors, reading_transaction, sql
from syncer.store.fitness import Problem
from syncer.store.open import given_server
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
            advice=f"if that is not where it is, correct {address}",
            fix=f"correct {address}: user, password, name of the database",
            depends_on=ADDRESS,
            timeout=timing.connect,
        )
    return [
        connect,
        session_check("encoding", probes.encoding, timing, depends_on=("database",)),
        session_check("session", probes.session, timing, depends_on=("database",)),
        session_check("connections", probes.connections, timing, depends_on=("database",)),
        session_check("database_clock", probes.clock, timing, depends_on=("database",)),
        session_check("schema", probes.schema, timing, depends_on=("database",)),
        session_check("extension", probes.extension, timing, depends_on=("database",)),
        session_check("privileges", probes.privileges, timing, depends_on=("database",)),
        session_check("sequences", probes.sequences, timing, depends_on=("schema", "privileges")),
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
    """The one connection on which everything is read; ``stack`` closes it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.connection: asyncpg.Connection[Any]
        self.where = ""
        self._stack = stack
        self._statement = 0.0

    async def open(self, server: Server, *, statement: float) -> None:
        """Open it; a statement may take that many seconds. Raises as a server does."""
        self.where, self._statement = server.where, statement
        opened = server.reading(name="syncer doctor")
        self.connection = await self._stack.enter_async_context(opened)

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Read within; errors of the database get their names."""
        with named_errors(self.where, self.connection):
            async with reading_transaction(self.connection, statement=self._statement):
                yield self.connection

    async def rows(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Return the rows of ``sql/<statement>.sql``. Raises ConfigError or DatabaseError."""
        async with self.reading() as connection:
            return [dict(row) for row in await connection.fetch(sql(statement), *arguments)]

    async def value(self, statement: str) -> Any:  # noqa: ANN401  (whatever the statement selects)
        """Return the one value of ``sql/<statement>.sql``. Raises ConfigError or DatabaseError."""
        async with self.reading() as connection:
            return await connection.fetchval(sql(statement))


class _DatabaseProbes:
    def __init__(
        self,
        settings: Settings,
        session: Session,
        embedded: EmbeddedServer | None,
        timing: Timing,
    ) -> None:
        self._place = settings.database
        self._at_once = min(len(settings.accounts), settings.accounts_at_once)
        self._session = session
        self._embedded = embedded
        self._statement = timing.statement
        self._installed: str | None = None
        self._server: Server
        self._facts: fitness.ServerFacts

    async def connect(self) -> Sequence[Finding]:
        """Open the session."""
        if self._embedded is None:
            server = given_server(self._place)
        elif (not_made := await self._embedded.start()) is not None:
            return [not_made]
        else:
            server = Server(self._embedded.dsn)
        began = time.monotonic()
        try:
            await self._session.open(server, statement=self._statement)
        except ServerTooOld as error:
            advice = f"upgrade it to PostgreSQL {OLDEST_SERVER} or newer, or name another server"
            return [failed("database", str(error), advice)]
        took = time.monotonic() - began
        (row,) = await self._session.rows("doctor/server")
        earliest = time.time()
        (facts,) = await self._session.rows("fitness/server")
        self._facts = fitness.server_of(facts, earliest, time.time())
        self._server = server
        return [judge_server(ServerSeen(**row), server.where, took)]

    async def encoding(self) -> Sequence[Finding]:
        """Look whether every name can be stored."""
        return self._fitness("encoding", self._facts.encoding)

    async def session(self) -> Sequence[Finding]:
        """Try whether a session stays ours."""
        connection = self._session.connection
        with named_errors(self._session.where, connection):
            shared = await self._server.is_shared(connection, self._facts.pid)
        found = judged("session", fitness.judge_session(shared=shared))
        return found or [ok("session", "stays ours from one transaction to the next")]

    async def connections(self) -> Sequence[Finding]:
        """Compare the limits of connections with what a run uses."""
        limits = [
            f"{used:,} of {limit:,} of {whose}" for limit, used, whose in self._facts.limits()
        ]
        found = self._fitness("connections", f"in use: {', '.join(limits)}")
        _, problem = fitness.judge_room(self._facts, self._at_once)
        if self._at_once == 1 or problem is None or any(one.status != "ok" for one in found):
            return found
        return [warning("connections", problem.message, problem.advice)]

    async def clock(self) -> Sequence[Finding]:
        """Compare the database's clock with that of this host."""
        return self._fitness("database_clock", "as this host's, by which it is measured")

    def _fitness(self, check: str, well: str) -> Sequence[Finding]:
        problems = [
            p for p in fitness.judge_server(self._facts, migrated=False) if p.check == check
        ]
        return judged(check, problems) or [ok(check, well)]

    async def schema(self) -> Sequence[Finding]:
        """Compare the installed revision with ours."""
        async with self._session.reading() as connection:
            self._installed = await installed_revision(connection)
        embedded = self._embedded is not None
        return [judge_schema(self._installed, revisions(), embedded=embedded)]

    async def extension(self) -> Sequence[Finding]:
        """Look for btree_gist."""
        if self._installed is not None or self._facts.extension is not None:
            problems = [p for p in fitness.judge_server(self._facts) if p.check == "extension"]
            return judged("extension", problems) or [
                ok("extension", f"btree_gist {self._facts.extension}")
            ]
        rows = await self._session.rows("doctor/extension")
        return [judge_extension(rows[0]["default_version"] if rows else None)]

    async def privileges(self) -> Sequence[Finding]:
        """Compare what our role may do with what syncer_writer may."""
        (row,) = await self._session.rows("fitness/rights")
        return [judge_privileges(fitness.rights_of(row), embedded=self._embedded is not None)]

    async def sequences(self) -> Sequence[Finding]:
        """Compare sequences with the ids in use."""
        rows = await self._session.rows("fitness/sequences")
        problems = fitness.judge_sequences(msgspec.convert(rows, list[fitness.IdSequence]))
        return judged("sequences", problems) or [ok("sequences", "go on after every id in use")]

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


def judged(check: str, problems: Sequence[Problem]) -> list[Finding]:
    """Return what makes a database unfit as lines: a sync refuses what fails here."""
    return [
        (failed if problem.fatal else warning)(check, problem.message, problem.advice)
        for problem in problems
    ]


def judge_extension(available: str | None) -> Finding:
    """Judge whether btree_gist can be installed, where nothing was migrated yet."""
    if available is None:
        return failed(
            "extension",
            "btree_gist is not there to be installed",
            "install PostgreSQL's contrib package on the server (postgresql-contrib)",
        )
    return ok("extension", f"btree_gist {available} is there; syncer db upgrade installs it")


def judge_privileges(seen: fitness.Rights, *, embedded: bool) -> Finding:
    """Judge whether the role can do what a sync does, and how much more it could."""
    if not seen.objects:
        return skipped("privileges", "nothing is there yet")
    if lacking := judged("privileges", fitness.judge_rights(seen)):
        return lacking[0]
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


def judge_history(tables: Sequence[tuple[str, int]]) -> Finding:
    """Show how much room the tables take (name and bytes, the largest first)."""
    total = sum(octets for _, octets in tables)
    largest = ", ".join(f"{name} {size(octets)}" for name, octets in tables[:3])
    return ok("history", f"{size(total)} in {number(len(tables), 'table')}: {largest}, ...")
