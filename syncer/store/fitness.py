"""Whether a database is fit: what correctness leans on, looked at before it is relied upon.

One judgement for all who ask: a run looks before it begins (``check``), ``syncer db upgrade``
before and after it migrates, ``syncer doctor`` shows each as a line. What makes wrong answers or
can never work is fatal; what can be set right is set right, and logged; the rest is a warning.

- *Encoding*: the API's names are Unicode. A database in another encoding refuses some of them; one
  without (SQL_ASCII) takes bytes for characters, so that globs answer wrongly.
- *Session*: the run lock and all settings live in a session. A pooler that hands it on after each
  transaction would let two runs hold one lock.
- *Sequences*: ids have an order. Logical replication and copies of the data alone leave sequences
  behind, which then give numbers that are in use.
- *Extension, privileges*: what forbids versions that overlap, and what a sync has to do.
- *Connections*: a run has a session for its lock and others to write. Where there can be but one,
  it would wait for the second until its deadline.
- *Clock*: every time that is stored is the database's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

import asyncpg
import msgspec
import structlog

from syncer.core.errors import ConfigError
from syncer.store.clock import surely_ahead
from syncer.store.connection import SHARED, Connection, Server, limit_lock_waits, sql
from syncer.store.schema import check_schema

_ENCODING: Final = "UTF8"
CONNECTIONS: Final = 3
"""What a run uses: one for its lock, and those of its writers (``Tuning.writers`` in ``sync``)."""
SPARE_CONNECTIONS: Final = 5
"""For all that is done beside the runs of several accounts: readers, readiness, metrics."""
_LEAST: Final = 2
"""With these a run does its work, if slowly: one for its lock, one to write."""
_CLOCKS_APART: Final = 5.0
"""Seconds: NTP keeps clocks within fractions of one; looks come every few minutes."""
_SHOWN: Final = 3
_log = structlog.get_logger()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that makes a database unfit (``fatal``) or worse than it might be."""

    check: str
    fatal: bool
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.message}: {self.advice}"


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A database as ``fitness/server`` shows it; ``pid`` is the process that answers.

    ``clock`` is in seconds since 1970; ``earliest`` and ``latest`` are this host's, when it was
    asked for and when it was there. A limit is a number of connections (None: none); superusers
    have those of the server alone.
    """

    pid: int
    encoding: str
    clock: float
    extension: str | None
    role: str
    database: str
    superuser: bool
    role_limit: int | None
    database_limit: int | None
    server_limit: int
    role_used: int
    database_used: int
    server_used: int
    earliest: float
    latest: float

    @property
    def clock_ahead(self) -> float:
        """How far the database's clock is surely ahead of this host's (negative: behind)."""
        return surely_ahead(self.clock, earliest=self.earliest, latest=self.latest)

    def limits(self) -> list[tuple[int, int, str]]:
        """Return every limit on connections: how many, how many are in use, and whose it is."""
        limits: list[tuple[int | None, int, str]] = [
            (self.server_limit, self.server_used, "the server (max_connections)")
        ]
        if not self.superuser:
            limits += [
                (self.role_limit, self.role_used, f"role {self.role}"),
                (self.database_limit, self.database_used, f"database {self.database}"),
            ]
        return [(limit, used, whose) for limit, used, whose in limits if limit is not None]


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What our role may do.

    ``lacks`` is what it lacks of ``syncer_writer``'s privileges: names of objects by privilege;
    ``objects`` counts all that ``syncer_writer`` may use.
    """

    role: str
    superuser: bool
    creates_roles: bool
    objects: int
    lacks: Mapping[str, Sequence[str]]


class IdSequence(msgspec.Struct, frozen=True, kw_only=True):
    """The sequence behind an id; ``last_given`` is None where it may not be looked at."""

    sequence: str
    newest: int | None
    last_given: int | None
    movable: bool

    @property
    def behind(self) -> bool:
        """Whether it would give out a number that is in use."""
        return (
            self.newest is not None
            and self.last_given is not None
            and self.newest > self.last_given
        )


def judge_server(facts: ServerFacts, *, migrated: bool = True) -> list[Problem]:
    """Judge the database itself; ``migrated``: its schema is there."""
    return [
        *_judge_encoding(facts),
        *(_judge_extension(facts) if migrated else ()),
        *_judge_connections(facts),
        *_judge_clock(facts),
    ]


def _judge_encoding(facts: ServerFacts) -> Iterable[Problem]:
    if facts.encoding != _ENCODING:
        yield Problem(
            check="encoding",
            fatal=True,
            message=f"it is encoded in {facts.encoding}, which cannot hold every name of the API",
            advice="use a database of its own: create database inventory encoding 'UTF8' "
            "template template0",
        )


