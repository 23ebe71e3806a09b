"""The removal guard: which candidates may go on, and which are withheld until a person looks.

A look can be whole and still wrong: a key that may no longer see some images, an outage that lists
nothing, a service that republished its catalogue under new ids. What all of these have in common is
that very much is missing at once, so the guard judges numbers, after the last zone was read:

- **A zone's** candidates are withheld when they are more than ``zone_count`` and more than
  ``zone_percent`` of the images it had; also when it lists nothing though it had images, and when
  images of it are withheld already.
- **A run's** candidates are withheld, all of them, when they are more than ``RUN_COUNT`` and more
  than ``run_percent`` of the images of the zones that were read.
- **An approval** of a person lets a zone's candidates pass against every rule, all or none of them.

Both the number and the share must be exceeded: of a small zone half may go, and of a large one a
hundred images. Images that are withheld already count neither above nor below the line.

It is a latch: a withheld image stays withheld until it is seen again or a person approves, and new
candidates of its zone join it. So nothing slips through on a later day, when less is missing. Only
removals are withheld; what appeared or changed is stored in any case.

What passes is ``Cleared``, which only ``judge`` makes: the API is still asked for each id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final

import msgspec

from syncer.core.paging import Candidates

RUN_COUNT: Final = 10
"""A run's candidates are not withheld as a whole where they are no more than these."""

_SEAL: Final = object()

Threshold = int | None
"""A number or a percentage that may be reached but not exceeded. 0 withholds every removal, None
switches the rule off."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The configured limits of the removal guard."""

    zone_count: Threshold = 10
    """Candidates of one zone; fewer are an everyday clean-up."""
    zone_percent: Threshold = 25
    """Candidates of one zone in percent of the images it had."""
    run_percent: Threshold = 50
    """Candidates of a run in percent of the images of the zones that were read."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard has to know of one zone that was read whole.

    ``present`` counts the images that were present before the run. ``candidates`` include the
    ``withheld``: those that an earlier run withheld and this look did not list either. ``approved``
    is the most removals that a person approved for this look (None: nobody did).
    """

    candidates: Candidates
    present: int
    withheld: frozenset[str]
    approved: int | None = None

    @property
    def approval(self) -> Literal["applied", "exceeded", "not_needed"] | None:
        """What the approval does: it lifts the guard for all candidates, or for none."""
        if self.approved is None:
            return None
        count = len(self.candidates.image_ids)
        if not count:
            return "not_needed"
        return "applied" if count <= self.approved else "exceeded"

    @property
    def fresh(self) -> tuple[str, ...]:
        """The candidates that were not withheld before."""
        return tuple(i for i in self.candidates.image_ids if i not in self.withheld)


@final
class Cleared:
    """Candidates that the guard let pass. Only ``judge`` makes them; see ``confirm``.

    ``controls`` are those of the candidates. ``approved`` is whether a person's approval lets them
    pass: where the look listed nothing, it stands in for a control.
    """

    __slots__ = ("approved", "controls", "image_ids", "zone")

    def __init__(self, seal: object, candidates: Candidates, *, approved: bool) -> None:
        if seal is not _SEAL:
            raise TypeError("Cleared comes from guard.judge only")
        self.zone = candidates.zone
        self.image_ids = candidates.image_ids
        self.controls = candidates.controls
        self.approved = approved


class Verdict(msgspec.Struct, frozen=True):
    """What the API may be asked for by id, and what is withheld: one value a zone."""

    cleared: tuple[Cleared, ...]
    withheld: tuple[Candidates, ...]


def judge(zones: Sequence[Judged], limits: Limits) -> Verdict:
    """Judge the candidates of a run, zone by zone and all together.

    Candidates that an approval lets pass do not count in the run's.
    """
    fresh = sum(len(zone.fresh) for zone in zones if zone.approval != "applied")
    base = sum(zone.present - len(zone.withheld) for zone in zones)
    run_exceeds = _exceeds(fresh, base, count=RUN_COUNT, percent=limits.run_percent)
    cleared, withheld = [], []
    for zone in zones:
        if not zone.candidates.image_ids:
            continue
        approved = zone.approval == "applied"
        if approved or not (run_exceeds or _zone_exceeds(zone, limits)):
            cleared.append(Cleared(_SEAL, zone.candidates, approved=approved))
        else:
            withheld.append(zone.candidates)
    return Verdict(tuple(cleared), tuple(withheld))


def _zone_exceeds(zone: Judged, limits: Limits) -> bool:
    """Return whether the candidates of a zone are withheld for its own sake."""
    if zone.withheld:
        return True
    fresh = len(zone.fresh)
    if 0 in {limits.zone_count, limits.zone_percent}:
        return fresh > 0
    if limits.zone_count is None or limits.zone_percent is None:
        return False
    if zone.candidates.emptied:
        return fresh > 0
    return _exceeds(fresh, zone.present, count=limits.zone_count, percent=limits.zone_percent)


def _exceeds(candidates: int, present: int, *, count: int, percent: Threshold) -> bool:
    """Return whether candidates are more than ``count`` and more than ``percent`` of the present.

    Whole numbers only: exactly the percentage is not more.
    """
    if percent is None:
        return False
    if percent == 0:
        return candidates > 0
    return candidates > count and candidates * 100 > percent * present
