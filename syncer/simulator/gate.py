"""Who may call, and how often."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from syncer.simulator.limits import TokenBucket
from syncer.simulator.replies import ErrorReply
from syncer.simulator.signature import verify


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
        self._buckets: dict[str, TokenBucket] = {}
        self.limit(rate, burst, retry_after=retry_after)

    def limit(self, rate: float | None, burst: float | None, *, retry_after: bool) -> None:
        """Set the limit of every credential; ``ValueError`` where one of the two is too low."""
        most = max(1.0, rate or 1.0) if burst is None else burst
        if rate is not None:
            TokenBucket(rate, most, self._ticks)  # raises for a limit that is none
            for bucket in self._buckets.values():
                bucket.change(rate, most)
        self.rate, self.burst, self.retry_after = rate, most, retry_after

    def admit(self, method: str, headers: Mapping[str, str], body: bytes) -> str:
        """Return who calls, or raise ``ErrorReply``."""
        if method != "POST":
            raise ErrorReply(
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
            self._buckets[who] = TokenBucket(rate, self.burst, self._ticks)
        if wait := self._buckets[who].take():
            raise ErrorReply(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                "The request rate limit is exceeded",
                {"Retry-After": str(math.ceil(wait))} if self.retry_after else {},
            )