def _judge_extension(facts: ServerFacts) -> Iterable[Problem]:
    if facts.extension is None:
        yield Problem(
            check="extension",
            fatal=True,
            message="btree_gist is gone, and with it what keeps versions from overlapping",
            advice="restore the database, or dump the data and let syncer db upgrade make it anew",
        )


def _judge_connections(facts: ServerFacts) -> Iterable[Problem]:
    for limit, used, whose in facts.limits():
        left = limit - used + 1  # our own is among those in use
        if limit < CONNECTIONS:
            allowed = "1 connection" if limit == 1 else f"{limit} connections"
            yield Problem(
                check="connections",
                fatal=limit < _LEAST,
                message=f"{whose} may have {allowed}, a run uses {CONNECTIONS}",
                advice=f"allow at least {CONNECTIONS} (connection limit)",
            )
        elif left < CONNECTIONS:
            yield Problem(
                check="connections",
                fatal=False,
                message=f"{used} of {limit} connections of {whose} are in use, a run uses "
                f"{CONNECTIONS}",
                advice="allow more, or let others use fewer: pg_stat_activity shows whose they are",
            )


def _judge_clock(facts: ServerFacts) -> Iterable[Problem]:
    apart = facts.clock_ahead
    if abs(apart) > _CLOCKS_APART:
        yield Problem(
            check="database_clock",
            fatal=False,
            message=f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} that "
            "of this host, and every time that is stored is by it",
            advice="set the clock that is wrong (NTP), on the database's host or on this one",
        )


def judge_session(*, shared: bool) -> list[Problem]:
    """Judge whether our session stays ours from one transaction to the next."""
    advice = "connect to PostgreSQL itself, or to a pool in session mode"
    problem = Problem(check="session", fatal=True, message=SHARED, advice=advice)
    return [problem] if shared else []


