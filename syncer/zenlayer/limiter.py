"""The adaptive rate of calls: it finds the limit of a server that does not say what it is.

Adapting concurrency to a server that limits the *rate* had 40 % of the calls refused, so the rate
itself is adapted, in four steps:

1. **Opening**: no limit is known and nothing is held back, since most runs never meet one.
2. **Guess**: the first refusal is read as an empty token bucket, as most gateways have one, and
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

import msgspec

from syncer.core.model import Learnt


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What the pacer was tuned by, against the servers of ``tests/zenlayer/throttling.py``.

    The goal was set for an unknown limit of 20 calls a second, latencies of 20 to 300 ms and 8 to
    32 calls under way: 97 % of it used, one call in twenty refused at most.
    """

    headroom: float = 0.98
    """Share of a configured rate that is used: clocks that differ by 2 % cause no refusal."""

    floor: float = 0.5
    """Least rate, in calls a second: a server that refuses everything is asked every 2 s."""

    decrease: float = 0.1
    """Share of the limit that a refusal takes off the rate: room for the calls under way."""

    bucket_seconds: float = 1.0
    """Seconds' worth of calls that a server is assumed to have saved up for a new client: a token
    bucket as large as the rate, the usual setting of gateways."""

    bucket_share: float = 0.9
    """Share of that bucket which a run with a learnt limit spends; the rest is a margin."""

    bucket_speed: float = 1.5
    """Multiple of the rate at which it is spent. Not at once: another run may have spent it."""

    guess_calls: int = 5
    """Calls that a first guess starts from, at least: few limits are lower, and the rate climbs
    from there soon."""

    measure_share: float = 0.6
    """Least share of the refused rate to believe a measurement. It leaves out what a small bucket
    spilled while calls were few, and one refusal by mistake must not bring the rate down."""

    measure_weight: float = 8.0
    """Calls at the refused rate that each measurement is diluted with: a few calls prove little."""

    unmeasured_curve: float = 3.0
    """Time constant of the curve, in seconds, for a limit that was guessed or learnt and not
    measured yet: the rate doubles in 4 s and is ten times as high in 8."""

    fastest_curve: float = 2.0
    """Least time constant for a measured limit, in seconds."""

    slowest_curve: float = 5.5
    """Greatest time constant for a measured limit, in seconds. At 20 a second one call in a hundred
    is refused then, and a limit that doubles is reached after 4 to 10 s."""

    slowest_curve_calls: int = 60
    """The same in calls, which is longer where limits are low, so that as few calls are refused."""

    curve_trust: float = 2.0
    """Time constant in seconds for each second that a measurement took: a longer one is more exact,
    and is held to for longer."""

    curve_latencies: int = 20
    """Least time constant in latencies: the rate grows by 8 % at most while a call is under way."""

    lateness: float = 0.01
    """Seconds of a start's delay that the next starts make good. Event loops wake 1 ms late and
    more, which would cost a fifth of a rate of 200 a second."""

    round_wait: float = 0.25
    """Share of a latency that the opening waits for the answers of a round. Without it, twice as
    many calls are refused; with it, calls that never meet a limit lose 2 % in the first rounds."""

    round_wait_most: float = 0.1
    """The same in seconds, at most."""

    round_unanswered: float = 0.25
    """Share of a round's calls that may be unanswered when the next round starts: a single slow
    answer holds up no other call."""

    round_calls: int = 64
    """Accepted calls after which there are no rounds any more: few buckets hold as many."""

    round_recheck: float = 0.003
    """Seconds after which the answers of a round are counted again."""


TUNING: Final = Tuning()
_NEVER: Final = -math.inf


