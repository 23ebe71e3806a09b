"""Who may ask, and how often."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from syncer.simulator.limits import Bucket
from syncer.simulator.replies import ApiError
from syncer.simulator.signature import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class Gate:
    """Checks method, credentials and the rate of each credential.

    ``rate`` and ``burst`` are those of a token bucket, ``retry_after`` adds that header to its
    refusals; ``clock`` is the wall clock and ``ticks`` the monotonic one, both in seconds.
    """

    def __init__(
        self,
        *,
        access_keys: Mapping[str, str],
        tokens: Collection[str],
        rate: float | None,
        burst: float | None,
        retry_after: bool,
        clock: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self.access_keys = dict(access_keys)
        self.tokens = set(tokens)
        self._clock = clock
        self._ticks = ticks
        self._buckets: dict[str, Bucket] = {}
        self.limit(rate, burst, retry_after=retry_after)

    def limit(self, rate: float | None, burst: float | None, *, retry_after: bool) -> None:
        """Set the limit of every credential; raises ``ValueError`` for one that is none."""
        most = max(1.0, rate or 1.0) if burst is None else burst
        if rate is not None:
            Bucket(rate, most, self._ticks)  # what is wrong with the limit shows here
            for bucket in self._buckets.values():
                bucket.change(rate, most)
        self.rate, self.burst, self.retry_after = rate, most, retry_after

    def enter(self, method: str, headers: Mapping[str, str], body: bytes) -> str:
        """Return who asks, or raise ``ApiError``."""
        if method != "POST":
            raise ApiError(
                405,
                "INVALID_PARAMETER_VALUE",  # nothing is documented for this
                f"{method} is not supported, only POST is",
                {"Allow": "POST"},
            )
        who = verify(
            method=method,
            headers=headers,
            body=body,
            access_keys=self.access_keys,
            tokens=self.tokens,
            now=self._clock(),
        )
        if self.rate is not None:
            self._take(who, self.rate)
        return who

    def _take(self, who: str, rate: float) -> None:
        if who not in self._buckets:
            self._buckets[who] = Bucket(rate, self.burst, self._ticks)
        if wait := self._buckets[who].take():
            raise ApiError(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                "The request rate limit is exceeded",
                {"Retry-After": str(math.ceil(wait))} if self.retry_after else {},
            )
