"""How long to wait before a call is made again, and when to give up (DESIGN §6)."""

from __future__ import annotations

from typing import Final

import msgspec

MIN_BUDGET: Final = 50


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How often a call is made, and how long is waited between (seconds).

    ``challenge`` is how long everything pauses when the protection layer asks for a browser.
    """

    attempts: int = 7
    first: float = 0.25
    last: float = 5.0
    challenge: float = 10.0

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
        """Return how many retries there still may be."""
        return max(MIN_BUDGET, self.planned) - self.spent

    def spend(self) -> bool:
        """Take one retry from the budget; return False when there is none left."""
        if self.left <= 0:
            return False
        self.spent += 1
        return True
