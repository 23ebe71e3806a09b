"""How long to wait before a call, and when to give up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.backoff import Backoff, RetryBudget

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
