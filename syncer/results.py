"""What became of a zone in a run: of its look, and of its candidates for removal."""

from __future__ import annotations

import msgspec

from syncer.core.diff import Diff, Tally
from syncer.core.guard import Judged
from syncer.core.model import Fault
from syncer.store import Zone


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone.

    ``judged`` is set after a whole look. ``diff`` is kept for a dry run only: a run must not hold
    the images of every zone.
    """

    zone: Zone
    status: str
    images: int = 0
    pages: int = 0
    rereads: int = 0
    rejected: int = 0
    tally: Tally = Tally()
    diff: Diff | None = None
    judged: Judged | None = None
    fault: Fault | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone's candidates for removal."""

    zone: Zone
    tally: Tally = Tally()
    removed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    newly_withheld: int = 0
    unanswered: int = 0
    zone_gone: bool = False
    fault: Fault | None = None
