"""Stamps that are later than the clock: where they go, for whatever stamps there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.clock_repair import TICK, Move, Stamp, check_clocks, moves
from syncer.core.errors import ClocksDisagree

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def of_run(began: datetime, clock: datetime | None, *after: timedelta) -> list[Stamp]:
    """The stamps of a run: its first, and those some time after it."""
    return [
        Stamp(at=began + each, run_started_at=began, run_clock_at=clock)
        for each in (timedelta(), *after)
    ]


def news(moved: list[Move]) -> list[datetime]:
    return [move.new for move in moved]


def test_a_run_that_began_by_a_right_clock_goes_to_when_it_was() -> None:
    ahead = NOW + 100 * HOUR
    stamps = [
        *of_run(ahead, NOW - 2 * HOUR, MINUTE, 2 * MINUTE),
        *of_run(ahead + HOUR, NOW - HOUR, MINUTE),
    ]
    moved = moves(stamps, after=NOW - 9 * HOUR, now=NOW)
    first, second = NOW - 2 * HOUR, NOW - HOUR
    expected = [first, first + MINUTE, first + 2 * MINUTE, second, second + MINUTE]
    assert expected == news(moved)
    assert all(move.timed for move in moved)


def test_a_run_that_began_by_a_wrong_clock_goes_to_just_before_what_came_next() -> None:
    """And its stamps keep their distances: too late rather than too early."""
    ahead = NOW + 100 * HOUR
    stamps = [
        *of_run(ahead, ahead, MINUTE),
        *of_run(ahead + HOUR, ahead + HOUR, MINUTE),
        *of_run(ahead + 2 * HOUR, NOW - HOUR),
    ]
    moved = moves(stamps, after=NOW - 9 * HOUR, now=NOW)
    right = NOW - HOUR
    last = right - TICK
    before = last - MINUTE - TICK
    assert [before - MINUTE, before, last - MINUTE, last, right] == news(moved)
    assert [False, False, False, False, True] == [move.timed for move in moved]


def test_where_nothing_came_next_it_goes_to_now() -> None:
    ahead = NOW + 100 * HOUR
    moved = moves(of_run(ahead, ahead, MINUTE), after=NOW - HOUR, now=NOW)
    assert [NOW - MINUTE, NOW] == news(moved)


def test_what_has_no_room_is_pressed_together() -> None:
    ahead = NOW + 100 * HOUR
    moved = moves(of_run(ahead, ahead, MINUTE, HOUR), after=NOW - 3 * TICK, now=NOW)
    assert [NOW - 2 * TICK, NOW - TICK, NOW] == news(moved)


def test_a_time_that_contradicts_the_order_is_no_time() -> None:
    """The clock says that a run was before one that was earlier."""
    ahead = NOW + 100 * HOUR
    stamps = [*of_run(ahead, NOW - HOUR), *of_run(ahead + HOUR, NOW - 2 * HOUR)]
    moved = moves(stamps, after=NOW - 9 * HOUR, now=NOW)
    assert [(NOW - HOUR, True), (NOW, False)] == [(move.new, move.timed) for move in moved]


def test_without_room_nothing_is_moved() -> None:
    ahead = NOW + HOUR
    with pytest.raises(ClocksDisagree, match="try again"):
        moves(of_run(ahead, ahead, MINUTE), after=NOW - TICK, now=NOW)


spans = st.timedeltas(min_value=TICK, max_value=timedelta(days=400))
clocks = st.none() | st.timedeltas(timedelta(days=-400), timedelta(days=400))


@st.composite
def time_lines(draw: st.DrawFn) -> list[Stamp]:
    """The stamps of some runs, all later than now, whose clocks said whatever they like."""
    at = NOW
    stamps: list[Stamp] = []
    for clock in draw(st.lists(clocks, max_size=6)):
        at += draw(spans)
        offsets = sorted(draw(st.sets(spans, max_size=4)))
        stamps += of_run(at, None if clock is None else NOW + clock, *offsets)
        at = stamps[-1].at
    return stamps


@given(time_lines(), spans)
def test_the_order_of_stamps_is_kept_and_none_is_later_than_now(
    stamps: list[Stamp], since: timedelta
) -> None:
    after = NOW - since - len(stamps) * TICK
    moved = moves(stamps, after=after, now=NOW)
    assert [stamp.at for stamp in stamps] == [move.old for move in moved]
    line = [after, *news(moved)]
    assert all(earlier + TICK <= later for earlier, later in pairwise(line))
    assert line[-1] <= NOW
    assert [m.new for m in moved if m.timed] == [
        s.by_clock() for s, m in zip(stamps, moved, strict=True) if m.timed
    ]


@given(time_lines())
def test_a_run_that_has_a_time_keeps_it_unless_the_order_forbids(stamps: list[Stamp]) -> None:
    """What could be at its time beside all that came before it is there."""
    moved = moves(stamps, after=None, now=NOW)
    timed = [move for move in moved if move.timed]
    for index, (stamp, move) in enumerate(zip(stamps, moved, strict=True)):
        before = [m.new + (index - moved.index(m)) * TICK for m in timed if m.old < stamp.at]
        fits = max(before, default=stamp.by_clock()) <= stamp.by_clock()
        room = stamp.by_clock() <= NOW - (len(stamps) - 1 - index) * TICK
        assert move.timed == (fits and room)


@pytest.mark.parametrize(
    ("database", "api"),
    [(5.1, 0.0), (-5.1, 0.0), (0.0, 5.1), (0.0, -5.1), (3.0, -3.0), (0.0, None)],
)
def test_clocks_that_differ_are_not_believed(database: float, api: float | None) -> None:
    with pytest.raises(ClocksDisagree):
        check_clocks(database=database, api=api)


def test_clocks_within_five_seconds_agree() -> None:
    check_clocks(database=5.0, api=0.0)
    check_clocks(database=-2.5, api=2.5)
