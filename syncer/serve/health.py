"""Whether the daemon makes progress, and whether what is stored is fresh."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from syncer.store.clock import elapsed_microseconds

_FRESH_INTERVALS: Final = 3
"""Intervals after which a success is no longer fresh: one run may fail, and one may be slow."""


def _with_sleep() -> float:
    return elapsed_microseconds() / 1e6


class Health:
    """The health of a daemon that runs ``every`` so often; a run of ``limit`` seconds is stuck.

    Both clocks are in seconds, and nobody can set them, so that no clock that is set right makes
    old data look fresh. ``now`` stands still while the machine sleeps, as runs do; by ``aging``
    data grow old meanwhile.
    """

    def __init__(
        self,
        *,
        every: float,
        limit: float,
        now: Callable[[], float] = time.monotonic,
        aging: Callable[[], float] = _with_sleep,
    ) -> None:
        self._fresh = _FRESH_INTERVALS * every
        self._limit = limit
        self._now = now
        self._aging = aging
        self._stuck_at: float | None = None
        self._last_success: float | None = None
        self.last_result = "no run has ended yet"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Do a run within."""
        self._stuck_at = self._now() + self._limit
        try:
            yield
        finally:
            self._stuck_at = None

    def ended(self, result: str, *, succeeded: bool) -> None:
        """Note how a run ended, in a line."""
        self.last_result = result
        if succeeded:
            self._last_success = self._aging()

    @property
    def has_succeeded(self) -> bool:
        """Whether any run has succeeded."""
        return self._last_success is not None

    @property
    def alive(self) -> bool:
        """Whether the daemon makes progress: no run is under way that should have ended."""
        return self._stuck_at is None or self._now() < self._stuck_at

    def not_ready(self) -> str | None:
        """Return why what is stored cannot be relied on to be fresh, or None."""
        if self._last_success is None:
            return f"no run has succeeded yet; {self.last_result}"
        age = self._aging() - self._last_success
        if age > self._fresh:
            return f"the last success was {age:.0f} s ago; {self.last_result}"
        return None


class Condition(Protocol):
    """How a program is that serves for long, as HTTP and systemd's watchdog are shown it."""

    @property
    def alive(self) -> bool:
        """Whether it makes progress."""
        ...

    @property
    def last_result(self) -> str:
        """How the last runs ended."""
        ...

    @property
    def accounts(self) -> Mapping[str, Health]:
        """The health of each account, where it is known here."""
        ...

    def not_ready(self) -> str | None:
        """Return why what it does cannot be relied on, or None."""
        ...


class Healths:
    """The health of a daemon that crawls several accounts: as good as the worst of them."""

    def __init__(self, accounts: Mapping[str, Health]) -> None:
        self._accounts = accounts

    @property
    def accounts(self) -> Mapping[str, Health]:
        """The health of each."""
        return self._accounts

    @property
    def alive(self) -> bool:
        """Whether no account has a run under way that should have ended."""
        return all(health.alive for health in self.accounts.values())

    @property
    def last_result(self) -> str:
        """How the last run of each account ended."""
        if len(self.accounts) == 1:
            return next(iter(self.accounts.values())).last_result
        return "; ".join(f"{name}: {each.last_result}" for name, each in self.accounts.items())

    def not_ready(self) -> str | None:
        """Return why what is stored of some account cannot be relied on to be fresh, or None."""
        for name, health in self.accounts.items():
            if (why := health.not_ready()) is not None:
                return why if len(self.accounts) == 1 else f"account {name}: {why}"
        return None
