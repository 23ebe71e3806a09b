"""The removal guard: which candidates may go on, and which are withheld until a person looks.

A look can be whole and still wrong: a key that may no longer see some images, an outage that lists
nothing, a zone that answers with another's images, a service that republished its catalogue under
new ids. What these have in common is that much is missing at once. So candidates are judged when a
whole look misses them for the first time, together with those of their zone that still wait. They
are withheld by the first rule that speaks:

- **another_key**: the zone was not read whole with these credentials before, which may see other
  images. The candidates wait for the next look with them, and so does an approval; nothing is
  latched.
- **latched**: images of the zone are withheld already. What is missing later joins them, so nothing
  slips through on a day when less is missing.
- **emptied**: the zone lists nothing, though it had images.
- **turned_over**: the zone lists none of the images that its last look listed, which were three or
  more.
- **many**: they are more than ``zone_count`` and more than ``zone_percent`` of the zone's images.
  What was removed in the last 24 hours and is not back counts with both: a slow bleed is seen too.
- **run**: those of all zones are more than ``RUN_COUNT`` and more than ``run_percent`` of the
  images of the zones that were read, two or more. All of them are withheld.
- **kind**: they are more than ``RUN_COUNT``, and all images there were of one type of a service.
  A key that may no longer see custom images looks like that. Those are withheld, in every zone.

Those that need one zone only (``judge_zone``) are judged, and the verdict is stored, with the look
itself; the others after the last zone (``judge_run``). Without a stored verdict nothing is asked
for by id: a run that was killed in between leaves its candidates to be judged by the next as new.

**An approval** of a person lifts every rule for those of a zone's candidates that are due, all or
none of them, or for the very images that a run withheld. It is no verdict on others: those that
were not missed often enough are judged as ever, and what it let pass and no answer settled is
judged anew where it does not apply any more. Only removals are withheld; what appeared or changed
is stored in any case. What passes is ``Cleared``, which only ``judge_run`` makes: the API is still
asked for each id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, Literal, final

import msgspec

from syncer.core.model import ZoneRef
from syncer.core.paging import Candidates

RUN_COUNT: Final = 10
"""A run's candidates are not withheld by a rule of the run where they are no more than these."""

TURNED_OVER: Final = 3
"""So few images can all be replaced in an ordinary change."""

_SEAL: Final = object()

Threshold = int | None
"""A number or a percentage that may be reached but not exceeded. 0 withholds every removal, None
switches the rule off."""

Rule = Literal["many", "turned_over", "emptied", "run", "kind", "another_key"]
"""Why candidates are withheld. ``another_key`` is no latch."""

