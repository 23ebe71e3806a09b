"""How long to wait before something is tried again, and when to give up."""

from __future__ import annotations

from typing import Final

import msgspec

MIN_BUDGET: Final = 50
"""The retries that a run may make however few calls it plans."""


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How often something is tried, and how long is waited between (seconds)."""

    attempts: int = 7
    """Tries in all: with the waits below, the last begins 6 to 13 s after the first failed."""
    first: float = 0.25
    """The longest wait after the first failure; it doubles with each further one."""
    last: float = 5.0
    """The longest wait there is."""

    def delay(self, attempt: int, *, random: float, after: float | None = None) -> float:
        """Return the seconds to wait after failed attempt number ``attempt`` (1 is the first).

        Exponential with equal jitter: half is fixed, half is ``random`` (0 to 1). ``after`` is
        the server's Retry-After and the least that is waited.
        """
        ceiling = min(self.last, self.first * 2.0 ** min(attempt - 1, 60))
        return max(ceiling / 2 * (1 + random), after or 0.0)


class RetryBudget:
    """Bounds the retries of a whole run, so that a failing API meets no storm of them."""

    def __init__(self) -> None:
        self.planned = 0
        self.spent = 0

    def plan(self, calls: int) -> None:
        """Add calls that the run intends to make; they widen the budget."""
        self.planned += calls

    @property
    def left(self) -> int:
        """How many retries are left."""
        return max(MIN_BUDGET, self.planned) - self.spent

    def spend(self) -> bool:
        """Take one retry from the budget; return False when there is none left."""
        if self.left <= 0:
            return False
        self.spent += 1
        return True
