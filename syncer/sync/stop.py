"""Ending a run early: calls under way are given up, what was read is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from syncer.core.model import Fault


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