def judge_rights(rights: Rights) -> list[Problem]:
    """Judge whether the role may do what a sync does."""
    if not rights.lacks:
        return []
    lacks = "; ".join(
        f"{privilege} on {_listed([name.removeprefix('syncer_store.') for name in names])}"
        for privilege, names in rights.lacks.items()
    )
    return [
        Problem(
            check="privileges",
            fatal=True,
            message=f"role {rights.role} cannot sync, it lacks {lacks}",
            advice="as the owner: syncer db roles, then: grant syncer_writer to "
            f"{quoted(rights.role)}",
        )
    ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def quoted(name: str) -> str:
    """Return a role's name as SQL has it."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


def judge_sequences(sequences: Iterable[IdSequence]) -> list[Problem]:
    """Judge whether sequences would give out numbers that are in use."""
    return [
        Problem(
            check="sequences",
            fatal=not each.movable,
            message=f"{each.sequence} would give out {each.last_given + 1}, and {each.newest} is "
            "in use (a copy, or a switch-over, left it behind)",
            advice="nothing: the next syncer sync moves it"
            if each.movable
            else f"as the owner: select setval('{each.sequence}', {each.newest})",
        )
        for each in sequences
        if each.behind and each.last_given is not None
    ]


async def accounts_at_once(server: Server, wanted: int) -> int:
    """Return how many accounts, of those ``wanted``, can be crawled side by side, at least one.

    Where there are too few connections for all of them, it is logged. Raises ConfigError for a
    database that none can use.
    """
    async with server.session(name="syncer connections", within=server.timing.begin) as connection:
        await check_schema(connection, server.where)
        earliest = time.time()
        row = await connection.fetchrow(sql("fitness/server"))
    assert row is not None  # noqa: S101  (there is always a database)
    possible, problem = judge_room(server_of(dict(row), earliest, time.time()), wanted)
    if problem is not None:
        _log.warning(
            "accounts.fewer_at_once",
            at_once=possible,
            wanted=wanted,
            error_message=problem.message,
            advice=problem.advice,
        )
    return possible


def judge_room(facts: ServerFacts, wanted: int) -> tuple[int, Problem | None]:
    """Return how many of the accounts wanted can be crawled at once, and why not all."""
    left, whose = min((limit - used + 1, whose) for limit, used, whose in facts.limits())
    possible = max(1, (left - SPARE_CONNECTIONS) // CONNECTIONS)
    if possible >= wanted:
        return wanted, None
    problem = Problem(
        check="connections",
        fatal=False,
        message=f"{whose} has {left} connections left: {wanted} accounts at once use "
        f"{wanted * CONNECTIONS + SPARE_CONNECTIONS}",
        advice="allow more connections, or set SYNCER_ACCOUNTS_AT_ONCE",
    )
    return possible, problem


async def check(server: Server, connection: Connection) -> None:
    """Make sure that a run can rely on the database; its schema is known to be ours.

    Asks once, in one statement. Raises ConfigError for what is fatal, and asyncpg's errors.
    """
    earliest = time.time()
    try:
        row = await connection.fetchrow(_everything())
    except asyncpg.InsufficientPrivilegeError as error:
        rights = await connection.fetchrow(sql("fitness/rights"))
        assert rights is not None  # noqa: S101  (there is always a role)
        _refuse(server.where, judge_rights(rights_of(dict(rights))), error)
        raise
    assert row is not None  # noqa: S101  (there is always a database)
    facts = server_of(dict(row), earliest, time.time())
    sequences = msgspec.json.decode(row["sequences"], type=list[IdSequence])
    problems = [
        *judge_session(shared=await server.is_shared(connection, facts.pid)),
        *judge_server(facts),
        *judge_rights(msgspec.json.decode(row["rights"], type=Rights)),
        *judge_sequences(sequences),
    ]
    _refuse(server.where, problems)
    _warn(problems)
    if any(each.behind for each in sequences):
        await move_sequences(server, connection)


@cache
def _everything() -> str:
    """Return one statement for all that a run asks: each further one would cost two round trips."""
    rights, sequences, server = (
        sql(f"fitness/{name}") for name in ("rights", "sequences", "server")
    )
    return (
        f"select s.*,\n"  # noqa: S608  (all of it is ours)
        f"(select to_jsonb(r)::text from (\n{rights}) as r) as rights,\n"
        f"(select jsonb_agg(q)::text from (\n{sequences}) as q) as sequences\n"
        f"from (\n{server}) as s"
    )


def server_of(row: Mapping[str, object], earliest: float, latest: float) -> ServerFacts:
    """Return the facts of a row of ``fitness/server``, asked for and there at this host's times."""
    values = {name: row[name] for name in ServerFacts.__struct_fields__ if name in row}
    return msgspec.convert(values | {"earliest": earliest, "latest": latest}, ServerFacts)


def rights_of(row: Mapping[str, object]) -> Rights:
    """Return the rights of a row of ``fitness/rights``."""
    lacks = msgspec.json.decode(str(row["lacks"]))
    return msgspec.convert({**row, "lacks": lacks}, Rights)


async def check_server(server: Server, connection: Connection, *, migrated: bool) -> None:
    """Make sure that a schema can be made or upgraded here. Raises as ``check`` does."""
    earliest = time.time()
    row = await connection.fetchrow(sql("fitness/server"))
    assert row is not None  # noqa: S101  (there is always a database)
    facts = server_of(dict(row), earliest, time.time())
    problems = judge_server(facts, migrated=migrated)
    _refuse(server.where, problems)
    _warn(problems)


def _refuse(where: str, problems: Iterable[Problem], cause: Exception | None = None) -> None:
    """Raise ConfigError for what is fatal, a line each."""
    faults = [f"the database at {where} is not fit: {each}" for each in problems if each.fatal]
    if faults:
        raise ConfigError(*faults) from cause


def _warn(problems: Iterable[Problem]) -> None:
    for each in problems:
        if each.check != "sequences":  # which are moved
            _log.warning(
                "database.unfit", check=each.check, error_message=each.message, advice=each.advice
            )


async def move_sequences(server: Server, connection: Connection) -> None:
    """Let sequences that are behind go on after what is in use. Raises ConfigError, asyncpg's.

    Nobody inserts meanwhile: two that move one at the same time would give a number out twice.
    """
    if not any(each.behind for each in await _sequences(connection)):
        return
    async with connection.transaction():
        await limit_lock_waits(connection, server.timing)
        await connection.execute(sql("fitness/accounts_lock"))
        await connection.execute(sql("fitness/sequences_lock"))
        sequences = await _sequences(connection)
        _refuse(server.where, judge_sequences(sequences))
        for each in sequences:
            if each.behind:
                await connection.fetchval(sql("fitness/sequence_move"), each.sequence, each.newest)
                _log.warning(
                    "sequence.moved",
                    sequence=each.sequence,
                    last_given=each.last_given,
                    newest=each.newest,
                )


async def _sequences(connection: Connection) -> list[IdSequence]:
    rows = await connection.fetch(sql("fitness/sequences"))
    return [msgspec.convert(dict(row), IdSequence) for row in rows]