class Pacer:
    """Says when the next call may start, and learns from how calls end.

    ``ceiling`` is a rate never to exceed, paced evenly. Answers may be reported in any order; calls
    that neither passed nor were throttled (the network failed, the server said 5xx) never are.
    """

    def __init__(
        self,
        ceiling: float | None = None,
        learnt: Learnt | None = None,
        tuning: Tuning = TUNING,
    ) -> None:
        self._tuning = tuning
        self._closest = 0.0 if ceiling is None else 1 / ceiling
        self._ceiling = math.inf if ceiling is None else ceiling * tuning.headroom
        self._limit = math.inf if learnt is None else max(tuning.floor, learnt.rate)
        bucket = 0.0 if learnt is None else learnt.rate * tuning.bucket_seconds
        self._spare = bucket * tuning.bucket_share
        self._opening = _Opening(tuning, ended=math.inf if learnt is None else _NEVER)
        self._guessing = False
        self._accepted = 0  # since the last refusal
        self._refused = _NEVER  # when the call of that refusal had started
        self._cut_at = _NEVER
        self._next = _NEVER
        self._paused_until = _NEVER
        self._held_back = False  # whether the last call started later than it could have
        self._latency = 0.0
        self._time_constant = tuning.unmeasured_curve
        self._position = _position(1 - tuning.decrease)

    @property
    def learnt(self) -> Learnt | None:
        """What the next run starts from; None where no limit was met."""
        return Learnt(rate=max(self._limit, self.rate)) if self._limit < math.inf else None

    @property
    def rate(self) -> float:
        """The present rate; infinite while no limit is known."""
        return min(self._ceiling, max(self._tuning.floor, self._limit * (1 + self._position**3)))

    def wait(self, now: float) -> float:
        """Return the seconds to wait; 0 if a call may start, else ask again after them."""
        wait = max(0.0, self._next - now, self._paused_until - now)
        if self.rate == math.inf:
            wait = max(wait, self._opening.wait(now))
        return wait

    def pause(self, until: float) -> None:
        """Hold every call back until then."""
        self._paused_until = max(self._paused_until, until)

    def take(self, now: float) -> None:
        """Note that a call starts."""
        interval, late = 1 / self.rate, self._tuning.lateness
        self._held_back = now < self._next + max(interval, late)
        if self._spare >= 1:
            self._spare -= 1
            interval /= self._tuning.bucket_speed
        self._next = max(max(self._next, now - late) + interval, now + self._closest)
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
                least = self._tuning.curve_latencies * self._latency
                self._position += 1 / (self.rate * max(self._time_constant, least))

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
        self._cut(now, self._limit * (1 - self._tuning.decrease))

    def _measure(self, seconds: float) -> None:
        tuning, rate, weight = self._tuning, self.rate, self._tuning.measure_weight
        measured = (weight + self._accepted) / (weight / rate + seconds)
        self._limit = max(tuning.floor, tuning.measure_share * rate, min(measured, rate))
        slowest = max(tuning.slowest_curve, tuning.slowest_curve_calls / self._limit)
        curve = max(tuning.fastest_curve, tuning.curve_trust * seconds)
        self._time_constant = min(curve, slowest)

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

    def __init__(self, tuning: Tuning, *, ended: float) -> None:
        self._tuning = tuning
        self.accepted = 0
        self.ended = ended
        self._seconds = tuning.bucket_seconds
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
        elif started >= self._round_at and self.accepted < self._tuning.round_calls:
            tuning, latency = self._tuning, now - started
            self._round_at = now
            self._until = now + min(tuning.round_wait_most, tuning.round_wait * latency)
            self._enough = tuning.round_unanswered * self._in_flight

    def wait(self, now: float) -> float:
        return max(0.0, min(self._tuning.round_recheck, self._until - now))

    def end(self, refused: float, now: float) -> None:
        """Note the first refusal, of a call that started at ``refused``."""
        self.ended = now
        self._seconds = self._tuning.bucket_seconds + max(0.0, refused - self._since)

    def guess(self) -> float:
        """Return a first limit; it grows while calls made before the refusal are answered."""
        calls = max(self._tuning.guess_calls, self.accepted)
        return max(self._tuning.floor, calls / self._seconds)


def _position(share: float) -> float:
    """Return where on the curve the rate is ``share`` of the limit: 0 at the limit itself."""
    return math.copysign(abs(share - 1) ** (1 / 3), share - 1)
