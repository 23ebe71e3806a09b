"""The runs of an account: one at a time, fenced, recorded, ended even after a crash.

Theory of operation
-------------------
The account's row (``lock``) keeps two runs of an account from writing into each other.

A run locks it for itself when it begins (``begin``) and when it ends, and every writing transaction
of a run (``Run.transaction``) locks it shared and then checks that its run is still the newest: in
this order, in two statements, so that the check sees all that was committed before the lock was
had. Hence, when a run has begun, no transaction of an older one is under way, and none can commit
any more: whatever wakes up finds a newer run and raises Superseded. This holds without clocks, and
whether or not the process of the older run is there.

Whether it is there, the row says too: a run at work is not disturbed, the newcomer is refused at
once. Each row in ``runs`` says until when its run may be at work: past its deadline it is ended and
taken over. A run that is recorded as running and has no process crashed, and its row says so from
then on.

Two rules more keep what is written complete though connections break.

A transaction whose COMMIT got no answer is done or not done. The next try (``Run.commit``) has the
row for itself: it waits for the end of the one before, and then sees in ``zone_scans`` whether that
step was recorded. So it is done once, whatever was lost.

Changes get their numbers in the feed at the end of their run (``Run.finish``), under the lock of
the feed's one row, always taken after the account's: what was committed is numbered, and nothing is
committed later below a number that a reader of the feed has already seen.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import anyio
import asyncpg
import msgspec
import structlog

from syncer import __version__
from syncer.core.errors import (
    DatabaseError,
    DatabaseGone,
    StatementRefused,
    Superseded,
    TransactionFailed,
)
from syncer.core.model import Fault, Learnt
from syncer.log import Causes
from syncer.store import fitness, lock
from syncer.store.clock import CLOCK_BEHIND, Timeline, next_stamp
from syncer.store.connection import (
    Connection,
    Server,
    acquired,
    in_time,
    is_lost,
    named_errors,
    sql,
)
from syncer.store.schema import check_schema

T = TypeVar("T")
_log = structlog.get_logger()


class Counts(msgspec.Struct, kw_only=True):
    """What a run came to, as its row in ``runs`` holds it."""

    zones: int = 0
    zones_unchanged: int = 0
    zones_changed: int = 0
    zones_incomplete: int = 0
    zones_failed: int = 0
    zones_guarded: int = 0
    zones_gone: int = 0
    pages: int = 0
    images: int = 0
    appeared: int = 0
    changed: int = 0
    removed: int = 0
    returned: int = 0
    withheld: int = 0
    rejected: int = 0
    rereads: int = 0
    calls: int = 0
    retries: int = 0
    zones_unlisted: int = 0
    zones_lost: int = 0


class Step(msgspec.Struct, frozen=True):
    """What a transaction does for a zone: records its scan, or amends it after the last zone."""

    zone_key: int
    amends: bool


class Basis(msgspec.Struct, frozen=True):
    """What a run begins with: its time line, and what is known of the API's rate limit.

    ``clock_behind`` is how many seconds the database's clock is behind what was stamped before.
    """

    timeline: Timeline
    learnt: Learnt | None
    clock_behind: float = 0.0


@contextlib.asynccontextmanager
async def begin(
    server: Server, account: str, *, run_timeout: float, selection: dict[str, Any]
) -> AsyncIterator[tuple[Run, Basis]]:
    """Begin a run: take the lock, end what crashed, insert the row.

    Raises LockHeld (naming the holder), DatabaseError, ConfigError.
    """
    async with lock.session(server, account) as held:
        connection = held.connection
        with in_time(server.where, server.timing.begin), named_errors(server.where, connection):
            await check_schema(connection, server.where)
            await fitness.check(server, connection)
            if (overdue := await lock.refuse_beside(connection, account)) is not None:
                await lock.end_overdue(connection, account, overdue)
            learnt = await _learnt(connection, account)
            seconds = run_timeout + 2 * server.timing.grace(run_timeout)
            run_id, timeline, behind = await _insert(server, held, account, seconds, selection)
            await held.rename()
            if behind > CLOCK_BEHIND:
                _log.warning(
                    "clock.behind",
                    account=account,
                    seconds=round(behind, 3),
                    advice="set the database's clock right (NTP); if it is right now, it was ahead "
                    "before: 'syncer db repair-clock' shows what it stamped then",
                )
        yield (
            Run(held, server, account, run_id, run_timeout, timeline=timeline),
            Basis(timeline, learnt, max(0.0, behind)),
        )


async def begin_dry_run(server: Server, account: str) -> Basis:
    """Make sure that what is stored can be read: all that a dry run needs. It leaves no row.

    Raises DatabaseError or ConfigError.
    """
    async with server.session(name="syncer dry run", within=server.timing.begin) as connection:
        await check_schema(connection, server.where)
        learnt = await _learnt(connection, account)
        return Basis(Timeline(await next_stamp(connection, account)), learnt)


async def _learnt(connection: Connection, account: str) -> Learnt | None:
    rate = await connection.fetchval(sql("run/rate_limit"), account)
    return None if rate is None else Learnt(rate=rate)


async def _insert(
    server: Server, held: lock.Lock, account: str, seconds: float, selection: dict[str, Any]
) -> tuple[int, Timeline, float]:
    """Insert the run's row, which may be at work for some ``seconds``.

    Return its number, its time line, and by how many seconds the clock is behind that.
    The account's row is locked meanwhile: no transaction of an older run can be under way.
    """
    connection = held.connection
    async with connection.transaction():
        await lock.lock_account(server, connection, account, end_hanging=True)
        await lock.refuse_beside(connection, account)
        ended_at = await next_stamp(connection, account)
        await end_crashed(connection, account, ended_at)
        row = await connection.fetchrow(
            sql("run/insert"),
            account,
            ended_at,
            timedelta(seconds=seconds),
            __version__,
            msgspec.json.encode(selection).decode(),
        )
        assert row is not None  # noqa: S101  (an insert returns its row)
        timeline = Timeline(row["started_at"])
        behind = (row["started_at"] - row["clock_at"]).total_seconds()
        await held.hold(row["run_id"])
    return row["run_id"], timeline, behind


async def end_crashed(connection: Connection, account: str, at: datetime) -> None:
    """End the runs of an account whose process is gone; what they committed gets its numbers.

    In a transaction that has the account's row for itself.
    """
    for row in await connection.fetch(sql("run/end_crashed"), account, at):
        _log.warning("run.crashed", run_id=row["run_id"], account=account)


class Run:
    """A run that holds the lock of its account."""

    def __init__(
        self,
        held: lock.Lock,
        server: Server,
        account: str,
        run_id: int,
        run_timeout: float,
        *,
        timeline: Timeline,
    ) -> None:
        self._lock = held
        self._server = server
        self._timing = server.timing
        self._lost: set[int] = set()
        self._deadline = time.monotonic() + run_timeout + server.timing.grace(run_timeout)
        self._attempts: set[anyio.CancelScope] = set()
        self._losses = Causes()
        self.account = account
        self.run_id = run_id
        self.timeline = timeline
        self.last_change = 0
        self.extra_names: dict[str, set[str]] = {}

    def reserve_ordinals(self, changes: int) -> int:
        """Reserve ordinals for changes; return the one before the first."""
        before = self.last_change
        self.last_change += changes
        return before

    def shorten_waits(self) -> None:
        """Wait from now on ``Timing.recover`` at most for the database: the run is to end."""
        seconds = self._timing.recover
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        for scope in self._attempts:
            scope.deadline = min(scope.deadline, anyio.current_time() + seconds)

    @contextlib.asynccontextmanager
    async def transaction(
        self, pool: asyncpg.Pool[Any], *, exclusive: bool = False
    ) -> AsyncIterator[Connection]:
        """Open a transaction that only the newest run of the account can enter.

        ``exclusive`` waits until no other transaction of the account is under way. Raises
        Superseded, ConfigError, DatabaseError.
        """
        async with acquired(pool, self._server) as connection:
            backend = connection.get_server_pid()  # another one where a pooler is between
            try:
                async with connection.transaction():
                    backend = await self._enter(connection, exclusive=exclusive)
                    yield connection
            except BaseException as error:
                if is_lost(connection, error) or not isinstance(error, Exception):
                    self._lost.add(backend)
                raise

    async def _enter(self, connection: Connection, *, exclusive: bool) -> int:
        """Lock the account's row, and check that the run is the newest; return our process id."""
        if exclusive:
            await lock.lock_account(self._server, connection, self.account, lost=self._lost)
        backend: int = await connection.fetchval(sql("run/account_share"), self.account)
        if not await connection.fetchval(sql("run/is_newest"), self.account, self.run_id):
            raise Superseded(
                f"a newer run of account {self.account!r} began; run {self.run_id} "
                "writes nothing more"
            )
        return backend

    async def commit(
        self,
        pool: asyncpg.Pool[Any],
        work: Callable[[Connection], Awaitable[T]],
        step: Step | None = None,
    ) -> T:
        """Do ``work`` in one writing transaction, again where the database goes away meanwhile.

        A connection lost during COMMIT leaves it open whether that was done. So the next try first
        sees the end of the one before, and does nothing where ``step`` is recorded. Without a step
        the work must bear being done twice. Raises Superseded, or DatabaseError after the deadline.
        """
        done: list[T] = []

        async def attempt(failures: int) -> T:
            async with self.transaction(pool, exclusive=failures > 0) as connection:
                recorded = (
                    bool(done)
                    and step is not None
                    and await connection.fetchval(
                        sql("zone/step_recorded"), step.zone_key, self.run_id, step.amends
                    )
                )
                if not recorded:
                    done.append(await work(connection))
            return done[-1]

        return await self._repeat(attempt)

    async def _repeat(self, attempt: Callable[[int], Awaitable[T]]) -> T:
        """Call ``attempt`` with the number of failures before it, until one succeeds."""
        failures = 0
        while True:
            try:
                result = await self._limited(attempt, failures)
            except StatementRefused:
                raise
            except DatabaseError as error:
                failures += 1
                self.extra_names.clear()  # what a lost transaction recorded
                retry = self._timing.retry
                wait = retry.delay(failures, random=random.random())  # noqa: S311
                attempts = retry.attempts if isinstance(error, TransactionFailed) else None
                if failures == attempts or time.monotonic() + wait > self._deadline:
                    raise
                (_log.warning if self._losses.is_new(str(error)) else _log.debug)(
                    "database.lost",
                    account=self.account,
                    run_id=self.run_id,
                    error_message=str(error),
                    wait=round(wait, 2),
                )
                await anyio.sleep(wait)
            else:
                if failures:
                    self._losses.forget()
                    _log.info(
                        "database.regained",
                        account=self.account,
                        run_id=self.run_id,
                        attempts=failures + 1,
                    )
                return result

    async def _limited(self, attempt: Callable[[int], Awaitable[T]], failures: int) -> T:
        """Make one attempt; after a failure, first make sure that the lock is held.

        Raises DatabaseGone where it takes too long.
        """
        left = max(1.0, self._deadline - time.monotonic())
        limit = min(left, self._timing.transaction * (failures + 1))
        with anyio.move_on_after(limit) as scope:
            self._attempts.add(scope)
            try:
                if failures or not self._lock.is_usable:
                    await self._lock.restore(self._lost)
                return await attempt(failures)
            finally:
                self._attempts.discard(scope)
        raise DatabaseGone(f"the database at {self._server.where} does not answer")

    async def finish(
        self,
        status: str,
        counts: Counts,
        *,
        fault: Fault | None = None,
        learnt: Learnt | None = None,
    ) -> None:
        """End the run: its row gets its result, its changes their place in the feed.

        ``learnt`` is kept for the next run.
        """
        reason = (fault.code, fault.message) if fault else (None, None)
        *numbers, unlisted, lost = msgspec.structs.astuple(counts)
        values = (status, *numbers, *reason, self.last_change, unlisted, lost)

        async def attempt(failures: int) -> None:
            connection = self._lock.connection
            with named_errors(self._server.where, connection):
                async with connection.transaction():
                    # Exclusive: a commit of this run that is still under way must be seen before
                    # its changes are numbered, or the feed would skip them.
                    await self._enter(connection, exclusive=True)
                    now = self.timeline.now()
                    ended = await connection.fetchval(sql("run/finish"), self.run_id, now, *values)
                    if ended is None and not failures:
                        raise Superseded(f"run {self.run_id} was ended by another session")
                    if learnt is not None:
                        await connection.execute(
                            sql("run/rate_limit_learnt"), self.account, learnt.rate, self.run_id
                        )

        self._deadline = max(self._deadline, time.monotonic() + self._timing.recover)
        await self._repeat(attempt)
