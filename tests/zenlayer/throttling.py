"""Runs of the client against rate-limited servers, in virtual time: no clock, no socket.

The calls are made by the client's own ``Calls``, on an event loop whose clock jumps to whatever
comes next. Only network, server and the slowness of a machine are made up here.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from syncer.core.backoff import Backoff
from syncer.core.errors import Throttled
from syncer.core.model import Learnt
from syncer.zenlayer.calls import Calls, Sending
from syncer.zenlayer.credentials import Timing

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
    """A number of calls in each window of a clock that differs from ours by ``offset``."""

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
    """A number of calls in any ``seconds``."""

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
    """A limit that another client shares: ``rate`` calls a second, evenly."""

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
    learnt: Learnt | None = None
    starts: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class World:
    """The network, the server and the machine.

    ``latency`` is seconds from a call to its answer, ``jitter`` the share by which it differs;
    ``late`` the most that a timer oversleeps, ``cost`` the machine's own time for a call, ``after``
    the Retry-After (all in seconds). A quarter of a latency is the way to the server.
    """

    limit: Limit
    seed: int = 0
    latency: float = 0.1
    jitter: float = 0.0
    after: float | None = None
    late: float = 0.0
    cost: float = 0.0

    def __post_init__(self) -> None:
        self.run = Run()
        self.random = Random(self.seed)  # noqa: S311  (no secret)
        self.clock = VirtualLoop()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds + self.late * self.random.random())

    async def send(self, sending: Sending) -> None:
        self.run.starts.append(sending.started)
        self.clock.work(self.cost)
        await asyncio.sleep(self._way(1 / 4))
        refused = self.limit.refuse(self.clock.time())
        await asyncio.sleep(self._way(3 / 4))
        if refused:
            self.run.refused.append(sending.started)
            raise Throttled("slower", code="REQUEST_LIMIT_EXCEEDED", after=self.after)
        self.run.accepted.append(sending.started)
        self.run.seconds = self.clock.time()

    def _way(self, share: float) -> float:
        return self.latency * share * (1 + self.jitter * self.random.uniform(-1, 1))


def simulate(
    limit: Limit,
    *,
    calls: int,
    concurrency: int = 16,
    ceiling: float | None = None,
    learnt: Learnt | None = None,
    alone: int = 1,
    give_up: float = math.inf,
    **world: Any,
) -> Run:
    """Make calls, the first ``alone`` one by one, and return what happened by ``give_up``."""
    simulated = World(limit=limit, **world)
    run, clock = simulated.run, simulated.clock

    async def work() -> None:
        made = Calls(
            max_concurrency=concurrency,
            max_rate=ceiling,
            timing=Timing(retry=PATIENT),
            now=clock.time,
            sleep=simulated.sleep,
            random=simulated.random.random,
        )
        made.budget.plan(10**9)
        made.learn(learnt)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(give_up), asyncio.TaskGroup() as tasks:
                for _ in range(alone):
                    await made.make(simulated.send)
                for _ in range(calls - alone):
                    tasks.create_task(made.make(simulated.send))
        run.learnt = made.learnt

    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(work())
    return run


PATIENT = Backoff(attempts=10**9)
"""Calls are made again for as long as a run is watched."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where nothing is to be done, its clock jumps."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_NoWait(self))

    def time(self) -> float:
        return self._now

    def work(self, seconds: float) -> None:
        """Be busy for a while."""
        self._now += seconds


class _NoWait(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop.work(timeout or 0.0)
        return []
