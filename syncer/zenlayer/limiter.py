"""The adaptive rate of calls: it finds the limit of a server that tells no limit.

Adapting concurrency to a server that limits the *rate* had 40 % of the calls refused, so the rate
itself is adapted, in four steps (DESIGN §6):

1. **Opening**: no limit is known and nothing is held back, since most runs never meet one.
2. **Guess**: the first refusal is taken for an empty token bucket, as most gateways have one, and
   the calls accepted until then for what it held (a second's worth) and what came in meanwhile.
3. **Measure**: at each later refusal, the limit is what was accepted since the one before, over the
   time between. The server had nothing left both times, so what it accepted *is* its rate.
4. **Probe**: between refusals the rate follows the curve of CUBIC (RFC 9438): from nine tenths of
   the limit soon to just below it, slowly past it, then ever faster, for the limit may have risen.

Times are seconds of a monotonic clock that the caller reads; rates are calls a second.
"""

from __future__ import annotations

import math
from typing import Final

from syncer.core.model import Learnt

HEADROOM: Final = 0.98
"""The share of a configured rate that is used, so that clocks that differ reject nothing."""
FLOOR: Final = 0.5
"""The least rate: a server that refuses everything is asked every other second."""
DECREASE: Final = 0.1
"""What a refusal takes off the limit, so that the calls under way find room."""
SAVED: Final = 1.0
"""The seconds' worth of calls that a server is assumed to have saved up for a new client."""
SPENT: Final = 0.9
"""The share of that which a run with a learnt limit spends,"""
SPENDING: Final = 1.5
"""and the multiple of the rate at which it does: not at once, as another run may have spent it."""
LEAST_GUESS: Final = 5
"""The calls that a guess starts from, at least: few limits are lower, and it climbs from there."""
LEAST_SHARE: Final = 0.6
"""The least share of the refused rate to believe a measurement: what a small bucket spilled while
calls were few is not in it. It also bounds what one refusal by mistake can do."""
WEIGHT: Final = 8.0
"""The calls at the refused rate that a measurement is diluted with: a few calls tell little."""
DOUBTED: Final = 3.0
"""The time constant of the curve, in seconds, for a limit that was guessed or learnt and not
measured yet: it doubles in 4 s and is ten times as high in 8."""
QUICK: Final = 2.0
"""The least of a measured one,"""
SLOW: Final = 5.5
"""and the greatest: at 20 a second one call in a hundred is refused, and a limit that doubles is
reached after 4 to 10 s."""
SLOW_CALLS: Final = 60
"""The same in calls, which takes longer where limits are lower: as few of them are refused."""
TRUST: Final = 2.0
"""The time constant for each second that a measurement took: a longer one is more exact."""
LATENCIES: Final = 20
"""The least time constant in latencies: while a call is under way the rate grows by 8 % at most."""
LATE: Final = 0.01
"""How much of a start's delay is made good, in seconds: event loops wake 1 ms late and more."""
GATHER: Final = 0.25
"""The share of a latency that the opening waits for answers; twice as many calls would be refused
without, and calls that never meet a limit lose 2 % in their first rounds."""
GATHER_MOST: Final = 0.1
"""The same in seconds, at most."""
ENOUGH: Final = 0.25
"""The share of a round's calls that may be unanswered when the next round starts,"""
ROUNDS: Final = 64
"""the calls after which there are no rounds any more,"""
GLANCE: Final = 0.003
"""and the seconds after which the answers are counted again."""
_NEVER: Final = -math.inf


