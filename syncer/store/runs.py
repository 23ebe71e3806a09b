"""The runs of an account: one at a time (lock), fenced, recorded, ended even after a crash.

The fence is what keeps a process that lost its lock from writing: see ``Run.writing``. What is to
be written is written though the database goes away and comes back: see ``Run.commit``.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar

import anyio
import asyncpg
import msgspec
import structlog

from syncer import __version__
from syncer.core.backoff import Backoff
from syncer.core.errors import DatabaseError, DatabaseGone, LockHeld, Superseded, TransactionFailed
from syncer.core.model import Fault, Learnt
from syncer.store import lock
from syncer.store.clock import Clock, read_clock
from syncer.store.connection import (
    Connection,
    Server,
    acquired,
    in_time,
    is_lost,
    named_errors,
    sql,
)
from syncer.store.lock import lock_key
from syncer.store.schema import check_schema

T = TypeVar("T")
FEED_KEY: Final = int.from_bytes(sha256(b"syncer:feed").digest()[:8], signed=True)
_RECONNECT: Final = Backoff(first=0.1)
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


class Step(msgspec.Struct, frozen=True):
    """What a transaction does for a zone: records its scan, or amends it after the last zone."""

    zone_key: int
    amends: bool


class Run:
    """A run that holds the lock of its account."""

    def __init__(
        self, held: lock.Lock, server: Server, account: str, run_id: int, run_timeout: float
    ) -> None:
        self._lock = held
        self._server = server
        self._where = server.where
        self._timing = server.timing
        self._lost: set[int] = set()
        self._deadline = time.monotonic() + run_timeout + server.timing.grace(run_timeout)
        self._tries: set[anyio.CancelScope] = set()
        self.account = account
        self.run_id = run_id
        self.last_change = 0
        self.extra_names: dict[str, set[str]] = {}

    def number(self, changes: int) -> int:
        """Reserve ordinals for changes; return the one before the first."""
        before = self.last_change
        self.last_change += changes
        return before

    def hurry(self) -> None:
        """Wait no longer than a few seconds for a database that went away: the run is to end."""
        seconds = self._timing.recover
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        for scope in self._tries:
            scope.deadline = min(scope.deadline, anyio.current_time() + seconds)

    @contextlib.asynccontextmanager
    async def writing(
        self, pool: asyncpg.Pool[Any], *, alone: bool = False
    ) -> AsyncIterator[Connection]:
        """A transaction that only the newest run of the account can enter. Raises Superseded.

        ``alone`` waits until no other transaction of the account is under way.
        """
        async with acquired(pool, self._server) as connection:
            backend = connection.get_server_pid()
            try:
                async with connection.transaction():
                    await self._enter(connection, alone=alone)
                    yield connection
            except BaseException as error:
                if is_lost(connection) or not isinstance(error, Exception):
                    self._lost.add(backend)
                raise

    async def _enter(self, connection: Connection, *, alone: bool) -> None:
        key = lock_key("fence", self.account)
        if alone:
            await connection.execute(sql("run/lock_timeout"))
        await connection.execute(sql("run/fence_exclusive" if alone else "run/fence_shared"), key)
        if not await connection.fetchval(sql("run/fence_check"), self.account, self.run_id):
            raise Superseded(
                f"a newer run of account {self.account!r} began; run {self.run_id} "
                "writes nothing more"
            )

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

        async def once(failures: int) -> T:
            async with self.writing(pool, alone=failures > 0) as connection:
                if done and step is not None and await self._recorded(connection, step):
                    return done[-1]
                done.append(await work(connection))
            return done[-1]

        return await self._until_done(once)

    async def _recorded(self, connection: Connection, step: Step) -> bool:
        recorded: bool = await connection.fetchval(
            sql("zone/step_recorded"), step.zone_key, self.run_id, step.amends
        )
        return recorded

    async def _until_done(self, once: Callable[[int], Awaitable[T]]) -> T:
        """Do something ``once`` more, given the number of failures, until it is done."""
        failures = 0
        while True:
            try:
                result = await self._try(once, failures)
            except DatabaseError as error:
                failures += 1
                self.extra_names.clear()  # what a lost transaction announced
                wait = _RECONNECT.delay(failures, random=random.random())  # noqa: S311
                tries = _RECONNECT.attempts if isinstance(error, TransactionFailed) else None
                if failures == tries or time.monotonic() + wait > self._deadline:
                    raise
                _log.warning(
                    "database.lost",
                    account=self.account,
                    run_id=self.run_id,
                    error_message=str(error),
                    wait=round(wait, 2),
                )
                await anyio.sleep(wait)
            else:
                if failures:
                    _log.info("database.regained", account=self.account, run_id=self.run_id)
                return result

    async def _try(self, once: Callable[[int], Awaitable[T]], failures: int) -> T:
        left = max(1.0, self._deadline - time.monotonic())
        limit = min(left, self._timing.transaction * (failures + 1))
        with anyio.move_on_after(limit) as scope:
            self._tries.add(scope)
            try:
                if failures:
                    await self._lock.regain(self._lost)
                return await once(failures)
            finally:
                self._tries.discard(scope)
        raise DatabaseGone(f"the database at {self._where} does not answer")

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
        values = (status, *msgspec.structs.astuple(counts), *reason, self.last_change)

        async def once(failures: int) -> None:
            connection = self._lock.connection
            with named_errors(self._where, connection):
                async with connection.transaction():
                    # Alone: a commit of this run that is still under way must be seen before its
                    # changes are numbered, or the feed would skip them.
                    await self._enter(connection, alone=True)
                    await connection.execute(sql("run/feed_lock"), FEED_KEY)
                    ended = await connection.fetchval(sql("run/finish"), self.run_id, *values)
                    if ended is None and not failures:
                        raise Superseded(f"run {self.run_id} was ended by another session")
                    if learnt is not None:
                        await connection.execute(
                            sql("run/rate_limit_learnt"), self.account, learnt.rate, self.run_id
                        )

        self._deadline = max(self._deadline, time.monotonic() + self._timing.recover)
        await self._until_done(once)


_log = structlog.get_logger()


class Known(msgspec.Struct, frozen=True):
    """What a run begins with: the database's clock, and what is known of the API's rate limit."""

    clock: Clock
    learnt: Learnt | None


@contextlib.asynccontextmanager
async def begin(
    server: Server, account: str, *, run_timeout: float, selection: dict[str, Any]
) -> AsyncIterator[tuple[Run, Known]]:
    """Begin a run: take the lock, end what crashed, insert the row.

    Raises LockHeld (naming the holder), DatabaseError, ConfigError.
    """
    async with lock.session(server, account) as held:
        connection = held.connection
        with in_time(server.where, server.timing.begin), named_errors(server.where, connection):
            await check_schema(connection, server.where)
            await lock.take(connection, account)
            known = await _known(connection, account)
            deadline = run_timeout + 2 * server.timing.grace(run_timeout)
            run_id = await _start(connection, account, deadline, selection)
            await held.name(run_id)
        yield Run(held, server, account, run_id, run_timeout), known


async def look(server: Server, account: str) -> Known:
    """Make sure that a dry run can read what is stored. Raises DatabaseError or ConfigError."""
    async with server.session(name="syncer dry run", within=server.timing.begin) as connection:
        await check_schema(connection, server.where)
        return await _known(connection, account)


async def _known(connection: Connection, account: str) -> Known:
    rate = await connection.fetchval(sql("run/rate_limit"), account)
    learnt = None if rate is None else Learnt(rate=rate)
    return Known(await read_clock(connection), learnt)


async def _start(
    connection: asyncpg.Connection[Any],
    account: str,
    deadline: float,
    selection: dict[str, Any],
) -> int:
    """Insert the run's row while no transaction of an older run can be under way."""
    try:
        return await _insert(connection, account, deadline, selection)
    except asyncpg.LockNotAvailableError as error:
        raise LockHeld(
            f"a transaction of an older run of account {account!r} is still under way; "
            "try again when it ended"
        ) from error


async def _insert(
    connection: asyncpg.Connection[Any],
    account: str,
    deadline: float,
    selection: dict[str, Any],
) -> int:
    async with connection.transaction():
        await connection.execute(sql("run/lock_timeout"))
        await connection.execute(sql("run/fence_exclusive"), lock_key("fence", account))
        await connection.execute(sql("run/feed_lock"), FEED_KEY)
        for row in await connection.fetch(sql("run/crashed"), account):
            _log.warning("run.crashed", run_id=row["run_id"], account=account)
        row = await connection.fetchrow(
            sql("run/start"),
            account,
            timedelta(seconds=deadline),
            __version__,
            msgspec.json.encode(selection).decode(),
        )
        assert row is not None  # noqa: S101  (insert ... returning)
        run_id: int = row["run_id"]
        return run_id
