"""The calls of one account: when each may start, and whether it is made again.

Three things stand between a call that is wanted and a request that is sent: a *slot* (the number of
calls under way is limited), its *turn* (calls start one by one, in the order in which they were
wanted, so that what the server asks for meanwhile holds for all), and the pacer. A call that failed
gives its slot back, waits, and joins the end of the queue, while the budget of the run allows it.

Clock, sleep and chance are given, so that tests run the very loop against servers of any kind in
virtual time (``tests/zenlayer/throttling.py``).
"""

from __future__ import annotations

import itertools
import math
import random as chance
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, TypeVar

import anyio
import msgspec
import structlog

from syncer.core.backoff import RetryBudget
from syncer.core.errors import (
    ApiError,
    Challenged,
    Refused,
    Retryable,
    SignatureExpired,
    Throttled,
)
from syncer.core.model import Learnt
from syncer.log import Causes
from syncer.zenlayer.credentials import Timing
from syncer.zenlayer.limiter import Pacer

T = TypeVar("T")
_BY_CHANCE: Final = 3
"""Calls that were retried with success, after which failures are taken to come by chance."""
_log = structlog.get_logger()


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """One sending of a call: its number (the first is 1), and when it started.

    ``waited`` is how long it waited for slot, turn and pacer. Both are seconds of ``Calls.now``.
    """

    number: int
    started: float
    waited: float


class Hold:
    """Keeps calls from starting while it is on. Once ended, it never begins again."""

    def __init__(self) -> None:
        self.on = False
        self._ended = anyio.Event()

    def begin(self) -> None:
        """Let no further call start, unless it was ended before."""
        self.on = not self._ended.is_set()

    def end(self) -> None:
        """Let the calls start that it kept back."""
        self.on = False
        self._ended.set()

    async def over(self) -> None:
        """Wait while it is on."""
        if self.on:
            await self._ended.wait()


_NO_HOLD: Final = Hold()


