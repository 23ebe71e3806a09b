"""The runs of an account: one at a time (lock), fenced, recorded, ended even after a crash.

The lock is a session advisory lock, so it goes with its connection. The fence is what keeps a
process that lost its lock from writing: see ``Run.writing``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import anyio
import asyncpg
import msgspec
import structlog

from syncer import __version__
from syncer.core.errors import DatabaseGone, LockHeld, Superseded
from syncer.db import Connection, Server, acquired, check_schema, named_errors, sql

GRACE: Final = 60.0
"""Seconds past the run's time in which what was read is still written; as many again, and a
newcomer may take the run over."""
_FEED_KEY: Final = int.from_bytes(sha256(b"syncer:feed").digest()[:8], signed=True)
_STEAL_ATTEMPTS: Final = 50
_log = structlog.get_logger()


def lock_key(purpose: str, account: str) -> int:
    """Return the advisory lock's key of an account (64 bits, so that none is shared by chance)."""
    digest = sha256(f"syncer:{purpose}:{account}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


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


class Run:
    """A run that holds the lock of its account."""

    def __init__(
        self, connection: asyncpg.Connection[Any], server: Server, account: str, run_id: int
    ) -> None:
        self._connection = connection
        self._server = server
        self._where = server.where
        self.account = account
        self.run_id = run_id
        self.last_change = 0
        self.extra_names: dict[str, set[str]] = {}

    def number(self, changes: int) -> int:
        """Reserve ordinals for changes; return the one before the first."""
        before = self.last_change
        self.last_change += changes
        return before

    @contextlib.asynccontextmanager
    async def writing(self, pool: asyncpg.Pool[Any]) -> AsyncIterator[Connection]:
        """A transaction that only the newest run of the account can enter. Raises Superseded."""
        async with acquired(pool, self._where) as connection, connection.transaction():
            await connection.execute(sql("fence_shared"), lock_key("fence", self.account))
            newest = await connection.fetchval(sql("fence_check"), self.account, self.run_id)
            if not newest:
                raise Superseded(
                    f"a newer run of account {self.account!r} began; run {self.run_id} "
                    "writes nothing more"
                )
            yield connection

    async def finish(
        self, status: str, counts: Counts, *, code: str | None, message: str | None
    ) -> None:
        """End the run: its row gets its result and its changes their place in the feed."""
        try:
            await self._finish(self._connection, status, counts, code, message)
        except DatabaseGone:
            # The lock went with its connection: take it again, and see whether we are the newest.
            async with _connected(self._server, self.account) as connection:
                with named_errors(self._where, connection):
                    if not await connection.fetchval(
                        sql("lock_try"), lock_key("run", self.account)
                    ):
                        raise Superseded(
                            f"another run of account {self.account!r} took the lock"
                        ) from None
                    await self._finish(connection, status, counts, code, message)

    async def _finish(
        self,
        connection: Connection,
        status: str,
        counts: Counts,
        code: str | None,
        message: str | None,
    ) -> None:
        with named_errors(self._where, connection):
            async with connection.transaction():
                # Exclusive: a commit of this run that is still under way must be seen before its
                # changes are numbered, or the feed would skip them.
                await connection.execute(sql("lock_timeout"))
                await connection.execute(sql("fence_exclusive"), lock_key("fence", self.account))
                await connection.execute(sql("feed_lock"), _FEED_KEY)
                ended = await connection.fetchval(
                    sql("run_finish"),
                    self.run_id,
                    status,
                    *msgspec.structs.astuple(counts),
                    code,
                    message,
                    self.last_change,
                )
        if ended is None:
            raise Superseded(f"run {self.run_id} was ended by a newer run of {self.account!r}")


@contextlib.asynccontextmanager
async def begin(
    server: Server, account: str, *, run_timeout: float, selection: dict[str, Any]
) -> AsyncIterator[Run]:
    """Begin a run: take the lock, end what crashed, insert the row.

    Raises LockHeld (naming the holder), DatabaseGone, ConfigError.
    """
    async with _connected(server, account) as connection:
        with named_errors(server.where, connection):
            await check_schema(connection, server.where)
            await _lock(connection, account)
            run_id = await _start(connection, account, run_timeout, selection)
        yield Run(connection, server, account, run_id)


@contextlib.asynccontextmanager
async def _connected(server: Server, account: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection that says in pg_stat_activity whose it is."""
    me = f"syncer sync {account} on {socket.gethostname()[:20]} pid {os.getpid()}"
    connection = await server.connect(name=me)
    try:
        yield connection
    finally:
        lost = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
        with (
            anyio.CancelScope(shield=True),
            anyio.move_on_after(5),
            contextlib.suppress(*lost),
        ):
            await connection.close(timeout=3)


async def _start(
    connection: asyncpg.Connection[Any],
    account: str,
    run_timeout: float,
    selection: dict[str, Any],
) -> int:
    """Insert the run's row while no transaction of an older run can be under way."""
    async with connection.transaction():
        await connection.execute(sql("lock_timeout"))
        try:
            await connection.execute(sql("fence_exclusive"), lock_key("fence", account))
        except asyncpg.LockNotAvailableError as error:
            raise LockHeld(
                f"a transaction of an older run of account {account!r} is still under way; "
                "try again when it ended"
            ) from error
        await connection.execute(sql("feed_lock"), _FEED_KEY)
        for row in await connection.fetch(sql("runs_crashed"), account):
            _log.warning("run.crashed", run_id=row["run_id"], account=account)
        row = await connection.fetchrow(
            sql("run_start"),
            account,
            timedelta(seconds=run_timeout + 2 * GRACE),
            __version__,
            msgspec.json.encode(selection).decode(),
        )
        assert row is not None  # noqa: S101  (insert ... returning)
        run_id: int = row["run_id"]
        return run_id


async def _lock(connection: asyncpg.Connection[Any], account: str) -> None:
    """Take the run lock; take it over from a run that is past its deadline."""
    keys = [lock_key("run", account), lock_key("fence", account)]
    for _ in range(_STEAL_ATTEMPTS):
        if await connection.fetchval(sql("lock_try"), keys[0]):
            return
        newest = await connection.fetchrow(sql("run_newest"), account)
        holders = await connection.fetch(sql("lock_holders"), keys)
        if newest is None or newest["status"] != "running" or not newest["overdue"]:
            raise LockHeld(_held(account, newest, holders))
        for holder in holders:
            if holder["backend_start"] > newest["started_at"]:
                continue  # a newcomer like us, who was quicker
            _log.warning(
                "run.taken_over",
                account=account,
                run_id=newest["run_id"],
                holder=holder["application_name"],
            )
            await connection.fetchval(sql("backend_end"), holder["pid"])
        await anyio.sleep(0.1)
    raise LockHeld(f"the run that holds the lock of account {account!r} cannot be ended")


def _held(account: str, newest: asyncpg.Record | None, holders: list[asyncpg.Record]) -> str:
    who = holders[0]["application_name"] if holders else "another session"
    if newest is None or newest["status"] != "running":
        return f"another run of account {account!r} is beginning ({who}); try again when it ended"
    started: datetime = newest["started_at"]
    return (
        f"run {newest['run_id']} of account {account!r} is at work since "
        f"{started:%Y-%m-%d %H:%M:%SZ} ({who}); this one did nothing"
    )


class Clock:
    """The database's clock, read once and carried on by this machine's monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._offset = seconds - time.monotonic()

    def now(self) -> float:
        """Return the database's time in seconds since 1970."""
        return time.monotonic() + self._offset


async def read_clock(pool: asyncpg.Pool[Any], where: str) -> Clock:
    """Ask the database for the time; half of the round trip is taken for the way back."""
    with named_errors(where):
        asked = time.monotonic()
        seconds: float = await pool.fetchval(sql("clock"))
        return Clock(seconds + (time.monotonic() - asked) / 2)
