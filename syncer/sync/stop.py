"""Ending a run early: what is under way is given up, what was read is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from syncer.core.model import Fault

STOPPED: Final = "STOPPED"
"""The code of a stop that was asked for, by a signal."""


class Stop:
    """Ends a crawl early: calls under way are given up, what was read is kept."""

    def __init__(self) -> None:
        self.reason: Fault | None = None
        self.cut = False
        """Something was left undone because of it."""
        self.listeners: list[Callable[[Fault], None]] = []
        self._scopes: set[anyio.CancelScope] = set()

    def now(self, reason: Fault) -> None:
        """Stop asking from now on."""
        self.reason = self.reason or reason
        for scope in self._scopes:
            scope.cancel()
        for listener in self.listeners:
            listener(reason)

    async def guard(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do the work unless and until the crawl is stopped; return whether it was done."""
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
