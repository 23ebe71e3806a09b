"""Runs of the client against rate-limited servers, in virtual time: no clock, no socket.

The client is modelled as it is in syncer/zenlayer/client.py: slots, a turn in FIFO order, one
pacer, and a backoff outside of the slots. A quarter of a latency is the way there.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from syncer.core.backoff import Backoff
from syncer.zenlayer.limiter import Pacer

_ROUNDING = 1e-9  # of adding up fractions of a token


class Limit(Protocol):
    """A server's rule: ``refuse`` is asked once for each call, in the order of arrival."""

    def refuse(self, now: float) -> bool: ...


class Unlimited:
    def refuse(self, now: float) -> bool:  # noqa: ARG002
        return False


class Always:
    """Refuses from the first moment (or from ``since`` on) until ``until``."""

    def __init__(self, since: float = 0.0, until: float = float("inf")) -> None:
        self.since, self.until = since, until

    def refuse(self, now: float) -> bool:
        return self.since <= now < self.until


class Bucket:
    """A token bucket that starts full; its rate may change: ``(from when, rate)``, ascending."""

    def __init__(self, *steps: tuple[float, float], burst: float) -> None:
        self.steps, self.burst = steps, burst
        self.tokens, self.since = burst, 0.0

    def gained(self, since: float, until: float) -> float:
        """Return the tokens that are earned between two moments."""
        ends = [start for start, _ in self.steps[1:]] + [float("inf")]
        return sum(
            rate * max(0.0, min(until, end) - max(since, start))
            for (start, rate), end in zip(self.steps, ends, strict=True)
        )

    def refuse(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + self.gained(self.since, now))
        self.since = now
        if self.tokens < 1 - _ROUNDING:
            return True
        self.tokens -= 1
        return False


class FixedWindow:
    """So many calls in each window of the server's clock, which differs from ours by ``offset``."""

    def __init__(self, calls: int, seconds: float, offset: float = 0.0) -> None:
        self.calls, self.seconds, self.offset = calls, seconds, offset
        self.window, self.taken = -1, 0

    def refuse(self, now: float) -> bool:
        window = int((now + self.offset) // self.seconds)
        if window != self.window:
            self.window, self.taken = window, 0
        if self.taken >= self.calls:
            return True
        self.taken += 1
        return False


class SlidingWindow:
    """So many calls in any ``seconds``."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls, self.seconds = calls, seconds
        self.accepted: deque[float] = deque()

    def refuse(self, now: float) -> bool:
        while self.accepted and self.accepted[0] <= now - self.seconds:
            self.accepted.popleft()
        if len(self.accepted) >= self.calls:
            return True
        self.accepted.append(now)
        return False


class Shared:
    """A limit of which another client takes its share: ``rate`` calls a second, evenly."""

    def __init__(self, limit: Limit, rate: float) -> None:
        self.limit, self.interval = limit, 1 / rate
        self.next = 0.0

    def refuse(self, now: float) -> bool:
        while self.next <= now:
            self.limit.refuse(self.next)
            self.next += self.interval
        return self.limit.refuse(now)


class Spurious:
    """Refuses a share of the calls by chance, and otherwise as ``limit`` does."""

    def __init__(self, limit: Limit, share: float, random: Random) -> None:
        self.limit, self.share, self.random = limit, share, random

    def refuse(self, now: float) -> bool:
        return self.random.random() < self.share or self.limit.refuse(now)


@dataclass(kw_only=True)
class Run:
    """What happened: the starts of all calls, of those accepted and of those refused."""

    seconds: float = 0.0
    starts: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


def simulate(
    pacer: Pacer, limit: Limit, *, calls: int, give_up: float = math.inf, **world: float | None
) -> Run:
    """Make ``calls`` calls and return what happened; see ``_World`` for how the world may be."""
    simulated = _World(pacer, limit, todo=calls, **world)  # type: ignore[arg-type]
    simulated.begin()
    return simulated.run_until(calls, give_up)


@dataclass(kw_only=True)
class _World:
    """The client, the network and the clock.

    ``jitter`` is the share by which latencies differ; ``late`` the most that a timer oversleeps,
    ``cost`` the client's own time for a call, ``after`` the Retry-After (all in seconds); the first
    ``alone`` calls are made one by one.
    """

    pacer: Pacer = field(kw_only=False)
    limit: Limit = field(kw_only=False)
    todo: int
    seed: int = 0
    concurrency: int = 16
    latency: float = 0.1
    jitter: float = 0.0
    after: float | None = None
    late: float = 0.0
    cost: float = 0.0
    alone: int = 1

    def __post_init__(self) -> None:
        self.run = Run()
        self.random = Random(self.seed)  # noqa: S311  (no secret)
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order = count()
        self.queue: deque[int] = deque()  # of calls, as their attempts so far
        self.free = self.concurrency
        self.asleep = False  # whether someone holds the turn and waits for the pacer

    def run_until(self, calls: int, give_up: float) -> Run:
        while self.events and len(self.run.accepted) < calls:
            now, _, action = heapq.heappop(self.events)
            if now > give_up:
                break
            action(now)
        return self.run

    def begin(self) -> None:
        self._ask(1 if self.alone else self.todo)
        self._at(0.0, self._turn)

    def _at(self, moment: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (moment, next(self.order), action))

    def _ask(self, calls: int) -> None:
        self.queue.extend([0] * calls)
        self.todo -= calls

    def _turn(self, now: float) -> None:
        while self.queue and self.free and not self.asleep:
            wait = self.pacer.wait(now)
            busy = self.run.starts[-1] + self.cost - now if self.run.starts else 0.0
            if wait > 0:
                self._sleep(now + wait + self.late * self.random.random())
            elif busy > _ROUNDING:
                self._sleep(now + busy)
            else:
                self.pacer.take(now)
                self.free -= 1
                self._start(now, self.queue.popleft() + 1)

    def _sleep(self, until: float) -> None:
        def wake(now: float) -> None:
            self.asleep = False
            self._turn(now)

        self.asleep = True
        self._at(until, wake)

    def _start(self, started: float, attempt: int) -> None:
        def arrive(now: float) -> None:
            answer = self._refused if self.limit.refuse(now) else self._accepted
            self._at(now + self._way(3 / 4), lambda now: answer(started, now, attempt))

        self.run.starts.append(started)
        self._at(started + self._way(1 / 4), arrive)

    def _way(self, share: float) -> float:
        return self.latency * share * (1 + self.jitter * self.random.uniform(-1, 1))

    def _accepted(self, started: float, now: float, _: int) -> None:
        self.pacer.passed(started=started, now=now)
        self.run.accepted.append(started)
        self.run.seconds = now
        if self.todo:
            self._ask(1 if len(self.run.accepted) < self.alone else self.todo)
        self.free += 1
        self._turn(now)

    def _refused(self, started: float, now: float, attempt: int) -> None:
        def again(now: float) -> None:
            self.queue.append(attempt)
            self._turn(now)

        self.pacer.throttled(started=started, now=now, after=self.after)
        self.run.refused.append(started)
        wait = Backoff().delay(min(attempt, 7), random=self.random.random(), after=self.after)
        self._at(now + wait, again)
        self.free += 1
        self._turn(now)
