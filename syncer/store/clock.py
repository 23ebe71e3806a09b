"""The database's clock, and the time line of an account, which only goes forward.

A wall clock may step: a machine boots with a wrong one, a failover leads to a host that lags. Were
stamps taken from it, what was seen later could be stamped as earlier, and an image that is there
would be answered to be absent. So a run takes one stamp when it begins, later than every stamp of
its account, and its further stamps are that one and the time that has passed since, by a clock that
nobody sets and that goes on while a machine sleeps.

Stamps order what was seen, and answer what was there at an instant. How old something is, when a
run's time is up, and what may be pruned is counted by the clock itself.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from syncer.core.clock_repair import TICK
from syncer.store.connection import Connection, sql

CLOCK_BEHIND: Final = 1.0
"""Seconds; a clock that is further behind what is stored is set wrong: less is what two servers
that keep the time differ by."""


def surely_ahead(clock: float, *, earliest: float, latest: float) -> float:
    """Return how many seconds a clock is ahead of this host's, or behind it (negative), for sure.

    It was read after ``earliest`` and before ``latest`` by this host's.
    """
    return max(0.0, clock - latest) + min(0.0, clock - earliest)


def elapsed_microseconds() -> int:
    """Return a time that only goes forward, also while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Timeline:
    """The stamps of one run: the first, ``start``, was taken just now."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._taken = elapsed_microseconds()

    def now(self) -> datetime:
        """Return a stamp; a later call never returns an earlier one."""
        return self._start + timedelta(microseconds=elapsed_microseconds() - self._taken)


async def next_stamp(connection: Connection, account: str) -> datetime:
    """Return the stamp of what happens now: the clock, but later than every stamp of the account.

    It stays later than all as long as the account's row is locked.
    """
    row = await connection.fetchrow(sql("run/newest_stamp"), account)
    assert row is not None  # noqa: S101  (it asks no table for its row)
    newest: datetime | None = row["newest"]
    clock: datetime = row["clock"]
    return clock if newest is None else max(clock, newest + TICK)
