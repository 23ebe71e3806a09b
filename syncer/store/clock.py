"""The database's clock: every time that is stored is its."""

from __future__ import annotations

import time

from syncer.store.connection import Connection, sql


class Clock:
    """The database's clock, read once and carried on by this machine's monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._offset = seconds - time.monotonic()

    def now(self) -> float:
        """Return the database's time in seconds since 1970."""
        return time.monotonic() + self._offset


async def read_clock(connection: Connection) -> Clock:
    """Ask the database for the time; half of the round trip counts as the way back."""
    asked = time.monotonic()
    seconds: float = await connection.fetchval(sql("run/clock"))
    return Clock(seconds + (time.monotonic() - asked) / 2)
