"""When the daemon runs next: on a fixed grid, sooner after a failure, later after a refusal."""

from __future__ import annotations

import math
from typing import Literal

from syncer.serve.timing import Timing

Ended = Literal["done", "failed", "refused"]
"""How a run ended: ``failed`` may pass by itself (network, database); ``refused`` will not."""


class Schedule:
    """The moments of runs, in seconds of the caller's clock.

    Runs are due every ``every`` seconds from ``start`` on, however long they take: moments that a
    slow run missed are skipped. To each moment up to ``jitter`` seconds (at most half the interval)
    are added, so that many daemons do not call at once. ``failures`` are those in a row until now.
    """

    def __init__(
        self,
        *,
        every: float,
        jitter: float,
        start: float,
        failures: int = 0,
        timing: Timing = Timing(),  # noqa: B008  (frozen)
    ) -> None:
        self._every = every
        self._jitter = min(jitter, every / 2)
        self._start = start
        self._timing = timing
        self.failures = failures

    def after(self, now: float, ended: Ended, *, random: float) -> float:
        """Return when the next run is due after one that ended ``now``.

        ``random`` (0 to 1) places it within the jitter.
        """
        self.failures = 0 if ended == "done" else self.failures + 1
        doubled = 2.0 ** min(self.failures - 1, 60)
        due = self._tick_after(now) + self._jitter * random
        if ended == "failed":
            return min(due, now + self._timing.first_retry * doubled * (1 + random) / 2)
        if ended == "refused":
            rest = min(max(self._timing.longest_rest, self._every), self._every * doubled)
            return max(due, self._tick_after(now + rest - self._every) + self._jitter * random)
        return due

    def _tick_after(self, moment: float) -> float:
        passed = math.floor((moment - self._start) / self._every)
        tick = self._start + (passed + 1) * self._every
        return tick if tick > moment else tick + self._every
