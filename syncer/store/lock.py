"""The run lock of an account: taken, taken over, restored.

A session advisory lock: it is lost with its connection, be it by the process, the machine, or the
network between. That does no harm: see the fence, in ``runs``.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import anyio
import asyncpg

from syncer.core.errors import LockHeld, Superseded
from syncer.store.connection import Connection, Server, Timing, named_errors, sql

_LOST: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def lock_key(purpose: str, account: str) -> int:
    """Return the advisory lock's key of an account (64 bits, so that none is shared by chance)."""
    digest = sha256(f"syncer:{purpose}:{account}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def session_name(run_id: int, account: str) -> str:
    """Return what the sessions of a run are called in pg_stat_activity, so that all are found."""
    return f"syncer sync run {run_id} of {account}"


async def limit_lock_waits(connection: Connection, timing: Timing) -> None:
    """Let no statement of the transaction wait for a lock longer than ``Timing.lock``."""
    await connection.execute(sql("run/lock_timeout"), f"{timing.lock * 1000:.0f}")


class Lock:
    """The lock and the session that holds it. Use ``session``."""

    def __init__(self, server: Server, account: str, connection: asyncpg.Connection[Any]) -> None:
        self._server = server
        self._timing = server.timing
        self._account = account
        self._key = lock_key("run", account)
        self._run_id = 0
        self._one_at_a_time = anyio.Lock()
        self._backend = connection.get_server_pid()
        self.connection = connection

    async def rename(self, run_id: int) -> None:
        """Say in pg_stat_activity which run this session is of."""
        self._run_id = run_id
        await self.connection.execute(sql("run/session_name"), self._name())

    def _name(self) -> str:
        who = f"on {socket.gethostname()[:16]} pid {os.getpid()}"
        return f"{session_name(self._run_id, self._account)[: 62 - len(who)]} {who}"

    async def restore(self, lost: set[int]) -> None:
        """Make sure that the lock is held, and end the backends whose connections were ``lost``.

        A backend that does not know yet that its client is gone keeps its transaction and its
        locks. Raises Superseded where another run has the lock, or DatabaseGone.
        """
        async with self._one_at_a_time:
            held = await self._answers()
            if not held:
                lost.add(self._backend)
                self.connection.terminate()
                self.connection = await self._server.connect(name=self._name())
                self._backend = self.connection.get_server_pid()
            with named_errors(self._server.where, self.connection):
                for _ in range(self._timing.lock_attempts):
                    await end_sessions(self.connection, self._run_id, only=lost)
                    if held or await self.connection.fetchval(sql("run/lock_try"), self._key):
                        lost.clear()
                        return
                    await anyio.sleep(self._timing.poll)
        raise Superseded(
            f"the connection and with it the lock was lost, and another run of account "
            f"{self._account!r} took it"
        )

    async def _answers(self) -> bool:
        """Return whether the session, and with it the lock, is still there."""
        if self.connection.is_closed() or self.connection.is_in_transaction():
            return False  # a transaction that was given up, and may still go on in the server
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
    finally:
        await lock.close()


async def end_sessions(
    connection: asyncpg.Connection[Any], run_id: int, only: Collection[int] | None = None
) -> None:
    """End the sessions of a run, all of them or ``only`` those with these process ids."""
    pids = None if only is None else list(only)
    await connection.fetch(sql("run/sessions_end"), session_name(run_id, ""), pids)


async def take_over(connection: asyncpg.Connection[Any], account: str, timing: Timing) -> None:
    """Take the run lock, if need be from a run that is past its deadline. Raises LockHeld.

    A run without a lock, or past its time, is ended: what it was about to write is read anew.
    """
    keys = [lock_key("run", account), lock_key("fence", account)]
    for _ in range(timing.lock_attempts):
        taken = await connection.fetchval(sql("run/lock_try"), keys[0])
        newest = await connection.fetchrow(sql("run/newest"), account)
        running = newest is not None and newest["status"] == "running"
        if taken and not running:
            return
        holders = await connection.fetch(sql("run/lock_holders"), keys)
        if newest is None or not running or not (taken or newest["overdue"]):
            raise LockHeld(_held(account, newest if running else None, holders))
        # By name, or by age where it had no time for a name: a newcomer like us who was quicker
        # may hold the lock by now.
        await end_sessions(connection, newest["run_id"])
        if taken:
            return
        for holder in holders:
            if holder["backend_start"] <= newest["started_at"]:
                await connection.fetchval(sql("run/backend_end"), holder["pid"])
        await anyio.sleep(timing.poll)
    raise LockHeld(f"the run that holds the lock of account {account!r} cannot be ended")


def _held(account: str, newest: asyncpg.Record | None, holders: list[asyncpg.Record]) -> str:
    who = holders[0]["application_name"] if holders else "another session"
    if newest is None:
        return f"another run of account {account!r} is beginning ({who}); try again when it ended"
    started: datetime = newest["started_at"]
    return (
        f"run {newest['run_id']} of account {account!r} is at work since "
        f"{started:%Y-%m-%d %H:%M:%SZ} ({who}); this one did nothing"
    )
