"""Durations and instants as people write them: a time, how long ago, or the end of a run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw]?)", re.ASCII)


_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST: Final = 3650 * 86400
_LARGE: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``15m``, ``12h``, ``2d`` or ``1w``."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration: write 90, 90s, 15m, 12h or 2d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is longer than ten years")
    return seconds


def age(time: timedelta | float) -> str:
    """Return a length of time in its largest unit: ``45 s``, ``12 min``, ``5 h``, ``3 d``."""
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    for unit, name in _LARGE:
        if abs(seconds) >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago an instant was, or how far ahead it is."""
    passed = (now - then).total_seconds()
    if abs(passed) < 1:
        return "just now"
    return f"{age(passed)} ago" if passed > 0 else f"in {age(-passed)}"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """An instant; exactly one field is set. ``ago`` counts back from the database's clock."""

    at: datetime | None = None
    ago: timedelta | None = None
    run_id: int | None = None


def moment(text: str, *, runs: bool = False) -> Moment:
    """Read a time such as ``2026-11-23T08:00Z``, an age such as ``2d``, or a run's number.

    A plain number is a run's where ``runs`` is set, else seconds. A time without an offset is UTC.
    Raises ValueError, which says what is accepted.
    """
    text = text.strip()
    try:
        if runs and text.isascii() and text.isdigit() and int(text) < 2**63:
            return Moment(run_id=int(text))
        if text == "now":
            return Moment(ago=timedelta())
        if _DURATION.fullmatch(text):
            return Moment(ago=timedelta(seconds=duration(text)))
        when = datetime.fromisoformat(text)
        return Moment(at=when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        if _DATE.match(text) and "isoformat" not in str(error):  # such as 2026-02-30
            raise ValueError(f"{text!r} is no time: {error}") from None
        if _DURATION.fullmatch(text):  # an age that is too long
            raise
        accepted = "neither a time such as 2026-11-23T08:00Z nor an age such as 2d"
        if runs:
            accepted += " nor the number of a run"
        raise ValueError(f"{text!r} is {accepted}") from None
