"""The rate limit of the simulated API."""

from __future__ import annotations

from collections.abc import Callable

_ROUNDING = 1e-9  # of adding up fractions of a token


class TokenBucket:
    """A token bucket: it starts full with ``burst`` tokens and gains ``rate`` tokens a second.

    A call takes one whole token or is refused; a refused call takes nothing.
    """

    __slots__ = ("_burst", "_clock", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        _check(rate, burst)
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._since = clock()

    def change(self, rate: float, burst: float) -> None:
        """Set another limit; the tokens in the bucket stay, up to the new burst."""
        _check(rate, burst)
        self._gain()
        self._rate, self._burst, self._tokens = rate, burst, min(self._tokens, burst)

    def take(self) -> float:
        """Take a token: 0.0, or the seconds until there will be one."""
        self._gain()
        if self._tokens >= 1 - _ROUNDING:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate

    def _gain(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now


def _check(rate: float, burst: float) -> None:
    if rate <= 0 or burst < 1:
        raise ValueError(f"rate must be above 0 and burst at least 1, not {rate} and {burst}")
