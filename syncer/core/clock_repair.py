"""Where stamps go that were made while the clock was ahead, once the clock is right.

Theory of operation
-------------------
Stamps of an account are a time line: their order is true, whatever the clock said. A run keeps
what the clock said when it began beside its first stamp, and counts its stamps from there by a
clock that nobody sets. So where the clock was right by then (its stamps are ahead only because
older ones are), each of its stamps has a time that is true: the clock's then, and what passed.

Where that is no answer (the clock itself was ahead, or two such times contradict the order) the
order is all that is known. Such a stamp goes to just before the next one that has a time: it is
stamped too late rather than too early, so that what was there at an instant is still answered by
what had been seen by then. Stamps of one run keep their distances where there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from syncer.core.errors import ClocksDisagree

AGREE: Final = 5.0
"""Seconds that the clocks by which a repair goes may differ by."""
TICK: Final = timedelta(microseconds=1)
"""What stamps differ by at least."""
_EVER: Final = datetime.min.replace(tzinfo=UTC)


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """A stamp, with the first stamp of its run, and what the clock said then (None: not known)."""

    at: datetime
    run_started_at: datetime | None = None
    run_clock_at: datetime | None = None

    def by_clock(self) -> datetime:
        """Return when it was, by the clock of its run."""
        if self.run_started_at is None or self.run_clock_at is None:
            return self.at
        return self.run_clock_at + (self.at - self.run_started_at)


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stamp goes: when it was by the clock of its run, or (not ``timed``) by its order."""

    old: datetime
    new: datetime
    timed: bool


def moves(stamps: Sequence[Stamp], *, after: datetime | None, now: datetime) -> list[Move]:
    """Return where stamps go that are later than ``now``.

    They are the distinct ones of one account, in ascending order; ``after`` is its newest stamp
    that is not later than now (None: there is none). The new ones ascend too, are later than
    ``after`` and not later than now. Raises ClocksDisagree where there is no room for that yet.
    """
    after = after or _EVER
    if after + len(stamps) * TICK > now:
        raise ClocksDisagree("no time has passed since the newest right stamp: try again")
    earliest, timed = _earliest(stamps, after, now)
    moved: list[Move] = []
    following: Stamp | None = None
    new = now + TICK
    for stamp, least, is_timed in zip(
        reversed(stamps), reversed(earliest), reversed(timed), strict=True
    ):
        distance = TICK
        if following is not None and stamp.run_started_at == following.run_started_at is not None:
            distance = following.at - stamp.at
        new = least if is_timed else max(least, new - distance)
        moved.append(Move(old=stamp.at, new=new, timed=is_timed))
        following = stamp
    return moved[::-1]


def _earliest(
    stamps: Sequence[Stamp], after: datetime, now: datetime
) -> tuple[list[datetime], list[bool]]:
    """Return for each stamp the earliest place in its order, and whether that is its true time."""
    earliest: list[datetime] = []
    timed: list[bool] = []
    latest = now - (len(stamps) - 1) * TICK
    for stamp in stamps:
        after += TICK
        by_clock = stamp.by_clock()
        timed.append(after <= by_clock <= latest)
        if timed[-1]:
            after = by_clock
        earliest.append(after)
        latest += TICK
    return earliest, timed


def check_clocks(*, database: float, api: float | None) -> None:
    """Raise ClocksDisagree unless the clocks agree by which stamps are judged to be wrong.

    They are given by how many seconds they are ahead of this host's (None: not known).
    """
    if api is None:
        raise ClocksDisagree(
            "the API's answer bears no Date to compare clocks with: check ZENLAYER_ENDPOINT"
        )
    if max(database, api, 0.0) - min(database, api, 0.0) > AGREE:
        raise ClocksDisagree(
            "a repair goes by the present time, and the clocks do not agree on it: "
            f"the database's {_apart(database)}, the API's {_apart(api)}: "
            "set the one that is wrong (NTP)"
        )


def _apart(seconds: float) -> str:
    if abs(seconds) < 1:
        return "agrees with this host's"
    return f"is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} this host's"
