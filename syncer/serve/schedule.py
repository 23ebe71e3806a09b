"""When a daemon runs next: on a fixed grid, sooner after a failure, later after a refusal."""

from __future__ import annotations

import math
from typing import Final, Literal

Ended = Literal["done", "failed", "refused"]
"""How a run ended: ``failed`` may pass by itself (network, database); ``refused`` will not."""
FIRST_RETRY: Final = 15.0
"""Seconds after a first failure; twice as many after each further one."""
LONGEST_REST: Final = 3600.0
"""Seconds between runs that are refused, at most (or the usual interval, where that is more)."""


class Schedule:
    """The moments of runs, in seconds of the caller's clock.

    Runs are due every ``every`` seconds from ``start`` on, whatever they take: moments that a slow
    run passed over are left out. To each moment up to ``jitter`` seconds are added, so that many
    daemons do not call at once.
    """

    def __init__(self, *, every: float, jitter: float, start: float) -> None:
        self.every = every
        self.jitter = min(jitter, every / 2)
        self._start = start
        self._failures = 0

    def after(self, now: float, ended: Ended, *, random: float) -> float:
        """Return when the next run is due, given how one ended just ``now``.

        ``random`` (0 to 1) places it within the jitter.
        """
        self._failures = 0 if ended == "done" else self._failures + 1
        doubled = 2.0 ** min(self._failures - 1, 60)
        due = self._tick_after(now) + self.jitter * random
        if ended == "failed":
            return min(due, now + FIRST_RETRY * doubled * (1 + random) / 2)
        if ended == "refused":
            rest = min(max(LONGEST_REST, self.every), self.every * doubled)
            return max(due, self._tick_after(now + rest - self.every) + self.jitter * random)
        return due

    def _tick_after(self, moment: float) -> float:
        passed = math.floor((moment - self._start) / self.every)
        tick = self._start + (passed + 1) * self.every
        return tick if tick > moment else tick + self.every