Kind = tuple[str, str | None]
"""A service and an image type of it."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The configured limits of the removal guard."""

    zone_count: Threshold = 10
    """Candidates of one zone; fewer are an everyday clean-up."""
    zone_percent: Threshold = 25
    """Candidates of one zone in percent of the images it had."""
    run_percent: Threshold = 20
    """Candidates of a run in percent of the images of the zones that were read."""
    removal_looks: int = 1
    """Whole looks of different runs that must miss an image before it is asked for by id."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a whole look did not list, and what is stored of that.

    ``looks`` counts the looks in a row that missed it, this one included; ``judged`` is whether the
    guard spoke about it before. ``rule`` is the one that withholds it. ``approved`` is whether a
    person approved its removal by the run that withheld it; ``renamed`` whether an image of the
    same name appeared in the look that missed it.
    """

    image_id: str
    image_type: str | None
    looks: int = 1
    judged: bool = False
    withheld: bool = False
    rule: Rule | None = None
    approved: bool = False
    renamed: bool = False


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard has to know of one zone that was read whole.

    ``present`` counts the images that were present before the run, ``withheld_before`` those of
    them that were withheld, also where they are seen again now. ``missed`` are the candidates with
    what is stored of them. Of the images that the last look listed there were
    ``listed_before``, and ``still_listed`` are listed now. ``removed_lately`` were removed in the
    last 24 hours, are not back, and were not approved. ``approved`` is the most removals that a
    person approved for this look (None: nobody did).
    """

    candidates: Candidates
    present: int
    missed: tuple[Candidate, ...] = ()
    withheld_before: int = 0
    listed_before: int = 0
    still_listed: int = 0
    removed_lately: int = 0
    another_key: bool = False
    approved: int | None = None
    removal_looks: int = 1

    @property
    def zone(self) -> ZoneRef:
        """The zone."""
        return self.candidates.zone

    @property
    def approval(self) -> Literal["applied", "exceeded", "not_needed", "waits"] | None:
        """What the approval does: it lifts the guard for all candidates, or for none.

        Candidates that were not missed often enough do not count, and it waits for them.
        """
        if self.approved is None:
            return None
        if not self.missed:
            return "not_needed"
        due = sum(self.is_due(candidate) for candidate in self.missed)
        if not due or self.another_key:  # at such a look nothing is removed
            return "waits"
        return "applied" if due <= self.approved else "exceeded"

    @property
    def lifted(self) -> frozenset[str]:
        """The ids that no rule holds: approved one by one, or due where an approval applies."""
        applied = self.approval == "applied"
        return frozenset(
            c.image_id for c in self.missed if c.approved or (applied and self.is_due(c))
        )

    @property
    def fresh(self) -> tuple[Candidate, ...]:
        """The candidates that are neither withheld already nor approved."""
        lifted = self.lifted
        return tuple(c for c in self.missed if not c.withheld and c.image_id not in lifted)

    @property
    def is_new(self) -> bool:
        """Whether a candidate is to be judged; those that wait are judged with it."""
        return any(not candidate.judged for candidate in self.fresh)

    @property
    def latched(self) -> tuple[Candidate, ...]:
        """The candidates that stay withheld."""
        lifted = self.lifted
        return tuple(c for c in self.missed if c.withheld and c.image_id not in lifted)

    @property
    def free(self) -> int:
        """How many images were present before the run, less those that were withheld already."""
        return self.present - self.withheld_before

    def is_due(self, candidate: Candidate) -> bool:
        """Return whether a candidate was missed often enough to be removed."""
        return candidate.looks >= self.removal_looks


@final
class Cleared:
    """Candidates that the guard let pass and that are to be asked for. Only ``judge_run`` makes it.

    ``controls`` are images that the look listed, ``approved`` is whether a person approved.
    """

    __slots__ = ("approved", "controls", "image_ids", "zone")

    def __init__(
        self, seal: object, candidates: Candidates, image_ids: tuple[str, ...], *, approved: bool
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("Cleared comes from guard.judge_run only")
        self.zone = candidates.zone
        self.controls = candidates.controls
        self.image_ids = image_ids
        self.approved = approved


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates of a zone that a rule of the run withholds."""

    zone: ZoneRef
    rule: Rule
    image_ids: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard said after the last zone.

    ``passed`` are the ids that all rules let pass, by zone. ``cleared`` are those that are to be
    asked for by id: of these, and of what a person approved, those missed often enough.
    """

    withheld: tuple[Withheld, ...]
    passed: dict[ZoneRef, tuple[str, ...]]
    cleared: tuple[Cleared, ...]


def judge_zone(zone: Judged, limits: Limits) -> Rule | None:
    """Return the rule by which the fresh candidates of a zone are withheld for its own sake."""
    if not zone.is_new:
        return None
    if zone.another_key:
        return "another_key"
    if latched := zone.latched:
        return latched[0].rule or "many"
    if zone.candidates.emptied:
        return "emptied"
    if 0 in {limits.zone_count, limits.zone_percent}:
        return "many"
    if limits.zone_count is None or limits.zone_percent is None:
        return None
    if zone.listed_before >= TURNED_OVER and not zone.still_listed:
        return "turned_over"
    missing = len(zone.fresh) + zone.removed_lately
    images = zone.free + zone.removed_lately
    exceeds = _exceeds(missing, images, count=limits.zone_count, percent=limits.zone_percent)
    return "many" if exceeds else None


def kinds_in_question(zones: Sequence[Judged], limits: Limits) -> set[Kind]:
    """Return the kinds that miss enough candidates for it to matter whether any is left."""
    if limits.run_percent is None:
        return set()
    kinds = [
        ((zone.zone.service, candidate.image_type), candidate.judged)
        for zone in _of_the_run(zones)
        for candidate in zone.fresh
    ]
    counts = Counter(kind for kind, _ in kinds)
    news = {kind for kind, judged in kinds if not judged}
    return {kind for kind, count in counts.items() if count > RUN_COUNT and kind in news}


def _of_the_run(zones: Sequence[Judged]) -> list[Judged]:
    """Return the zones that the rules of the run judge."""
    return [zone for zone in zones if not zone.another_key]


def judge_run(zones: Sequence[Judged], limits: Limits, *, lost: Collection[Kind] = ()) -> Verdict:
    """Judge the candidates of all zones together, after those of each were judged.

    ``lost`` are the kinds that have no image left that was present before. Candidates that an
    approval lets pass do not count.
    """
    rule = _run_rule(zones, limits)
    withheld, passed, cleared = list[Withheld](), dict[ZoneRef, tuple[str, ...]](), []
    for zone in zones:
        own = judge_zone(zone, limits)
        held: dict[str, Rule] = {}
        for candidate in zone.fresh:
            of_lost_kind = (zone.zone.service, candidate.image_type) in lost
            spoke = own or rule or ("kind" if of_lost_kind else None)
            if spoke is not None:
                held[candidate.image_id] = spoke
        for name in sorted({*held.values()} - {own}):
            ids = tuple(i for i, spoke in held.items() if spoke == name)
            withheld.append(Withheld(zone=zone.zone, rule=name, image_ids=ids))
        if zone.another_key:  # all wait, those too that passed before
            passed[zone.zone] = ()
            continue
        lifted, stays = zone.lifted, held.keys() | {c.image_id for c in zone.latched}
        free = [c for c in zone.missed if c.image_id not in stays]
        passed[zone.zone] = tuple(c.image_id for c in free if c.image_id not in lifted)
        if due := tuple(c.image_id for c in free if zone.is_due(c)):
            approved = lifted.issuperset(due)
            cleared.append(Cleared(_SEAL, zone.candidates, due, approved=approved))
    return Verdict(withheld=tuple(withheld), passed=passed, cleared=tuple(cleared))


def _run_rule(zones: Sequence[Judged], limits: Limits) -> Rule | None:
    judged = _of_the_run(zones)
    if not any(zone.is_new for zone in judged):
        return None
    fresh = sum(len(zone.fresh) for zone in judged)
    images = sum(zone.free for zone in zones)
    if limits.run_percent == 0:
        return "run"
    if len(zones) < 2:  # noqa: PLR2004  (the zone's own rules see all there is)
        return None
    exceeds = _exceeds(fresh, images, count=RUN_COUNT, percent=limits.run_percent)
    return "run" if exceeds else None


def _exceeds(candidates: int, present: int, *, count: int, percent: Threshold) -> bool:
    """Return whether candidates are more than ``count`` and more than ``percent`` of the present.

    Whole numbers only: exactly the percentage is not more.
    """
    if percent is None:
        return False
    if percent == 0:
        return candidates > 0
    return candidates > count and candidates * 100 > percent * present
