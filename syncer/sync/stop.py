"""Ending a run early: calls under way are given up, what was read is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from syncer.core.model import Fault

STOPPED: Final = "STOPPED"
"""The code of a stop that was asked for, by a signal."""
RUN_TIMEOUT: Final = "RUN_TIMEOUT"
"""The code of a stop because the run's time was over."""
NOT_READ: Final = frozenset({STOPPED, RUN_TIMEOUT})
"""Codes of a zone that a run was ended before: nothing is known to be wrong with the zone."""


class Stop:
    """Ends one run early, for the first ``reason`` that is given.

    ``cut`` is whether anything was left undone because of it. ``listeners`` are called with each
    reason.
    """

    def __init__(self) -> None:
        self.reason: Fault | None = None
        self.cut = False
        self.listeners: list[Callable[[Fault], None]] = []
        self._scopes: set[anyio.CancelScope] = set()

    def now(self, reason: Fault) -> None:
        """Make no more calls from now on."""
        self.reason = self.reason or reason
        for scope in self._scopes:
            scope.cancel()
        for listener in self.listeners:
            listener(reason)

    async def interruptible(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do the work unless and until the run is stopped; return whether it was done."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self.reason is None:
                    await work()
                    return True
            finally:
                self._scopes.discard(scope)
        self.cut = True
        return False
