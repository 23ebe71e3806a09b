"""Which removals may go on, and which are withheld until a person looks (DESIGN §3).

Only removals are withheld. The guard latches: once images of a zone are withheld, further
candidates of that zone join them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final

import msgspec

from syncer.core.paging import Candidates

RUN_COUNT: Final = 10
"""A run's removals are never withheld as a whole when they are this many or fewer."""
_SEAL: Final = object()

Threshold = int | None
"""A limit; 0 withholds every removal, None switches the guard off."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The configured limits of the removal guard."""

    zone_count: Threshold = 10
    zone_percent: Threshold = 25
    run_percent: Threshold = 50


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard has to know of one zone that was read whole.

    ``present`` counts the images present before the run, ``withheld`` those of them that are
    still withheld from an earlier run after this look; ``candidates`` include the withheld.
    ``approved`` is the most removals that a person approved for this look (None: not asked).
    """

    candidates: Candidates
    present: int
    withheld: frozenset[str]
    approved: int | None = None

    @property
    def approval(self) -> Literal["applied", "exceeded", "not_needed"] | None:
        """What comes of the approval: all of the candidates pass, or none for its sake."""
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
    """Candidates that the guard let pass; the API is still to be asked for each by id."""

    __slots__ = ("image_ids", "zone")

    def __init__(self, seal: object, candidates: Candidates) -> None:
        if seal is not _SEAL:
            raise TypeError("Cleared comes from guard.judge only")
        self.zone = candidates.zone
        self.image_ids = candidates.image_ids


class Verdict(msgspec.Struct, frozen=True):
    """What may be asked for by id, and per zone what is withheld (the newly withheld included)."""

    cleared: tuple[Cleared, ...]
    withheld: tuple[Candidates, ...]


def judge(zones: Sequence[Judged], limits: Limits) -> Verdict:
    """Judge the candidates of a run: first each zone by itself, then the run as a whole.

    An approval lifts all guards for its zone, whose removals do not count in the run's.
    """
    fresh = sum(len(zone.fresh) for zone in zones if zone.approval != "applied")
    base = sum(zone.present - len(zone.withheld) for zone in zones)
    run_trips = _exceeds(fresh, base, RUN_COUNT, limits.run_percent)
    cleared, withheld = [], []
    for zone in zones:
        if not zone.candidates.image_ids:
            continue
        if zone.approval == "applied" or not (run_trips or _zone_trips(zone, limits)):
            cleared.append(Cleared(_SEAL, zone.candidates))
        else:
            withheld.append(zone.candidates)
    return Verdict(tuple(cleared), tuple(withheld))


def _zone_trips(zone: Judged, limits: Limits) -> bool:
    if zone.withheld:
        return True
    fresh = len(zone.fresh)
    if 0 in {limits.zone_count, limits.zone_percent}:
        return fresh > 0
    if limits.zone_count is None or limits.zone_percent is None:
        return False
    if zone.candidates.emptied:
        return fresh > 0
    return _exceeds(fresh, zone.present, limits.zone_count, limits.zone_percent)


def _exceeds(count: int, of: int, more_than: int, percent: Threshold) -> bool:
    """Return whether ``count`` is above both the number and the share (whole numbers only)."""
    if percent is None:
        return False
    if percent == 0:
        return count > 0
    return count > more_than and count * 100 > percent * of
