"""The account's row: which run is at work, and who may write.

Whoever begins or ends a run locks the row of its account for itself, and every transaction of a run
locks it shared; so the two keep out of each other's way. Locks of rows need a right that only a
writer has: advisory locks can be seen and taken by whoever may connect.

A run is at work while its process holds an advisory lock whose key was drawn at random for it;
both stand in the row. The lock goes with its connection, be it by the process, the machine or the
network between. Who else holds some key means nothing, and so does what a session calls itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Any, Final

import anyio
import asyncpg

from syncer.core.errors import LockHeld, Superseded, TransactionFailed, unwrapped
from syncer.store.clock import next_stamp
from syncer.store.connection import (
    Connection,
    Server,
    Timing,
    limit_lock_waits,
    named_errors,
    sql,
)

_LOST: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def session_name(run_id: int, account: str) -> str:
    """Return what the sessions of a run are called in pg_stat_activity, for who looks there."""
    return f"syncer sync run {run_id} of {account}"


async def take_key(connection: Connection) -> int:
    """Take an advisory lock whose key nobody can guess, as long as the session lasts."""
    while True:
        key = secrets.randbits(63)
        if await connection.fetchval(sql("run/key_take"), key):
            return key


async def hold_prune(connection: Connection, account: str) -> bool:
    """Let nobody else prune the account as long as the session lasts; False where somebody does."""
    key = await take_key(connection)
    return await connection.fetchval(sql("prune/hold"), account, key) is not None


async def lock_account(
    server: Server,
    connection: Connection,
    account: str,
    *,
    lost: Collection[int] = (),
    end_hanging: bool = False,
) -> None:
    """Lock the account's row for the transaction that is open, alone.

    A session of those ``lost`` (process ids of connections of ours) that is in the way is ended at
    once; with ``end_hanging`` also any that is in the way all through a wait of ``Timing.lock``.
    Raises TransactionFailed, which names who is still in the way then, or LockHeld.
    """
    await _prepare(connection, account, server.timing)
    if await _locked(connection, sql("run/account_lock_now"), account):
        return
    run_id = await connection.fetchval(sql("run/account_run"), account)
    async with server.session(name=f"syncer waits for {account}"[:63]) as watcher:
        wait = _Wait(server, connection, watcher, lost, end_hanging=end_hanging)
        for _ in range(server.timing.lock_waits):
            if await wait.once(account):
                return
            if run_id != await watcher.fetchval(sql("run/account_run"), account):
                raise LockHeld(f"another run of account {account!r} began meanwhile")
    raise TransactionFailed(
        f"a transaction of account {account!r} at {server.where} does not end: {wait.in_the_way()}"
    )


async def _prepare(connection: Connection, account: str, timing: Timing) -> None:
    """Limit how long the account's row is waited for, and make sure that there is one."""
    await limit_lock_waits(connection, timing)
    await connection.execute(sql("run/account_add"), account)


async def _locked(connection: Connection, statement: str, account: str) -> bool:
    try:
        async with connection.transaction():  # a savepoint
            await connection.execute(statement, account)
    except asyncpg.LockNotAvailableError:
        return False
    return True


class _Wait:
    """Waits for a row; another session sees meanwhile who is in the way, and ends who hangs."""

    def __init__(
        self,
        server: Server,
        connection: Connection,
        watcher: asyncpg.Connection[Any],
        lost: Collection[int],
        *,
        end_hanging: bool,
    ) -> None:
        self._where = server.where
        self._timing = server.timing
        self._connection = connection
        self._watcher = watcher
        self._to_end = frozenset(lost)
        self._end_hanging = end_hanging
        self._seen: dict[int, asyncpg.Record] = {}

    async def once(self, account: str) -> bool:
        """Wait up to ``Timing.lock`` for the row; return whether it was got."""
        if self._end_hanging:
            self._to_end |= self._seen.keys()
        self._seen = {}
        done = anyio.Event()
        pid = await self._connection.fetchval(sql("session/pid"))
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, pid, done)
                try:
                    with named_errors(self._where, self._connection):  # before they are a group's
                        locked = await _locked(self._connection, sql("run/account_lock"), account)
                finally:
                    done.set()
        return locked

    async def _watch(self, pid: int, done: anyio.Event) -> None:
        with named_errors(self._where, self._watcher):
            await self._watch_until(pid, done)

    async def _watch_until(self, pid: int, done: anyio.Event) -> None:
        while not done.is_set():
            rows = await self._watcher.fetch(sql("run/blockers"), pid)
            self._seen = {row["pid"]: row for row in rows} or self._seen
            for blocker in self._seen.keys() & self._to_end:
                with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                    await self._watcher.execute(sql("run/blocker_end"), pid, blocker)
            with anyio.move_on_after(self._timing.poll):
                await done.wait()

    def in_the_way(self) -> str:
        """Return who was in the way, and the statements that end them."""
        return (
            "; ".join(
                f"process {pid} of role {row['role']} ({row['application_name']}) is in the way; "
                f"its role or a superuser may end it: select pg_terminate_backend({pid})"
                for pid, row in self._seen.items()
            )
            or "try again"
        )


