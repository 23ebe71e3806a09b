"""The arithmetic of the rate ceiling: evenly paced, no burst. The clock is passed in.

The adaptive part (finding an unknown limit) builds on the same interface.
"""

from __future__ import annotations

from typing import Final

HEADROOM: Final = 0.98
"""The share of a configured rate that is used, so that clocks that differ reject nothing."""


class Pacer:
    """Hands out start times for calls, at most ``rate`` a second (None: no ceiling)."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 0.0 if rate is None else 1 / (rate * HEADROOM)
        self._next = 0.0
        self._paused_until = 0.0

    def reserve(self, now: float) -> float:
        """Return the seconds to wait from ``now`` before the call may start."""
        start = max(now, self._next)
        self._next = start + self._interval
        return start - now

    def pause(self, until: float) -> None:
        """Let no call start before ``until`` (the server asked for it)."""
        self._next = max(self._next, until)
        self._paused_until = max(self._paused_until, until)

    def paused(self, now: float) -> bool:
        """Return whether calls are held back at ``now``, those with a start time included."""
        return now < self._paused_until
