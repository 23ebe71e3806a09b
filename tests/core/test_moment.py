"""Instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.moment import Moment, duration, moment


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-23", Moment(at=datetime(2026, 11, 23, tzinfo=UTC))),
        ("2026-11-23T08:00", Moment(at=datetime(2026, 11, 23, 8, tzinfo=UTC))),
        ("2026-11-23T08:00Z", Moment(at=datetime(2026, 11, 23, 8, tzinfo=UTC))),
        ("2026-11-23T08:00+08:00", Moment(at=datetime(2026, 11, 23, tzinfo=UTC))),
        (" 2d ", Moment(ago=timedelta(days=2))),
        ("90", Moment(ago=timedelta(seconds=90))),
        ("1.5h", Moment(ago=timedelta(minutes=90))),
        ("now", Moment(ago=timedelta())),
    ],
)
def test_a_time_or_an_age(text: str, meant: Moment) -> None:
    """A time without an offset is UTC; an age counts back; a plain number is seconds."""
    assert meant == moment(text)


def test_a_plain_number_is_a_run_where_runs_are_meant() -> None:
    """90 is run 90 for diff and asof; with a unit it stays an age."""
    assert Moment(run_id=90) == moment("90", runs=True)
    assert Moment(ago=timedelta(seconds=90)) == moment("90s", runs=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "-1d",
        "2026-1-1",
        "٣",
        "9" * 30,
        "1y",
    ],
)
@pytest.mark.parametrize("runs", [False, True])
def test_anything_else_says_what_is_accepted(text: str, runs: bool) -> None:
    """What is neither is refused in words."""
    with pytest.raises(ValueError, match="neither a time such as") as refused:
        moment(text, runs=runs)
    assert runs == ("number of a run" in str(refused.value))


@pytest.mark.parametrize("runs", [False, True])
def test_an_age_that_is_too_long_says_so(runs: bool) -> None:
    """It is an age by its shape."""
    with pytest.raises(ValueError, match="'999999999d' is longer than ten years"):
        moment("999999999d", runs=runs)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-02-30", "day is out of range for month"),
        ("2026-13-01", "month must be in 1..12"),
        ("2026-11-29T25:00Z", "hour must be in 0..23"),
        ("0001-01-01T00:00+14:00", "date value out of range"),
    ],
)
def test_a_time_that_there_is_not_says_why(text: str, why: str) -> None:
    """A date by its shape is answered about its numbers."""
    with pytest.raises(ValueError, match=f"is no time: {why}"):
        moment(text)


@given(
    st.datetimes(
        min_value=datetime(1, 1, 3),  # noqa: DTZ001  (hypothesis adds the zone)
        max_value=datetime(9999, 12, 29),  # noqa: DTZ001
        timezones=st.integers(-23, 23).map(lambda h: timezone(timedelta(hours=h))),
    )
)
def test_every_time_is_read_back(when: datetime) -> None:
    """What a reading command prints as a time is a time for the next."""
    assert Moment(at=when.astimezone(UTC)) == moment(when.isoformat())


@given(st.text(max_size=12), st.booleans())
def test_any_text_is_read_or_refused(text: str, runs: bool) -> None:
    """No text raises anything but ValueError."""
    try:
        read = moment(text, runs=runs)
    except ValueError:
        return
    assert 1 == sum(x is not None for x in (read.at, read.ago, read.run_id))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("12h", 43200),
        ("2d", 172800),
        ("1w", 604800),
        ("0", 0),
        ("1.5m", 90),
        (" 2 d ", 172800),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A number of seconds, or a number with one unit."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1h30m", "1M", "1 2", "1e3", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused in words that show what to write."""
    with pytest.raises(ValueError, match="write 90, 90s, 15m, 12h or 2d"):
        duration(text)
