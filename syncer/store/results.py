"""What became of a zone in a run: of its look, and of its candidates for removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

import msgspec

from syncer.core.diff import Diff, Tally
from syncer.core.guard import Judged
from syncer.core.model import Failed, Fault, Gone, Image, Incomplete
from syncer.core.paging import Look, Snapshot, Unchanged
from syncer.store.planning import Plan, StoredZone

Outcome = Snapshot | Incomplete | Failed | Gone
"""What came of reading a zone, but for a whole look that read what is stored."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone.

    ``judged`` is set after a whole look. ``diff`` is kept for a dry run only: a run must not hold
    the images of every zone.
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
    fault: Fault | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone's candidates for removal."""

    zone: StoredZone
    tally: Tally = Tally()
    removed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    newly_withheld: int = 0
    unanswered: int = 0
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
        self.withheld = 0
        self.unlisted: dict[str, bool] = {}
        """Ids stored as present and not listed; whether they are withheld."""
        self.unlisted_types = Counter[str | None]()
        """How many of them are stored with which image type."""
        self.seen_again = 0
        """Withheld images that were seen after all."""

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
            self.withheld += known.withheld
            if known.present:
                self.present += 1
                if image_id not in self._listed:
                    self.unlisted[image_id] = known.withheld
                    self.unlisted_types[known.image_type] += 1
        self.seen_again += seen_again(plan)
        if self._dry:
            self.diff += plan.diff


def seen_again(plan: Plan) -> int:
    """Return how many withheld images were seen after all."""
    diff = plan.diff
    seen: Iterable[Image] = (*(change.image for change in diff.changes), *diff.refreshed)
    return sum(plan.stored[image.image_id].withheld for image in seen)


def unread(zone: StoredZone, outcome: Failed | Gone) -> Written:
    """Return what becomes of a zone that was not read."""
    return Written(
        zone=zone,
        status="gone" if isinstance(outcome, Gone) else "failed",
        pages=outcome.looked.pages,
        rereads=outcome.looked.rereads,
        fault=outcome.fault,
    )


def written(
    zone: StoredZone,
    outcome: Snapshot | Incomplete,
    compared: Comparison,
    approved: int | None,
    *,
    run_id: int,
) -> Written:
    """Return what becomes of a zone that was read, by what is stored of it.

    ``run_id`` is 0 of a dry run.
    """
    looked, tally = outcome.looked, compared.tally
    if isinstance(outcome, Incomplete):
        return Written(
            zone=zone,
            status="incomplete",
            images=len(outcome.images),
            pages=looked.pages,
            rereads=looked.rereads,
            rejected=outcome.rejected,
            tally=tally,
            fault=outcome.fault,
        )
    types = [image_type for image_type, _ in compared.unlisted_types.most_common()]
    candidates = outcome.unlisted(compared.unlisted, run_id=run_id, image_types=types)
    still = frozenset(i for i in candidates.image_ids if compared.unlisted[i])
    return Written(
        zone=zone,
        status="changed" if tally != Tally() else "unchanged",
        images=len(outcome.offered),
        pages=looked.pages,
        rereads=looked.rereads,
        tally=tally,
        judged=Judged(
            candidates=candidates,
            present=compared.present,
            withheld=still,
            approved=approved,
        ),
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
        judged=Judged(candidates=outcome.unlisted(), present=outcome.images, withheld=frozenset()),
    )


def look_to_keep(result: Written, outcome: Snapshot | Incomplete | Gone) -> Look | None:
    """Return the look, if what is stored as present now is what it listed."""
    if not isinstance(outcome, Snapshot) or result.judged is None:
        return None
    return None if result.judged.candidates.image_ids else outcome.look