class Failures:
    """Why requests failed, retried or not: how many, by the code of the error."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._messages: dict[str, str] = {}

    def add(self, error: ApiError) -> None:
        """Count a failure; of each code the newest words are kept."""
        self._counts[error.code] += 1
        self._messages[error.code] = error.message

    @property
    def total(self) -> int:
        """How many requests failed."""
        return self._counts.total()

    @property
    def in_words(self) -> str:
        """Why most of them failed, where any did."""
        ((code, most),) = self._counts.most_common(1)
        how = "all" if most == self.total else f"most often ({most:,} times)"
        return f"{how} so: {self._messages[code]}"


class Calls:
    """Makes the calls of one account: one pacer, one cap, one retry budget.

    ``max_rate`` is a ceiling in calls a second, ``run_timeout`` the seconds for which calls are of
    use. ``follow_clock`` is called once with the server's time (seconds since 1970), where a
    signature expired because our clock differs from it.
    """

    def __init__(
        self,
        *,
        max_concurrency: int,
        max_rate: float | None = None,
        run_timeout: float = math.inf,
        timing: Timing = Timing(),  # noqa: B008  (frozen)
        follow_clock: Callable[[float], None] = lambda _: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.now = now
        self._sleep = sleep
        self._random = random
        self._timing = timing
        self._slots = anyio.Semaphore(max_concurrency, fast_acquire=True)
        self._turn = anyio.Lock(fast_acquire=True)
        self._ceiling = max_rate
        self._pacer = Pacer(ceiling=max_rate)
        self._deadline = now() + run_timeout
        self._follow_clock = follow_clock
        self._calm_at: float | None = None
        self._clock_set_at: float | None = None
        self._recovered = 0
        self.budget = RetryBudget()
        self.failures = Failures()
        self._causes = Causes()
        self.made = 0
        """Requests that were sent, retries included."""
        self.retries = 0
        self.in_flight = 0

    @property
    def rate(self) -> float | None:
        """Calls a second that may be made now; None while no limit is known."""
        return self._pacer.rate if math.isfinite(self._pacer.rate) else None

    @property
    def learnt(self) -> Learnt | None:
        """What was found out about the API's rate limit, for the next run."""
        return self._pacer.learnt

    def learn(self, learnt: Learnt | None) -> None:
        """Start from what an earlier run found out, unless this one found out something itself."""
        if learnt is not None and self._pacer.learnt is None:
            self._pacer = Pacer(ceiling=self._ceiling, learnt=learnt)

    @property
    def fail_by_chance(self) -> bool:
        """Whether enough calls were retried with success to show that failures come by chance."""
        return self._recovered >= _BY_CHANCE

    async def make(
        self,
        send: Callable[[Sending], Awaitable[T]],
        *,
        hold: Hold | None = None,
        **about: str | int | None,
    ) -> T:
        """Make a call with ``send`` until it succeeds; ``about`` stands in the log of each retry.

        While ``hold`` is on it does not start: neither at first nor again.

        Raises the ApiError of the last attempt, or of the first that no retry can help.
        """
        self.budget.plan(1)
        numbers = itertools.count(1)
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = await self._attempt(send, numbers, hold or _NO_HOLD)
            except Retryable as error:
                if attempt >= self._timing.retry.attempts or not self.budget.spend():
                    raise
                await self._back_off(attempt, error, about)
            else:
                self._recovered += attempt > 1
                return reply

    async def _attempt(
        self, send: Callable[[Sending], Awaitable[T]], numbers: Iterator[int], hold: Hold
    ) -> T:
        """Send a call; again where the first challenge of a run, or our clock, was in its way."""
        while True:
            await hold.over()  # without a slot, which another call may need
            wanted = self.now()
            async with self._slots:
                started = await self._start(hold)
                if started is None:
                    continue
                sending = Sending(number=next(numbers), started=started, waited=started - wanted)
                try:
                    reply = await self._counted(send, sending)
                except Throttled as error:
                    self._pacer.throttled(started=started, now=self.now(), after=error.after)
                    raise
                except Retryable:
                    raise  # it says nothing about the limit
                except Challenged:
                    if not self._calm_down(started):
                        raise
                    continue
                except SignatureExpired as error:
                    if not self._set_clock(started, error.server_time):
                        raise
                    continue
                except ApiError:
                    self._pacer.passed(started=started, now=self.now())
                    raise
                self._pacer.passed(started=started, now=self.now())
                return reply

    async def _counted(self, send: Callable[[Sending], Awaitable[T]], sending: Sending) -> T:
        self.made += 1
        self.in_flight += 1
        try:
            return await send(sending)
        except ApiError as error:
            self.failures.add(error)
            raise
        finally:
            self.in_flight -= 1

    async def _start(self, hold: Hold) -> float | None:
        """Wait for the moment at which a call may start, and return it; None: it is held."""
        async with self._turn:
            while (wait := self._pacer.wait(now := self.now())) > 0:
                self._require_time_for(wait)
                await self._sleep(wait)
            if hold.on:
                return None
            self._pacer.take(now)
            return now

    def _require_time_for(self, wait: float, *, because: Retryable | None = None) -> None:
        if self.now() + wait > self._deadline:
            said = f" ({because.message})" if because is not None else ""
            raise Refused(
                f"the API asked for a pause of {wait:.0f} s, more than the run may take{said}",
                code="PAUSE_TOO_LONG",
            )

    async def _back_off(
        self, attempt: int, error: Retryable, about: Mapping[str, str | int | None]
    ) -> None:
        """Wait before the next attempt."""
        wait = self._timing.retry.delay(attempt, random=self._random(), after=error.after)
        if error.after is not None:
            self._require_time_for(wait, because=error)
        self.retries += 1
        (_log.info if self._causes.is_new(error.code) else _log.debug)(
            "call.retried",
            **about,
            attempt=attempt,
            wait=round(wait, 2),
            error_code=error.code,
            error_message=error.message,
            request_id=error.request_id,
        )
        await self._sleep(wait)

    def _calm_down(self, started: float) -> bool:
        """Pause all calls at the first challenge; return whether this one may be sent again."""
        if self._calm_at is None:
            self._calm_at = self.now() + self._timing.challenge
            self._pacer.pause(self._calm_at)
            _log.warning("api.challenged", pause=self._timing.challenge)
        return started < self._calm_at

    def _set_clock(self, started: float, server_time: float | None) -> bool:
        """Sign by the server's clock from now on; return whether this call may be sent again."""
        if self._clock_set_at is None and server_time is not None:
            self._clock_set_at = self.now()
            self._follow_clock(server_time)
        return self._clock_set_at is not None and started < self._clock_set_at
