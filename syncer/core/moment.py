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


def duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``15m``, ``12h``, ``2d`` or ``1w``."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration: write 90, 90s, 15m, 12h or 2d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is longer than ten years")
    return seconds


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
        accepted = "neither a time such as 2026-11-23T08:00Z nor an age such as 2d"
        if runs:
            accepted += " nor the number of a run"
        raise ValueError(f"{text!r} is {accepted}") from None
