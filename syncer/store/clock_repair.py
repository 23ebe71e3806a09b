"""Repairing stamps that were made while the database's clock was ahead of the time.

All is done in one transaction, in which no run is at work and none can begin. What stamps were and
what they are now is kept in ``clock_repairs``, by which every table is repaired.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

import msgspec
import structlog

from syncer.core.clock_repair import Move, Stamp, check_clocks, moves
from syncer.core.errors import LockHeld
from syncer.store.clock import surely_ahead
from syncer.store.connection import Connection, Server, in_time, sql
from syncer.store.lock import hold_prune, refuse_beside, stamp_between_runs
from syncer.store.reading import stored_accounts
from syncer.store.runs import end_crashed

_TABLES: Final = (
    "repair/history_open",
    "repair/history",
    "repair/images",
    "repair/missing",
    "repair/gaps",
    "repair/scans",
    "repair/stretches",
    "repair/approvals",
    "repair/retirements",
    "repair/retention",
    "repair/zones",
    "repair/runs",
)
"""In this order: closed versions, which the latest ones may not reach into; runs last, as theirs
is the clock that nothing is known of any more."""
_log = structlog.get_logger()


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or would be, to the stamps of an account; times are those of its stamps."""

    account: str
    stamps: int
    timed: int
    old_from: datetime
    old_to: datetime
    new_from: datetime
    new_to: datetime


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair comes to: ``at`` is the clock by which it goes."""

    at: datetime
    accounts: list[Repaired]


async def plan(server: Server, *, api_ahead: float | None) -> Plan:
    """Return what a repair would do; nothing is locked or written.

    ``api_ahead`` is how many seconds the API's clock is ahead of this host's (None: not known).
    Raises ClocksDisagree, DatabaseError.
    """
    async with server.session(name="syncer db repair-clock") as connection:
        with in_time(server.where, server.timing.prune):
            at = await _now(connection, api_ahead)
            return await _plan(connection, at, None, by=None)


async def repair(server: Server, *, api_ahead: float | None, by: str) -> Plan:
    """Move every stamp that is later than the clock to where it belongs; return what was done.

    Raises ClocksDisagree, LockHeld where a run or a prune is at work, DatabaseError.
    """
    async with server.session(name="syncer db repair-clock") as connection:
        with in_time(server.where, server.timing.prune):
            async with connection.transaction():
                accounts = await _lock(server, connection)
                at = await _now(connection, api_ahead)
                return await _plan(connection, at, accounts, by=by)


async def _now(connection: Connection, api_ahead: float | None) -> datetime:
    """Return the time, on which the database, this host and the API agree."""
    earliest = time.time()
    at: datetime = await connection.fetchval(sql("run/clock"))
    ahead = surely_ahead(at.timestamp(), earliest=earliest, latest=time.time())
    check_clocks(database=ahead, api=api_ahead)
    return at


async def _lock(server: Server, connection: Connection) -> list[str]:
    """See that no run of any account is at work, and that none begins; end those that crashed.

    Returns the accounts.
    """
    accounts = await stored_accounts(connection)
    for account in accounts:
        if (overdue := await refuse_beside(connection, account)) is not None:
            raise LockHeld(
                f"run {overdue} of account {account!r} is at work though its time is up: the next "
                "'syncer sync' ends it"
            )
        at = await stamp_between_runs(connection, account, server.timing)
        await refuse_beside(connection, account)
        if not await hold_prune(connection, account):
            raise LockHeld(f"a prune of account {account!r} is at work; try again later")
        await end_crashed(connection, account, at)
        await connection.execute(sql("repair/forget_run"), account)
    await connection.fetchval(sql("repair/feed_lock"))
    return accounts


async def _plan(
    connection: Connection, at: datetime, accounts: list[str] | None, *, by: str | None
) -> Plan:
    """Say what is to be done, and do it in the name of ``by`` (None: do nothing).

    Of ``accounts`` only (None: of all): one whose first run began meanwhile is at work, and right.
    """
    done: list[Repaired] = []
    found = await connection.fetch(sql("repair/accounts"), at, accounts)
    for account in [row["account"] for row in found]:
        rows = await connection.fetch(sql("repair/stamps"), account, at)
        stamps = [Stamp(**row) for row in rows]
        newest = await connection.fetchval(sql("repair/newest"), account, at)
        moved = moves(stamps, after=newest, now=at)
        done.append(_summary(account, moved))
        if by is not None:
            await _move(connection, account, at, moved, by=by)
            _log.warning("clock.repaired", **msgspec.to_builtins(done[-1]), by=by)
    if by is not None:
        await connection.execute(sql("repair/beside"), at)
    return Plan(at=at, accounts=done)


def _summary(account: str, moved: list[Move]) -> Repaired:
    return Repaired(
        account=account,
        stamps=len(moved),
        timed=sum(move.timed for move in moved),
        old_from=moved[0].old,
        old_to=moved[-1].old,
        new_from=moved[0].new,
        new_to=moved[-1].new,
    )


async def _move(
    connection: Connection, account: str, at: datetime, moved: list[Move], *, by: str
) -> None:
    await connection.execute(
        sql("repair/add"),
        account,
        at,
        by,
        [move.old for move in moved],
        [move.new for move in moved],
        [move.timed for move in moved],
    )
    for statement in _TABLES:
        await connection.execute(sql(statement), account, at)
