"""The pacer against servers that limit calls in many ways; in virtual time, so each is a fact.

``SYNCER_TEST_SEEDS=6 pytest tests/zenlayer/test_limiter.py`` has that number of runs for each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from itertools import pairwise
from random import Random
from statistics import mean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.model import Learnt
from syncer.zenlayer.credentials import MAX_CONCURRENCY
from syncer.zenlayer.limiter import TUNING, Pacer
from tests.zenlayer.throttling import (
    Always,
    Bucket,
    FixedWindow,
    Limit,
    Run,
    Shared,
    SlidingWindow,
    Spurious,
    Unlimited,
    simulate,
)

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
SEEDS = int(os.environ.get("SYNCER_TEST_SEEDS") or 4)
CALLS = 301
LATE = 0.0012  # what event loops oversleep
COST = 0.0003  # what the client works for each call


def runs(
    limit: Callable[[int], Limit],
    *,
    seeds: int = SEEDS,
    learnt: float | None = None,
    **world: Any,
) -> list[Run]:
    """Runs of a client that knows ``learnt`` against a limit that is made anew for each seed."""
    known = None if learnt is None else Learnt(rate=learnt)
    world = {"calls": CALLS, "jitter": 0.2, "late": LATE, **world}
    return [simulate(limit(seed), learnt=known, seed=seed, **world) for seed in range(seeds)]


def random(seed: int) -> Random:
    return Random(seed)  # noqa: S311  (no secret)


def twenty(_: int) -> Limit:
    return Bucket((0, 20), burst=20)


def used(run: Run, *, rate: float, burst: float, latency: float = 0.1) -> float:
    """The share of the fastest run there can be."""
    return (max(0.0, len(run.accepted) - burst) / rate + latency) / run.seconds


def refused(run: Run) -> float:
    return len(run.refused) / len(run.accepted)


def in_seconds(moments: list[float], first: float, last: float) -> int:
    return sum(first <= moment < last for moment in moments)


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("latency", [0.02, 0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("concurrency", [8, 16])
def test_an_unknown_limit_is_found(concurrency: int, latency: float, jitter: float) -> None:
    """20 a second, which is named nowhere: 97 % of it is used, and one call in twenty refused."""
    seen = runs(twenty, concurrency=concurrency, latency=latency, jitter=jitter, cost=COST)
    speeds = [used(run, rate=20, burst=20, latency=latency) for run in seen]
    # The longer an answer may take, the later a refusal is known and a call is made again.
    assert (0.97 if latency * (1 + jitter) < 0.32 else 0.95) <= mean(speeds)
    assert 0.90 <= min(speeds)
    # 16 calls at once that are answered before a token is gained: 13 of the refusals are the first
    assert (0.05 if latency > 0.02 else 0.055) >= mean(map(refused, seen))
    assert 0.065 >= max(map(refused, seen))


@pytest.mark.parametrize(("concurrency", "most"), [(16, 0.045), (MAX_CONCURRENCY, 0.05)])
def test_the_goal_g11_is_met(concurrency: int, most: float) -> None:
    """At 100 ms: 97 % of the ideal at the least, 5 % refused at the most."""
    how = {"jitter": 0, "concurrency": concurrency}
    seen = [run for cost in (0.0, COST) for run in runs(twenty, cost=cost, **how)]
    assert 0.97 <= min(used(run, rate=20, burst=20) for run in seen)
    assert most >= max(map(refused, seen))


@pytest.mark.parametrize("latency", [0.05, 0.1, 0.2, 0.3])
def test_many_calls_at_once_are_refused_once(latency: float) -> None:
    """Of 32 at once a bucket of 20 must refuse 12, which is 4 %; little is added to that."""
    seen = runs(twenty, concurrency=32, latency=latency, jitter=0.1, cost=COST)
    assert 0.96 <= mean(used(run, rate=20, burst=20, latency=latency) for run in seen)
    assert 0.06 >= mean(map(refused, seen))
    assert 12 / CALLS <= min(map(refused, seen))


def test_without_a_limit_the_pacer_costs_nothing() -> None:
    """61 calls, 32 at once, take three round trips and at most a twentieth more (G6)."""
    for late in (0.0, LATE):
        run = simulate(Unlimited(), calls=61, concurrency=32, latency=0.2, late=late)
        assert 0.2 * 3 * 1.05 >= run.seconds
        assert run.learnt is None


@pytest.mark.parametrize(("concurrency", "latency"), [(32, 0.05), (16, 0.1), (8, 0.3)])
def test_jitter_costs_nothing_either(concurrency: int, latency: float) -> None:
    """Calls that end at different times are hardly kept waiting for one another."""
    seen, fastest = (
        mean(
            simulate(
                Unlimited(),
                ceiling=ceiling,
                calls=CALLS,
                concurrency=concurrency,
                latency=latency,
                jitter=0.3,
                seed=seed,
            ).seconds
            for seed in range(SEEDS)
        )
        for ceiling in (None, 1e9)  # the second is as good as none, and has no rounds
    )
    assert 1.03 * fastest >= seen


@pytest.mark.parametrize("burst", [1, 20])
def test_at_a_known_limit_nothing_is_refused(burst: int) -> None:
    """The configured rate is kept to evenly: no refusal and 93 % of it, even without a bucket."""
    for late in (0.0, LATE):
        limit = Bucket((0, 20), burst=burst)
        run = simulate(limit, ceiling=20, calls=CALLS, late=late)
        assert [] == run.refused
        assert 0.93 <= CALLS / 20 / run.seconds
        assert 1 / 20 <= min(after - before for before, after in pairwise(run.starts)) + 1e-9


def test_a_ceiling_above_the_limit_leaves_the_pacer_to_find_it() -> None:
    """Below its ceiling the rate adapts as ever."""
    run = simulate(twenty(0), ceiling=60, calls=CALLS, late=LATE)
    assert 0.95 <= used(run, rate=20, burst=20)
    assert 0.05 >= refused(run)


def test_a_limit_that_changes_is_followed() -> None:
    """Halved, doubled and doubled again: nine tenths of all there was are used, 3 % refused."""
    steps = ((0.0, 20.0), (25.0, 10.0), (50.0, 20.0), (75.0, 40.0))
    offered = Bucket(*steps, burst=20)
    seen = runs(lambda _: Bucket(*steps, burst=20), calls=2000)
    shares = [2000 / (20 + offered.gained(0, run.seconds)) for run in seen]
    assert 0.93 <= mean(shares)
    assert 0.90 <= min(shares)
    assert 0.03 >= max(map(refused, seen))


def test_a_doubled_limit_is_used_within_eight_seconds() -> None:
    """From 20 to 40 a second after 30 s."""
    for run in runs(lambda _: Bucket((0, 20), (30, 40), burst=20), calls=1500):
        assert 37 * 6 <= in_seconds(run.accepted, 38, 44)


def test_a_halved_limit_is_kept_within_two_seconds() -> None:
    """From 20 to 10 a second after 30 s: few calls are refused before the rate is right."""
    for run in runs(lambda _: Bucket((0, 20), (30, 10), burst=20), calls=900):
        assert 9 >= in_seconds(run.refused, 30, 32)
        assert 4 >= in_seconds(run.refused, 32, 42)
        assert 90 <= in_seconds(run.accepted, 32, 42)


@pytest.mark.parametrize("latency", [0.02, 0.1, 0.2, 0.3])
def test_the_next_run_starts_near_the_limit(latency: float) -> None:
    """What one run learnt saves the next its first refusals: 2 % at the most."""
    first = simulate(twenty(0), calls=CALLS, late=LATE)
    assert first.learnt is not None
    assert 20 == pytest.approx(first.learnt.rate, rel=0.12)
    seen = runs(twenty, learnt=first.learnt.rate, latency=latency)
    assert 0.97 <= mean(used(run, rate=20, burst=20, latency=latency) for run in seen)
    assert 0.02 >= max(map(refused, seen))


def test_learnt_saves_do_not_rely_on_a_full_bucket() -> None:
    """Where another run has emptied the bucket, the next is refused a few calls and no more."""

    def emptied(_: int) -> Limit:
        bucket = Bucket((0, 20), burst=20)
        bucket.tokens = 0
        return bucket

    for run in runs(emptied, learnt=20):
        assert 0.96 <= used(run, rate=20, burst=0)
        assert 0.03 >= refused(run)


def test_what_was_learnt_is_kept_and_raised() -> None:
    """A run that meets no limit forgets none; one that could go faster says so."""
    known = Learnt(rate=20)
    assert known == simulate(Unlimited(), learnt=known, calls=2).learnt
    busy = simulate(Bucket((0, 200), burst=200), learnt=known, calls=CALLS)
    assert busy.learnt is not None
    assert 30 <= busy.learnt.rate


def test_a_limit_ten_times_what_was_learnt_is_reached_in_seconds() -> None:
    """Old knowledge that is too low holds a run back for eight seconds."""
    for run in runs(lambda _: Bucket((0, 200), burst=200), learnt=20, calls=3001, concurrency=64):
        assert 150 * 4 <= in_seconds(run.accepted, 8, 12)
        assert 0.04 >= refused(run)


def test_a_limit_a_tenth_of_what_was_learnt_meets_no_storm() -> None:
    """Old knowledge that is too high costs a dozen refusals."""
    for run in runs(lambda _: Bucket((0, 2), burst=2), learnt=20):
        assert 12 >= in_seconds(run.refused, 0, 5)
        assert 0.1 >= refused(run)
        assert 0.95 <= used(run, rate=2, burst=2)


@pytest.mark.parametrize(
    ("rate", "burst", "concurrency", "least", "most"),
    [
        (2, 2, 16, 0.95, 0.04),
        (2, 20, 16, 0.97, 0.04),
        (5, 5, 16, 0.97, 0.03),
        (5, 20, 16, 0.97, 0.03),
        (20, 1, 16, 0.70, 0.03),
        (20, 5, 16, 0.93, 0.03),
        (50, 200, 16, 0.97, 0.02),
        (100, 100, 64, 0.95, 0.05),
        (100, 5, 64, 0.55, 0.06),
        (500, 500, 128, 0.90, 0.10),
    ],
)
def test_buckets_of_all_sizes_are_found(
    rate: float, burst: float, concurrency: int, least: float, most: float
) -> None:
    """In a long run, limits from 2 to 500 a second are used well with few refusals."""
    seen = runs(
        lambda _: Bucket((0, rate), burst=burst),
        calls=max(1500, int(rate * 10)),
        concurrency=concurrency,
    )
    assert least <= mean(used(run, rate=rate, burst=burst) for run in seen)
    assert most >= mean(map(refused, seen))


@pytest.mark.parametrize(
    ("window", "least", "most"),
    [
        (lambda seed: FixedWindow(20, 1, random(seed).random()), 0.87, 0.05),
        (lambda seed: FixedWindow(5, 1, random(seed).random()), 0.87, 0.05),
        (lambda seed: FixedWindow(300, 10, random(seed).random() * 10), 0.75, 0.10),
        (lambda _: SlidingWindow(20, 1), 0.75, 0.05),
        (lambda _: SlidingWindow(300, 10), 0.60, 0.12),
    ],
)
def test_windows_are_found_too(
    window: Callable[[int], FixedWindow | SlidingWindow], least: float, most: float
) -> None:
    """A number of calls a window, fixed or sliding: no bucket, and yet most of it is used."""
    limit = window(0)
    rate = limit.calls / limit.seconds
    seen = runs(window, calls=1201)
    assert least <= mean(used(run, rate=rate, burst=limit.calls) for run in seen)
    assert most >= mean(map(refused, seen))


def test_others_may_use_half_of_the_limit() -> None:
    """Where another client takes 10 of the 20 a second, the other 10 are found and used."""
    seen = runs(lambda _: Shared(twenty(0), 10), calls=600)
    assert 0.95 <= mean(used(run, rate=10, burst=20) for run in seen)
    assert 0.06 >= max(map(refused, seen))


def test_retry_after_pauses_every_call() -> None:
    """Nothing starts in the second that the server asked for, and the limit is found as well."""
    for run in runs(twenty, after=1.0, jitter=0):
        assert 0.88 <= used(run, rate=20, burst=20)
        assert 0.05 >= refused(run)
        for answered in (start + 0.1 for start in run.refused):
            assert 0 == in_seconds(run.starts, answered + 1e-9, answered + 1 - 1e-9)


def test_a_shorter_pause_ends_no_longer_one() -> None:
    """Of several Retry-After the latest end counts, be it of an old refusal."""
    pacer = Pacer(learnt=Learnt(rate=20))
    for after in (7.0, 3.0, None):
        pacer.throttled(started=0.0, now=0.1, after=after)
    assert 7.0 == pytest.approx(pacer.wait(0.1))
    assert 0.0 == pacer.wait(7.2)


def test_refusals_by_mistake_do_not_bring_the_rate_down() -> None:
    """One in fifty refused by chance: three quarters of the limit and more are used."""
    seen = runs(lambda seed: Spurious(twenty(0), 0.02, random(seed)), calls=2000)
    shares = [used(run, rate=20, burst=20) for run in seen]
    assert 0.80 <= mean(shares)
    assert 0.65 <= min(shares)


def test_a_server_that_refuses_everything_meets_no_storm() -> None:
    """From full speed to one call in two seconds, within two."""
    run = simulate(Always(since=5), calls=3000, give_up=120)
    assert 100 <= in_seconds(run.starts, 4, 5)
    assert 50 >= in_seconds(run.starts, 5, 7)
    assert 0.6 * 100 >= in_seconds(run.starts, 8, 108)
    assert 0.4 * 100 <= in_seconds(run.starts, 8, 108)


def test_a_server_that_never_accepted_meets_no_storm_either() -> None:
    """Refusals from the very first call on: nothing is divided by nothing."""
    run = simulate(Always(), calls=CALLS, alone=0, give_up=60)
    assert 60 >= len(run.starts)
    assert [] == run.accepted


def test_after_an_outage_the_rate_is_back_at_once() -> None:
    """A server that was shut is not treated as a slow one."""
    (run,) = runs(lambda _: Always(since=5, until=30), learnt=50, calls=2001, seeds=1)
    assert 40 >= in_seconds(run.starts, 6, 30)
    assert 45 * 4 <= in_seconds(run.accepted, 36, 40)


def test_refusals_of_one_moment_are_one_signal() -> None:
    """Of calls under way together, the first refusal slows down and the others add nothing."""
    one, many = Pacer(learnt=Learnt(rate=20)), Pacer(learnt=Learnt(rate=20))
    for pacer, refusals in ((one, 1), (many, 10)):
        for _ in range(10):
            pacer.take(0.0)
        for _ in range(refusals):
            pacer.throttled(started=0.0, now=0.1)
    assert 18 == pytest.approx(one.rate)
    assert one.rate == many.rate


def test_the_limit_is_what_was_accepted_between_two_refusals() -> None:
    """40 calls accepted in 4 s after a refusal, then another: about 10 a second."""
    pacer = Pacer(learnt=Learnt(rate=12))
    pacer.throttled(started=0.0, now=0.0)
    for call in range(40):
        pacer.passed(started=0.1 * call + 0.05, now=0.1 * call + 0.05)
    pacer.throttled(started=4.0, now=4.0)
    assert 0.9 * 10 == pytest.approx(pacer.rate, rel=0.05)


def test_a_rate_that_is_not_used_does_not_grow() -> None:
    """Two calls a second at a limit of 20 say nothing about 21."""
    pacer = Pacer(learnt=Learnt(rate=20))
    for call in range(200):
        pacer.take(call / 2)
        pacer.passed(started=call / 2, now=call / 2 + 0.1)
    assert 18 == pytest.approx(pacer.rate, rel=0.02)


def test_without_a_ceiling_late_timers_cost_nothing() -> None:
    """A start that was a millisecond late brings the next no later."""
    pacer, now = Pacer(learnt=Learnt(rate=100)), 0.0
    while pacer._spare >= 1:
        pacer.take(now)
    now, begin, calls = 60.0, 60.0, 90
    for _ in range(calls):
        now += pacer.wait(now) + 0.001
        pacer.take(now)
    assert 1.0 == pytest.approx(now - begin, abs=0.03)


Step = tuple[str, float, float, float | None]
steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "passed", "throttled", "fault"]),
        st.sampled_from([0.0, 1e-9, 0.01, 0.1, 1.0, 100.0]),
        st.floats(0, 1),
        st.none() | st.sampled_from([0.0, 0.5, 1.0, 60.0]),
    ),
    max_size=120,
)
rates = st.sampled_from([0.01, 0.1, 1.0, 20.0, 500.0, 1e6])


@given(st.none() | rates, st.none() | rates, steps)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_the_rules_hold(
    ceiling: float | None, learnt: float | None, happenings: list[Step]
) -> None:
    """Waits are finite and end; pauses and the ceiling are kept; answers come in any order."""
    pacer = Pacer(ceiling, None if learnt is None else Learnt(rate=learnt))
    now, paused_until = 1000.0, 0.0
    flying: list[float] = []
    starts: list[float] = []
    longest = max(1 / TUNING.floor, 0.0 if ceiling is None else 1 / (ceiling * TUNING.headroom))
    for what, step, chance, after in happenings:
        now += step
        if what == "take":
            waits = 0
            while (wait := pacer.wait(now)) > 0:
                assert max(longest, paused_until - now) * 1.001 >= wait
                assert wait < math.inf
                now, waits = now + wait, waits + 1
                assert 50 >= waits
            assert now >= paused_until - 1e-6
            pacer.take(now)
            flying.append(now)
            starts.append(now)
        elif flying:
            started = flying.pop(int(chance * (len(flying) - 1)))
            if what == "passed":
                pacer.passed(started=started, now=now)
            elif what == "throttled":
                pacer.throttled(started=started, now=now, after=after)
                paused_until = max(paused_until, now + (after or 0.0))
        assert (
            min(TUNING.floor, ceiling * TUNING.headroom if ceiling else TUNING.floor) <= pacer.rate
        )
        assert (math.inf if ceiling is None else ceiling) >= pacer.rate
        assert pacer.learnt is None or TUNING.floor <= pacer.learnt.rate < math.inf
    if ceiling is not None:
        gaps = [after - before for before, after in pairwise(starts)]
        assert 1 / ceiling * 0.999 - 1e-9 <= min(gaps, default=math.inf)