class Pacer:
    """Says when the next call may start, and learns from how calls end.

    ``ceiling`` is a rate never to exceed, paced evenly. Answers may be reported in any order; calls
    that neither passed nor were throttled (the network failed, the server said 5xx) never are.
    """

    def __init__(self, ceiling: float | None = None, learnt: Learnt | None = None) -> None:
        self._closest = 0.0 if ceiling is None else 1 / ceiling
        self._ceiling = math.inf if ceiling is None else ceiling * HEADROOM
        self._limit = math.inf if learnt is None else max(FLOOR, learnt.rate)
        self._spare = 0.0 if learnt is None else learnt.rate * SAVED * SPENT
        self._opening = _Opening(ended=math.inf if learnt is None else _NEVER)
        self._guessing = False
        self._accepted = 0  # since the last refusal
        self._refused = _NEVER  # when the call of that refusal had started
        self._cut_at = _NEVER
        self._next = _NEVER
        self._paused_until = _NEVER
        self._held_back = False  # whether the last call started later than it could have
        self._latency = 0.0
        self._time_constant = DOUBTED
        self._position = _position(1 - DECREASE)

    @property
    def learnt(self) -> Learnt | None:
        """Return what the next run starts from; None where no limit was met."""
        return Learnt(rate=max(self._limit, self.rate)) if self._limit < math.inf else None

    @property
    def rate(self) -> float:
        """Return the present rate; infinite while nothing is known."""
        return min(self._ceiling, max(FLOOR, self._limit * (1 + self._position**3)))

    def wait(self, now: float) -> float:
        """Return the seconds to wait; 0 if a call may start, else ask again after them."""
        wait = max(0.0, self._next - now, self._paused_until - now)
        if self.rate == math.inf:
            wait = max(wait, self._opening.wait(now))
        return wait

    def pause(self, until: float) -> None:
        """Let no call start before ``until``."""
        self._paused_until = max(self._paused_until, until)

    def take(self, now: float) -> None:
        """Note that a call starts."""
        interval = 1 / self.rate
        self._held_back = now < self._next + max(interval, LATE)
        if self._spare >= 1:
            self._spare -= 1
            interval /= SPENDING
        self._next = max(max(self._next, now - LATE) + interval, now + self._closest)
        self._opening.take(now)

    def passed(self, *, started: float, now: float) -> None:
        """Note that the server accepted a call."""
        self._latency = now - started
        self._opening.answered(started, now)
        if started <= self._opening.ended:
            self._opening.accepted += 1
            if self._guessing:
                self._limit = self._opening.guess()
        elif started > self._refused:
            self._accepted += 1
            # The curve moves on with answers, and only where it is the rate that holds calls back:
            # one that was not tried is not known to be accepted.
            if started > self._cut_at and self._held_back:
                time_constant = max(self._time_constant, LATENCIES * self._latency)
                self._position += 1 / (self.rate * time_constant)

    def throttled(self, *, started: float, now: float, after: float | None = None) -> None:
        """Note that the server refused a call, and its Retry-After in seconds."""
        self._opening.answered(started, now)
        self.pause(now + (after or 0.0))
        if started <= self._cut_at:
            return  # the rate it started at is no longer in force: no news
        if self._limit < math.inf and self._refused > _NEVER and self._accepted == 0:
            # Nothing passes at all: the server is shut rather than slow, and may open any moment.
            self._cut(now, self.rate / 2)
            return
        if self._limit == math.inf:
            self._guessing = True
            self._opening.end(started, now)
            self._limit = self._opening.guess()
        elif self._refused > _NEVER:
            self._guessing = False
            self._measure(started - self._refused)
        else:  # nothing to measure from yet, but what was learnt may have been far too low
            self._limit = max(self._limit, self.rate / 2)
        self._refused, self._accepted = started, 0
        self._cut(now, self._limit * (1 - DECREASE))

    def _measure(self, seconds: float) -> None:
        rate = self.rate
        measured = (WEIGHT + self._accepted) / (WEIGHT / rate + seconds)
        self._limit = max(FLOOR, LEAST_SHARE * rate, min(measured, rate))
        slowest = max(SLOW, SLOW_CALLS / self._limit)
        self._time_constant = min(max(QUICK, TRUST * seconds), slowest)

    def _cut(self, now: float, rate: float) -> None:
        self._cut_at = now
        self._position = _position(rate / self._limit)
        self._next = max(self._next, now + 1 / self.rate)
        self._spare = 0.0


class _Opening:
    """The calls before any refusal: made in rounds, to see what became of one before the next.

    Calls made together are answered together. Without rounds, the first answers would each let a
    new call out while the refusals of the same moment are still to be read.
    """

    def __init__(self, *, ended: float) -> None:
        self.accepted = 0
        self.ended = ended
        self._seconds = SAVED
        self._since = 0.0
        self._alone = True
        self._in_flight = 0
        self._enough = 0.0
        self._round_at = _NEVER
        self._until = _NEVER

    def take(self, now: float) -> None:
        if self._in_flight > 0:
            self._alone = False
        elif self._alone:  # calls made one by one leave a bucket as full as it was
            self._since, self.accepted = now, 0
        self._in_flight += 1

    def answered(self, started: float, now: float) -> None:
        self._in_flight -= 1
        if self._in_flight <= self._enough:
            self._until = _NEVER
        elif started >= self._round_at and self.accepted < ROUNDS:
            self._round_at = now
            self._until = now + min(GATHER_MOST, GATHER * (now - started))
            self._enough = ENOUGH * self._in_flight

    def wait(self, now: float) -> float:
        return max(0.0, min(GLANCE, self._until - now))

    def end(self, refused: float, now: float) -> None:
        """Note the first refusal, of a call that started at ``refused``."""
        self.ended = now
        self._seconds = SAVED + max(0.0, refused - self._since)

    def guess(self) -> float:
        """Return a first limit; it grows while calls made before the refusal are answered."""
        return max(FLOOR, max(LEAST_GUESS, self.accepted) / self._seconds)


def _position(share: float) -> float:
    """Return where on the curve the rate is ``share`` of the limit: 0 at the limit itself."""
    return math.copysign(abs(share - 1) ** (1 / 3), share - 1)
