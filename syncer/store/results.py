"""What became of a zone in a run: of its look, and of its candidates for removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

import msgspec

from syncer.core.diff import Diff, Tally
from syncer.core.guard import Judged, Rule
from syncer.core.model import Failed, Fault, Gone, Incomplete
from syncer.core.paging import Snapshot, Unchanged
from syncer.store.planning import Plan, StoredZone

Outcome = Snapshot | Incomplete | Failed | Gone
"""What came of reading a zone, but for a whole look that read what is stored."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone.

    ``judged`` is set after a whole look, ``rule`` where the guard withholds its new candidates;
    ``withheld`` are all that are withheld of the zone. ``diff`` is kept for a dry run only: a run
    must not hold the images of every zone.
    """

    zone: StoredZone
    status: str
    images: int = 0
    pages: int = 0
    rereads: int = 0
    rejected: int = 0
    tally: Tally = Tally()
    diff: Diff | None = None
    judged: Judged | None = None
    rule: Rule | None = None
    withheld: tuple[str, ...] = ()
    newly_withheld: int = 0
    fault: Fault | None = None

    @property
    def undone(self) -> bool:
        """Whether the zone was not read whole, though it is there."""
        return self.status in {"failed", "incomplete"}

    @property
    def cause(self) -> tuple[str, ...]:
        """What zones have in common that end alike for one reason."""
        fault = self.fault
        return (self.status, *((fault.code, fault.message) if fault is not None else ()))

    @property
    def newly(self) -> tuple[str, ...]:
        """What is withheld since this look: the last of ``withheld``."""
        return self.withheld[len(self.withheld) - self.newly_withheld :]


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone's candidates for removal."""

    zone: StoredZone
    tally: Tally = Tally()
    removed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    """What a rule of the run withholds; of candidates that were asked for, all that is left."""
    rule: Rule | None = None
    renamed: int = 0
    """How many of the withheld have a namesake that appeared in the same look."""
    unanswered: int = 0
    contradictions: int = 0
    """In how many of the last ten runs the list lacked what the API returned by id."""
    zone_gone: bool = False
    fault: Fault | None = None


class Comparison:
    """What was listed beside what is stored, added up part by part.

    The images themselves are kept for a dry run only.
    """

    def __init__(self, listed: Container[str], *, dry: bool) -> None:
        self._listed = listed
        self._dry = dry
        self.diff = Diff()
        self.tally = Tally()
        self.present = 0
        self.unlisted: set[str] = set()
        """Ids stored as present and not listed."""
        self.unlisted_types = Counter[str | None]()
        """How many of them are stored with which image type."""

    def add(self, plan: Plan) -> None:
        """Add a part."""
        tally = plan.diff.tally()
        self.tally = Tally(
            appeared=self.tally.appeared + tally.appeared,
            changed=self.tally.changed + tally.changed,
            returned=self.tally.returned + tally.returned,
        )
        self.present += plan.unseen
        for image_id, known in plan.stored.items():
            if known.present:
                self.present += 1
                if image_id not in self._listed:
                    self.unlisted.add(image_id)
                    self.unlisted_types[known.image_type] += 1
        if self._dry:
            self.diff += plan.diff


def unread(zone: StoredZone, outcome: Failed | Gone) -> Written:
    """Return what becomes of a zone that was not read."""
    return Written(
        zone=zone,
        status="gone" if isinstance(outcome, Gone) else "failed",
        pages=outcome.looked.pages,
        rereads=outcome.looked.rereads,
        fault=outcome.fault,
    )


def read_in_part(zone: StoredZone, outcome: Incomplete, tally: Tally) -> Written:
    """Return what becomes of a zone that was not read whole."""
    return Written(
        zone=zone,
        status="incomplete",
        images=len(outcome.images),
        pages=outcome.looked.pages,
        rereads=outcome.looked.rereads,
        rejected=outcome.rejected,
        tally=tally,
        fault=outcome.fault,
    )


def read_whole(zone: StoredZone, outcome: Snapshot, tally: Tally, judged: Judged) -> Written:
    """Return what becomes of a zone that was read whole, before the guard speaks."""
    return Written(
        zone=zone,
        status="changed" if tally != Tally() else "unchanged",
        images=outcome.look.images,
        pages=outcome.looked.pages,
        rereads=outcome.looked.rereads,
        tally=tally,
        judged=judged,
    )


def unchanged(zone: StoredZone, outcome: Unchanged) -> Written:
    """Return what became of a zone that read what is stored."""
    looked = outcome.looked
    return Written(
        zone=zone,
        status="unchanged",
        images=outcome.images,
        pages=looked.pages,
        rereads=looked.rereads,
        judged=Judged(candidates=outcome.unlisted(), present=outcome.images),
    )


def to_keep(result: Written, outcome: Snapshot | Incomplete | Gone) -> Snapshot | None:
    """Return the look, if what is stored as present now is what it listed."""
    if not isinstance(outcome, Snapshot) or result.judged is None:
        return None
    return None if result.judged.candidates.image_ids else outcome
