"""How long to wait before a call, and when to give up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.backoff import Backoff, RetryBudget
from syncer.core.limiter import Pacer

delay = Backoff().delay


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [
        (1, 0.125, 0.25),
        (2, 0.25, 0.5),
        (3, 0.5, 1.0),
        (4, 1.0, 2.0),
        (5, 2.0, 4.0),
        (6, 2.5, 5.0),
        (7, 2.5, 5.0),
    ],
)
def test_the_wait_doubles_up_to_five_seconds(attempt: int, least: float, most: float) -> None:
    """From a quarter of a second to five, half of it fixed and half by chance."""
    assert delay(attempt, random=0.0) == least
    assert delay(attempt, random=1.0) == most
    assert delay(attempt, random=0.5) == (least + most) / 2


@given(st.integers(1, 7), st.floats(0, 1), st.none() | st.floats(0, 1e6))
@settings(max_examples=40, deadline=None)
def test_retry_after_is_the_least_that_is_waited(
    attempt: int, chance: float, after: float | None
) -> None:
    """The server's wish is a minimum: never less, and our own wait where it wished for less."""
    wait = delay(attempt, random=chance, after=after)
    assert wait >= (after or 0.0)
    assert wait == max(delay(attempt, random=chance), after or 0.0)


def test_a_call_is_made_seven_times_at_most() -> None:
    """Seven attempts is the limit of one call."""
    assert Backoff().attempts == 7


def test_other_waits_can_be_configured() -> None:
    """A first and a last wait of one's own bound the doubling alike."""
    waits = Backoff(attempts=3, first=1.0, last=3.0)
    assert [waits.delay(attempt, random=1.0) for attempt in (1, 2, 3)] == [1.0, 2.0, 3.0]


def spent(budget: RetryBudget) -> int:
    count = 0
    while budget.spend():
        count += 1
        assert count <= 10_000
    return count


def test_a_small_run_may_retry_fifty_times() -> None:
    """The budget of a run is fifty retries at least, and is empty after that."""
    budget = RetryBudget()
    budget.plan(3)
    assert spent(budget) == 50
    assert budget.spend() is False
    assert budget.spent == 50


def test_a_large_run_may_retry_as_often_as_it_planned_calls() -> None:
    """Calls that are planned later widen the budget."""
    budget = RetryBudget()
    budget.plan(40)
    budget.plan(40)
    assert spent(budget) == 80
    budget.plan(5)
    assert spent(budget) == 5


def test_calls_are_paced_evenly_a_little_below_the_rate() -> None:
    """At 10 a second, calls start every 1/9.8 s; there is no burst at the start."""
    pacer = Pacer(10)
    waits = [pacer.reserve(100.0) for _ in range(4)]
    assert waits == pytest.approx([0.0, 1 / 9.8, 2 / 9.8, 3 / 9.8])


def test_idle_time_earns_no_burst() -> None:
    """After a pause of any length calls are as far apart as before."""
    pacer = Pacer(10)
    pacer.reserve(0.0)
    assert pacer.reserve(1000.0) == 0.0
    assert pacer.reserve(1000.0) == pytest.approx(1 / 9.8)


def test_without_a_rate_no_call_waits() -> None:
    """No ceiling, no wait."""
    pacer = Pacer(None)
    assert [pacer.reserve(5.0) for _ in range(100)] == [0.0] * 100


@pytest.mark.parametrize("rate", [None, 10.0])
def test_a_pause_holds_every_call_back(rate: float | None) -> None:
    """Nothing starts before the moment that the server asked for; a shorter pause ends none."""
    pacer = Pacer(rate)
    pacer.pause(107.0)
    pacer.pause(103.0)
    assert pacer.reserve(100.0) == 7.0
    assert pacer.reserve(108.0) == 0.0


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 10), min_size=2, max_size=60))
@settings(max_examples=40, deadline=None)
def test_calls_never_start_closer_than_the_rate_allows(rate: float, steps: list[float]) -> None:
    """However callers arrive, starts are at least the interval apart and in their order."""
    pacer, now, starts = Pacer(rate), 0.0, []
    for step in steps:
        now += step
        wait = pacer.reserve(now)
        assert wait >= 0
        starts.append(now + wait)
    gaps = [after - before for before, after in pairwise(starts)]
    assert min(gaps) >= 1 / rate * 0.999