class Lock:
    """A run's place in the account's row, and the session that holds it. Use ``session``."""

    def __init__(self, server: Server, account: str, connection: asyncpg.Connection[Any]) -> None:
        self._server = server
        self._timing = server.timing
        self._account = account
        self._run_id = 0
        self._one_at_a_time = anyio.Lock()
        self._backend: int | None = None  # not known before the run is held
        self.connection = connection

    async def hold(self, run_id: int) -> None:
        """Say in the account's row, which is locked, that this session's run is at work."""
        self._run_id = run_id
        key = await take_key(self.connection)
        hold = sql("run/account_hold")
        self._backend = await self.connection.fetchval(hold, self._account, run_id, key)

    async def rename(self) -> None:
        """Say in pg_stat_activity which run this session is of."""
        await self.connection.execute(sql("run/session_name"), self._name())

    def _name(self) -> str:
        who = f"on {socket.gethostname()[:16]} pid {os.getpid()}"
        return f"{session_name(self._run_id, self._account)[: 62 - len(who)]} {who}"

    async def restore(self, lost: set[int]) -> None:
        """Make sure that the run is at work, and end the backends whose connections were ``lost``.

        A backend that does not know yet that its client is gone keeps its transaction and its
        locks. Raises Superseded where another run began, or DatabaseError.
        """
        async with self._one_at_a_time:
            held = await self._answers()
            if not held:
                if self._backend is not None:
                    lost.add(self._backend)
                self.connection.terminate()
                self.connection = await self._server.connect(name=self._name())
            connection = self.connection
            with named_errors(self._server.where, connection):
                async with connection.transaction():
                    await lock_account(self._server, connection, self._account, lost=lost)
                    newest = sql("run/is_newest")
                    if not await connection.fetchval(newest, self._account, self._run_id):
                        raise Superseded(
                            f"the connection was lost, and another run of account "
                            f"{self._account!r} began"
                        )
                    if not held:
                        await self.hold(self._run_id)
            lost.clear()

    @property
    def is_usable(self) -> bool:
        """Whether the session is free: no transaction was given up in it, and it is not closed."""
        return not self.connection.is_closed() and not self.connection.is_in_transaction()

    async def _answers(self) -> bool:
        """Return whether the session, and with it the lock, is still there."""
        if not self.is_usable:
            return False  # a transaction that was given up may still go on in the server
        with contextlib.suppress(*_LOST), anyio.move_on_after(self._timing.answer):
            await self.connection.execute(sql("run/clock"))
            return True
        return False

    async def close(self) -> None:
        """Close the session, and with it release the lock."""
        with (
            anyio.CancelScope(shield=True),
            anyio.move_on_after(self._timing.answer),
            contextlib.suppress(*_LOST),
        ):
            await self.connection.close(timeout=self._timing.answer / 2)


@contextlib.asynccontextmanager
async def session(server: Server, account: str) -> AsyncIterator[Lock]:
    """Open the session for the lock; it says in pg_stat_activity whose it is."""
    me = f"syncer sync {account} on {socket.gethostname()[:20]} pid {os.getpid()}"
    lock = Lock(server, account, await server.connect(name=me))
    try:
        yield lock
    except anyio.get_cancelled_exc_class():
        lock.connection.terminate()  # given up: the database is not waited for
        raise
    finally:
        await lock.close()


async def refuse_beside(connection: Connection, account: str) -> int | None:
    """Raise LockHeld where a run of the account is at work; return the id of one whose time is up.

    None where no run is at work.
    """
    newest = await connection.fetchrow(sql("run/newest"), account)
    if newest is None or newest["pid"] is None:
        return None
    if not newest["overdue"]:
        raise LockHeld(_held(account, newest))
    run_id: int = newest["run_id"]
    return run_id


async def end_overdue(connection: Connection, account: str, run_id: int) -> None:
    """End the process of a run whose time is up. What it was about to write is read anew.

    Where this role may not end it, it can write nothing more as soon as a newer run began.
    """
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
        await connection.execute(sql("run/overdue_end"), account, run_id)


async def stamp_between_runs(connection: Connection, account: str, timing: Timing) -> datetime:
    """Lock the account's row in the open transaction; return the stamp of what it writes.

    Raises TransactionFailed where a run, or somebody else, is in the way for too long.
    """
    await _prepare(connection, account, timing)
    try:
        await connection.execute(sql("run/account_lock"), account)
    except asyncpg.LockNotAvailableError as error:
        raise TransactionFailed(
            f"a transaction of account {account!r} is under way; try again when it ended"
        ) from error
    return await next_stamp(connection, account)


def _held(account: str, newest: asyncpg.Record) -> str:
    started: datetime = newest["started_at"]
    deadline: datetime = newest["deadline_at"]
    who = newest["application_name"] or f"process {newest['pid']} of role {newest['role']}"
    return (
        f"run {newest['run_id']} of account {account!r} is at work since "
        f"{started:%Y-%m-%d %H:%M:%SZ}, until {deadline:%H:%M:%SZ} at most ({who}); "
        "this one did nothing"
    )
