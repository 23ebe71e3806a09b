"""Whose turn it is: the table by which workers on any number of machines share the accounts.

It is the truth of when an account is due, and who took it; the queue only carries it to a worker.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import msgspec

from syncer.core.errors import ConfigError, LockHeld
from syncer.store.connection import Connection, Server, reading_transaction, sql


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that crawls accounts: its name, where it is, and what it has credentials of."""

    name: str
    host: str
    pid: int
    version: str
    accounts: tuple[str, ...]
    at_once: int
    """How many accounts it crawls side by side, at most."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """An account that a worker took: the ``number`` of the turn, and what is known of it.

    ``clock`` is the database's, in seconds since 1970, ``every`` in seconds; ``failures`` are those
    in a row before.
    """

    account: str
    number: int
    clock: float
    every: float
    failures: int
    prune_due: bool


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """How an account stands, as in the view ``account_schedule``.

    ``every`` and ``overdue`` are in seconds.
    """

    account: str
    state: str
    every: float
    worker: str | None
    workers: int
    overdue: float
    ended: bool
    failures: int
    result: str | None


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that is there, or was lately; ``unseen`` is in seconds."""

    worker: str
    host: str
    pid: int
    syncer_version: str
    alive: bool
    draining: bool
    accounts: int
    at_once: int
    running: int
    unseen: float


async def say_seen(connection: Connection, worker: Worker, *, draining: bool) -> None:
    """Say that a worker is there."""
    await connection.execute(
        sql("schedule/seen"),
        worker.name,
        worker.host,
        worker.pid,
        worker.version,
        list(worker.accounts),
        worker.at_once,
        draining,
    )


async def is_in(server: Server, connection: Connection) -> bool:
    """Return whether the transaction that is open is in the database of a server.

    It takes a lock, which is looked for there; nothing is written.
    """
    key = secrets.randbits(63)
    await connection.execute(sql("schedule/mark"), key)
    reading = server.reading(name="syncer worker", within=server.timing.read)
    async with reading as other, reading_transaction(other):
        return bool(await other.fetchval(sql("schedule/is_marked"), key))


async def say_gone(connection: Connection, worker: str) -> None:
    """Say that a worker ended."""
    await connection.execute(sql("schedule/gone"), worker)


async def add(connection: Connection, every: Mapping[str, float]) -> None:
    """Let accounts be crawled, at intervals, in seconds."""
    await connection.execute(sql("schedule/tick_add"))
    await connection.execute(sql("schedule/add"), list(every), list(every.values()))


async def claim(connection: Connection, period: float, *, wait: bool = False) -> bool:
    """Return whether this worker is to hand out what is due: one of all does, once a period (s).

    ``wait``: where another does right now, until that is done.
    """
    if wait:
        await connection.execute(sql("schedule/tick_wait"))
    return await connection.fetchval(sql("schedule/claim"), period) is not None


async def due(connection: Connection, grace: float) -> list[str]:
    """Return the accounts whose turn it is, and that are not in the queue.

    One that a worker took ``grace`` seconds ago, and has no run at work, is so again.
    """
    return [row["account"] for row in await connection.fetch(sql("schedule/due"), grace)]


async def take(connection: Connection, account: str, worker: str, grace: float) -> Turn | None:
    """Take an account for a worker; None where it is not its turn any more."""
    row = await connection.fetchrow(sql("schedule/take"), account, worker, grace)
    if row is None:
        return None
    return Turn(
        account=account,
        number=row["taken"],
        clock=row["clock"],
        every=row["every"],
        failures=row["failures"],
        prune_due=row["prune_due"],
    )


async def end(
    connection: Connection, turn: Turn, *, due: float, failures: int, result: str
) -> None:
    """Note how a turn ended, and when the account is due again (seconds since 1970).

    Nothing is noted where the account was given to another meanwhile.
    """
    arguments = (turn.account, turn.number, due, failures, result)
    await connection.execute(sql("schedule/end"), *arguments)


async def say_pruned(connection: Connection, account: str) -> None:
    """Say that what was too old of an account has been deleted."""
    await connection.execute(sql("schedule/pruned"), account)


async def clear(connection: Connection, grace: float) -> None:
    """Delete jobs that nobody does any more, and forget workers that are long gone.

    A job is lost where its worker was not seen for ``grace`` seconds, and no run of its account
    is at work.
    """
    await connection.execute(sql("schedule/jobs_lost"), grace)
    await connection.execute(sql("schedule/workers_lost"))


async def hasten(connection: Connection, accounts: Sequence[str]) -> None:
    """Let accounts be due now."""
    await connection.execute(sql("schedule/hasten"), accounts)


async def forget(connection: Connection, account: str) -> None:
    """Have an account crawled by no worker any more.

    Raises ConfigError where none crawls it, LockHeld where one does right now.
    """
    row = await connection.fetchrow(sql("schedule/forget"), account)
    assert row is not None  # noqa: S101  (it selects two answers)
    if not row["known"]:
        raise ConfigError(f"no worker crawls an account {account!r}")
    if not row["forgotten"]:
        raise LockHeld(f"a run of account {account!r} is at work; try again when it ended")


async def accounts(connection: Connection) -> Sequence[AccountState]:
    """Return how the accounts stand that workers crawl, by name."""
    rows = await connection.fetch(sql("schedule/accounts"))
    return [AccountState(**row) for row in rows]


async def workers(connection: Connection) -> Sequence[WorkerState]:
    """Return the workers that are there, by name."""
    return [WorkerState(**row) for row in await connection.fetch(sql("schedule/workers"))]
