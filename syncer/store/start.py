"""How a run begins: the lock is taken, what crashed is ended, and its row inserted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from syncer import __version__
from syncer.core.errors import LockHeld
from syncer.store import lock
from syncer.store.clock import Clock, read_clock
from syncer.store.connection import Connection, Server, check_schema, in_time, named_errors, sql
from syncer.store.lock import lock_key
from syncer.store.runs import FEED_KEY, Run, grace
from syncer.zenlayer.limiter import Learnt

_PATIENCE: Final = 120.0
"""Seconds that a beginning may take: more than its waits for locks."""
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

    Raises LockHeld (naming the holder), DatabaseGone, ConfigError.
    """
    async with lock.session(server, account) as held:
        connection = held.connection
        with in_time(server.where, _PATIENCE), named_errors(server.where, connection):
            await check_schema(connection, server.where)
            await lock.take(connection, account)
            known = await _known(connection, account)
            run_id = await _start(connection, account, run_timeout, selection)
            await held.name(run_id)
        yield Run(held, server, account, run_id, run_timeout), known


async def look(server: Server, account: str) -> Known:
    """Make sure that a dry run can read what is stored. Raises DatabaseGone or ConfigError."""
    async with server.session(name="syncer dry run") as connection:
        with in_time(server.where, _PATIENCE), named_errors(server.where, connection):
            await check_schema(connection, server.where)
            return await _known(connection, account)


async def _known(connection: Connection, account: str) -> Known:
    rate = await connection.fetchval(sql("run/rate_limit"), account)
    learnt = None if rate is None else Learnt(rate=rate)
    return Known(await read_clock(connection), learnt)


async def _start(
    connection: asyncpg.Connection[Any],
    account: str,
    run_timeout: float,
    selection: dict[str, Any],
) -> int:
    """Insert the run's row while no transaction of an older run can be under way."""
    try:
        return await _insert(connection, account, run_timeout, selection)
    except asyncpg.LockNotAvailableError as error:
        raise LockHeld(
            f"a transaction of an older run of account {account!r} is still under way; "
            "try again when it ended"
        ) from error


async def _insert(
    connection: asyncpg.Connection[Any],
    account: str,
    run_timeout: float,
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
            timedelta(seconds=run_timeout + 2 * grace(run_timeout)),
            __version__,
            msgspec.json.encode(selection).decode(),
        )
        assert row is not None  # noqa: S101  (insert ... returning)
        run_id: int = row["run_id"]
        return run_id
