"""When a daemon runs next."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from syncer.serve.schedule import Ended, Schedule
from syncer.serve.timing import Timing

TIMING = Timing(first_retry=15, longest_rest=3600)

shares = st.floats(0, 1)
spans = st.floats(1, 10_000)


def test_runs_keep_to_the_grid_whatever_they_take() -> None:
    """Every 900 s from the start on: a run of 20 minutes passes one moment over, no more."""
    schedule = Schedule(every=900, jitter=0, start=100)
    assert 1000 == schedule.after(130, "done", random=0.5)
    assert 1900 == schedule.after(1001, "done", random=0.5)
    assert 3700 == schedule.after(1900 + 1200, "done", random=0.5)
    assert 4600 == schedule.after(3700, "done", random=0.5), "a moment is not used twice"


@given(spans, st.floats(0, 100), st.floats(0, 1e6), shares)
def test_the_next_moment_is_the_next_of_the_grid(
    every: float, jitter: float, now: float, random: float
) -> None:
    """It is after now, at most one interval and the jitter away, and never later in the grid."""
    due = Schedule(every=every, jitter=jitter, start=0).after(now, "done", random=random)
    assert now < due <= (math.floor(now / every) + 1) * every + min(jitter, every / 2) + 1e-6


@given(st.lists(st.tuples(st.sampled_from(["done", "failed"]), shares, st.floats(0, 600))))
def test_a_failure_is_tried_again_sooner_and_never_later_than_usual(
    runs: list[tuple[Ended, float, float]],
) -> None:
    """Whatever failed and succeeded before: retries come sooner than the grid, or with it."""
    schedule, usual = (Schedule(every=900, jitter=60, start=0) for _ in range(2))
    now = 0.0
    for ended, random, took in runs:
        now += took
        due = schedule.after(now, ended, random=random)
        assert now < due <= usual.after(now, "done", random=random)
        now = due


def test_retries_come_at_growing_intervals() -> None:
    """A quarter of a minute, then twice as long each time, until the grid is sooner."""
    schedule = Schedule(every=900, jitter=0, start=0, timing=TIMING)
    waits = [schedule.after(1.0, "failed", random=1.0) - 1 for _ in range(8)]
    assert [TIMING.first_retry * 2**n for n in range(6)] == waits[:6]
    assert [899, 899] == waits[6:]
    schedule.after(1.0, "done", random=1.0)
    assert TIMING.first_retry == schedule.after(1.0, "failed", random=1.0) - 1


@given(spans, shares)
def test_what_is_refused_is_left_alone_for_longer_and_longer(every: float, random: float) -> None:
    """Refused again and again: the rest doubles up to an hour, or the usual interval if longer."""
    schedule = Schedule(every=every, jitter=0, start=0, timing=TIMING)
    rests = [schedule.after(0.5, "refused", random=random) for _ in range(20)]
    assert rests == sorted(rests)
    assert every <= rests[0] <= every * 2
    assert rests[-1] <= max(TIMING.longest_rest, every) + every
    assert rests[-1] >= max(TIMING.longest_rest, every) - every
    assert schedule.after(0.5, "done", random=random) <= every * 1.5
