"""What syncer must answer, as a model without a database, written apart from the code it judges.

One ``Account`` is what one account's runs should have left. ``run`` is given what the API answered
(``Pass``) and the instants of the run (``Facts``); it takes instants, and nothing else, as they
are, checks that they are in order, and derives the rest. One rule is one small function whose
docstring states it; where the rules leave a choice, ``Reading`` names it, or the value expected is
an ``Either``.

Instants are whole microseconds on a line that does not move when a test steps the clock.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import msgspec

FIELDS: Final = {
    "image_name": "imageName",
    "image_type": "imageType",
    "image_size": "imageSize",
    "image_description": "imageDescription",
    "image_version": "imageVersion",
    "image_status": "imageStatus",
    "category": "category",
    "os_type": "osType",
}
"""The tracked columns, and what the API calls them."""
LATER: Final = {
    "zec": {
        "nic_network_type": "nicNetworkType",
        "image_source": "imageSource",
        "min_disk_size": "minDiskSize",
    }
}
"""The tracked columns that came later, of the services that have them."""
HOUR: Final = 3_600_000_000
DAY: Final = 24 * HOUR
RULES: Final = ("many", "turned_over", "emptied", "run", "kind", "another_key")
WHOLE: Final = {"unchanged", "changed", "guarded"}

Place = tuple[str, str]
"""A zone's id and an image's id, within one account."""


class Disagreement(AssertionError):
    """The database says otherwise than a rule; the message begins with the rule's name."""


class Either(tuple[Any, ...]):
    """Values that would all do, as the rules do not say which."""

    __slots__ = ()


class Between(msgspec.Struct, frozen=True):
    """An instant from ``low`` to ``high``, or one of ``others``."""

    low: int
    high: int
    others: tuple[int | None, ...] = ()


class State(msgspec.Struct, kw_only=True):
    """The tracked columns of an image; of the later ones those that the API ever sent for it."""

    tracked: tuple[str | None, ...]
    later: dict[str, str | None] = {}

    @property
    def kind(self) -> str | None:
        """Its image type."""
        return self.tracked[list(FIELDS).index("image_type")]

    @property
    def document(self) -> dict[str, str | None]:
        """What is known, by column: so a change shows either side."""
        return dict(zip(FIELDS, self.tracked, strict=True)) | self.later

    @property
    def row(self) -> dict[str, str | None]:
        """The columns as views have them: null where nothing is known."""
        return dict.fromkeys([*FIELDS, *(n for names in LATER.values() for n in names)]) | (
            self.document
        )


ANY: Final = Between(-(10**18), 10**18)
"""Any number."""


def agrees(expected: Any, found: Any) -> bool:
    """Return whether what was found is what was expected, or one of the things that would do."""
    if isinstance(expected, Either):
        return any(agrees(one, found) for one in expected)
    if isinstance(expected, Between):
        return found in expected.others or (
            found is not None and expected.low <= found <= expected.high
        )
    return bool(expected == found)


def latest(*values: Any) -> Any:
    """Return the later of instants; some may be unknown, or be known to lie between two."""
    known = [value for value in values if value is not None]
    plain = max((value for value in known if isinstance(value, int)), default=None)
    ranges = [value for value in known if isinstance(value, Between)]
    if not ranges:
        return plain
    (one,) = ranges
    low = one.low if plain is None else max(plain, one.low)
    return Between(low, max(low, one.high))


# What the API answers, and what is asked of it.


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The guard's settings; None is off, 0 withholds any removal."""

    zone_count: int | None = 10
    zone_percent: int | None = 25
    run_percent: int | None = 20


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the API answers of one zone in one run.

    ``rows`` are listed, ``unlisted`` (by id) only returned to a question by id.
    """

    described: bool = True
    service: str = "vm"
    listing: Literal["rows", "torn", "failed", "not_found"] = "rows"
    rows: tuple[Mapping[str, Any], ...] = ()
    unlisted: Mapping[str, Mapping[str, Any]] = {}
    question: Literal["answers", "failed", "nothing", "denied"] = "answers"

    @property
    def kept(self) -> dict[str, State]:
        """The rows that can be kept: those with an id."""
        return {row["imageId"]: self.state(row) for row in self.rows if row.get("imageId")}

    def state(self, row: Mapping[str, Any]) -> State:
        """The tracked columns of a row; a key that is missing is null, a later one not known."""
        later = LATER.get(self.service, {})
        return State(
            tracked=tuple(text(row.get(name)) for name in FIELDS.values()),
            later={column: text(row[name]) for column, name in later.items() if name in row},
        )

    @property
    def rejected(self) -> int:
        """How many rows cannot be kept."""
        return sum(1 for row in self.rows if not row.get("imageId"))


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is asked, and the world it finds; ``selected`` None is every zone.

    ``refuses``: a question that names an image that is not there is refused as a whole.
    """

    zones: Mapping[str, Answer]
    described: bool = True
    selected: frozenset[str] | None = None
    limits: Limits = Limits()
    looks: int = 1
    key: str = "key"
    refuses: bool = False

    def holds(self, zone: str) -> bool:
        """Return whether a zone is selected."""
        return self.selected is None or zone in self.selected


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """The instants of one scan, and the status it was given."""

    started: int
    observed: int
    finished: int
    status: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The instants that a run left, and the few outcomes that decide between readings.

    ``clock`` is the raw clock at the run's end; ``opened`` are the starts of versions, ``removed``
    the instants of removals, ``seen`` the ends of gaps, by place (and start).
    """

    run_id: int
    started: int
    finished: int
    clock: int
    scans: Mapping[str, Scan]
    opened: Mapping[Place, int]
    removed: Mapping[Place, int]
    seen: Mapping[tuple[str, str, int], int]
    withheld: frozenset[Place]
    pending: Mapping[str, int | None]


def text(value: Any) -> str | None:
    """A value as text: as served; a number or boolean as its text; NUL is replaced.

    A list is JSON; its order says nothing.
    """
    if value is None:
        return None
    if isinstance(value, list):
        return json.dumps(sorted(value), separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\0", "\ufffd")


def number(size: str | None) -> Any:
    """What a size is compared by: its number if it is one, else its text."""
    try:
        return size if size is None else Decimal(size.strip())
    except InvalidOperation:
        return size


def differing(old: State, new: State) -> list[str]:
    """The tracked columns that differ; sizes differ by their number only.

    A later one that is not known on one side is not compared.
    """
    was, now = old.document, new.document
    return [
        name
        for name in was
        if name in now
        and was[name] != now[name]
        and not (name == "image_size" and number(was[name]) == number(now[name]))
    ]


# What is stored.


class Version(msgspec.Struct, kw_only=True):
    """One state of an image; ``sight`` is the look, or the answer, that opened it."""

    values: State
    valid_from: int
    sight: Any
    valid_to: int | None = None


class Gap(msgspec.Struct, kw_only=True):
    """A time in which an image was not listed, and neither seen nor removed."""

    gap_from: int
    last_listed: Any
    gap_to: int | None = None
    ended_by: str | None = None
    sight: int | None = None
    """When it was seen again: by a look, or when it was asked for by id."""
    rules: tuple[str | None, ...] = (None,)
    withheld: tuple[bool, ...] = (False,)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change, as the feed shows it."""

    place: Place
    run_id: int
    kind: str
    changed_at: int
    before: State | None
    after: State | None
    not_before: Any
    first_look: Any = False

    @property
    def fields(self) -> list[str]:
        """The tracked columns that differ between the two sides."""
        if self.before is None or self.after is None:
            return []
        return differing(self.before, self.after)


class Image(msgspec.Struct, kw_only=True):
    """An image: its versions, its gaps, and what its removal waits for.

    ``missed`` counts the whole looks in a row that missed it; ``judged`` says that the guard let it
    pass; ``approved`` that its removal was approved by its run.
    """

    versions: list[Version]
    gaps: list[Gap] = msgspec.field(default_factory=list)
    removed: bool = False
    withheld: bool = False
    missed: int = 0
    judged: bool = False
    approved: bool = False
    withheld_by_run: int | None = None

    @property
    def values(self) -> State:
        """Its current or last known state."""
        return self.versions[-1].values

    @property
    def gap(self) -> Gap | None:
        """The gap it is in."""
        return self.gaps[-1] if self.gaps and self.gaps[-1].gap_to is None else None


class Look(msgspec.Struct, kw_only=True):
    """One scan of a zone, as it is stored; ``listed`` are the ids of a whole look."""

    run_id: int
    scan: Scan
    status: str
    listed: frozenset[str] = frozenset()
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    images: int | None = None
    rejected: int = 0
    withheld: Any = 0
    all_judged: bool = True
    whole: bool = False


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """A removal that the guard may remember; ``clock`` is the raw clock then."""

    image_id: str
    clock: int
    approved: bool


class Zone(msgspec.Struct, kw_only=True):
    """A zone of an account. ``spells`` are the instants from when it was gone, or was not."""

    listed: Any = True
    gone: bool = False
    images: dict[str, Image] = msgspec.field(default_factory=dict)
    looks: list[Look] = msgspec.field(default_factory=list)
    spells: list[tuple[int, bool]] = msgspec.field(default_factory=list)
    keys: set[str] = msgspec.field(default_factory=set)
    approval: int | None = None
    removals: list[Removal] = msgspec.field(default_factory=list)
    kept_from: int | None = None

    @property
    def present(self) -> dict[str, Image]:
        """The images that were not removed."""
        return {i: image for i, image in self.images.items() if not image.removed}

    @property
    def whole_looks(self) -> list[Look]:
        """Its whole looks, in order."""
        return [look for look in self.looks if look.whole]

    def last_listing(self, image_id: str, at: int | None = None) -> Look | None:
        """Return the last whole look, finished by ``at``, that listed an image."""
        for look in reversed(self.looks):
            if look.whole and image_id in look.listed and (at is None or look.scan.finished <= at):
                return look
        return None


# The guard.


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Where the guard's rules leave a choice. All decisions must fit one and the same reading."""

    waiting_joins_latch: bool = False
    """Those that wait for further looks are withheld where new ones join a latch."""
    waiting_is_withheld_too: bool = True
    """A verdict on new candidates withholds those that wait as well."""
    waiting_is_judged_again: bool = False
    """Those that wait are judged even where nothing else is missed."""
    run_counts_zone_withheld: bool = True
    """What a zone's rules withhold counts in the run's share and in a kind."""
    unread_counts: bool = False
    """The images of zones that were not read whole count among the run's."""
    candidates_in_two_zones: bool = False
    """The run's rule needs candidates in two zones, not only two zones scanned."""
    kind_may_be_new: bool = False
    """A kind is not missed if new images of it are listed."""
    zero_is_a_number: bool = False
    """One limit of 0 is only that limit, not "any removal"."""
    floor_is_the_zones: bool = False
    """The least number of the run's rules is the zone's count, not ten."""
    waiting_is_of_the_run: bool = True
    """Those that wait count in the run's rules, and are withheld by them."""
    approval_opens_latch: bool = True
    """New candidates do not join withheld images that a run's approval releases now."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard sees of one zone: ids with their types, as they were before the run.

    ``ages`` are microseconds since each removal that it remembers. What an approval releases is
    neither ``new`` nor ``waiting``.
    """

    zone: str
    present: Mapping[str, str | None]
    whole: bool = False
    listed: Mapping[str, str | None] = {}
    last_judged: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    latched: bool = False
    was_latched: bool = False
    ages: tuple[int, ...] = ()


Verdicts = dict[Place, frozenset[str]]


def many(case: Case, judged: frozenset[str], limits: Limits, reading: Reading) -> bool:
    """(a) More than 10 and more than 25 % of a zone's images, those of 24 hours counted along.

    Distinct images removed in the last 24 hours and not back count with both. 0: any removal.
    """
    count, percent = limits.zone_count, limits.zone_percent
    if count is None or percent is None:
        return False
    if 0 in {count, percent} and not reading.zero_is_a_number:
        return bool(judged)
    recent = sum(age < DAY for age in case.ages)
    total = len(judged) + recent
    return total > count and total * 100 > percent * (len(case.present) + recent)


def turned_over(case: Case, limits: Limits) -> bool:
    """(b) None of at least three images is listed that the last look listed which was judged."""
    if limits.zone_count is None or limits.zone_percent is None:
        return False
    return len(case.last_judged) >= 3 and not case.last_judged & case.listed.keys()


def emptied(case: Case) -> bool:
    """(b) Nothing at all is listed, though there were images; also where the guard is off."""
    return not case.listed


def zone_rules(case: Case, limits: Limits, reading: Reading) -> Verdicts:
    """A latched zone's new candidates join; else (a) and (b) withhold all candidates or none."""
    if not case.new and not (case.waiting and reading.waiting_is_judged_again):
        return {}
    latched = case.latched if reading.approval_opens_latch else case.was_latched
    if latched:
        joined = case.new | (case.waiting if reading.waiting_joins_latch else frozenset())
        return {(case.zone, one): frozenset(RULES) for one in joined}
    judged = case.new | case.waiting
    rules = {
        "many": many(case, judged, limits, reading),
        "turned_over": turned_over(case, limits),
        "emptied": emptied(case),
    }
    names = frozenset(name for name, holds in rules.items() if holds)
    withheld = judged if reading.waiting_is_withheld_too else case.new
    return {(case.zone, one): names for one in withheld} if names else {}


def judges(cases: Iterable[Case], reading: Reading) -> bool:
    """The run's rules judge where anything is missed for the first time."""
    again = reading.waiting_is_judged_again
    return any(case.new or (again and case.waiting) for case in cases)


def floor(limits: Limits, reading: Reading) -> int:
    """The run's rules need more than this number."""
    if reading.floor_is_the_zones and limits.zone_count is not None:
        return limits.zone_count
    return 10


def candidates(case: Case, verdicts: Verdicts, reading: Reading) -> frozenset[str]:
    """The candidates that the run's rules count."""
    found = case.new | (case.waiting if reading.waiting_is_of_the_run else frozenset())
    if not reading.run_counts_zone_withheld:
        found = frozenset(one for one in found if (case.zone, one) not in verdicts)
    return found


def of_the_run(
    cases: Iterable[Case], verdicts: Verdicts, limits: Limits, reading: Reading
) -> Verdicts:
    """(c) More than 10 and more than 20 % of the images of at least two zones: all of the run's."""
    cases = [case for case in cases if case.whole or reading.unread_counts]
    counted = {case.zone: candidates(case, verdicts, reading) for case in cases}
    total, images = sum(map(len, counted.values())), sum(len(case.present) for case in cases)
    percent, zones = limits.run_percent, [1 for ids in counted.values() if ids]
    if percent is None or not judges(cases, reading):
        return {}
    if len(zones if reading.candidates_in_two_zones else cases) < 2 and percent:
        return {}
    if percent and not (total > floor(limits, reading) and total * 100 > percent * images):
        return {}
    return {(zone, one): frozenset({"run"}) for zone, ids in counted.items() for one in ids}


def of_a_kind(
    cases: Iterable[Case], verdicts: Verdicts, limits: Limits, reading: Reading
) -> Verdicts:
    """(d) More than 10, and all present images of one type over the zones scanned: those."""
    cases = [case for case in cases if case.whole or reading.unread_counts]
    if limits.run_percent is None or not judges(cases, reading):
        return {}
    missed: dict[str | None, set[Place]] = {}
    left = set[str | None]()
    for case in cases:
        counted = candidates(case, verdicts, reading)
        for one, kind in case.present.items():
            if one in counted:
                missed.setdefault(kind, set()).add((case.zone, one))
            elif one in case.listed or not case.whole:
                left.add(kind)
        if reading.kind_may_be_new:
            left |= set(case.listed.values())
    return {
        place: frozenset({"kind"})
        for kind, places in missed.items()
        if kind not in left and len(places) > floor(limits, reading)
        for place in places
    }


def judge(cases: Iterable[Case], limits: Limits, reading: Reading) -> Verdicts:
    """What the guard withholds, and by which rules: a zone's first, then the run's."""
    cases = list(cases)
    verdicts: Verdicts = {}
    for case in cases:
        verdicts |= zone_rules(case, limits, reading)
    later = [of_the_run(cases, verdicts, limits, reading)]
    later.append(of_a_kind(cases, verdicts, limits, reading))
    for found in later:
        for place, rules in found.items():
            verdicts[place] = verdicts.get(place, frozenset()) | rules
    return verdicts


class Judge:
    """Decides as the rules say; where they leave a choice, as all decisions so far agree on."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.past: list[tuple[list[Case], Limits, frozenset[Place]]] = []

    def decide(self, cases: list[Case], limits: Limits, found: frozenset[Place]) -> Verdicts:
        """Return what is withheld. Raises Disagreement where no reading gives what was found."""
        judged = {(c.zone, one) for c in cases for one in c.new | c.waiting}
        found &= judged
        if not judged:
            return {}
        self.past.append((cases, limits, found))
        verdicts = judge(cases, limits, self.reading)
        if verdicts.keys() == found:
            return verdicts
        for reading in readings():
            if all(judge(c, x, reading).keys() == f for c, x, f in reversed(self.past)):
                self.reading = reading
                return judge(cases, limits, reading)
        self.past.pop()
        raise Disagreement(
            f"guard: {limits}\n  withheld {sorted(found)}\n  expected {verdicts}\n  of "
            + "\n     ".join(map(str, cases))
        )


def readings() -> Iterator[Reading]:
    """Every reading, those nearest to the words first."""
    first = Reading()
    names = Reading.__struct_fields__
    for size in range(len(names) + 1):
        for chosen in itertools.combinations(names, size):
            yield msgspec.structs.replace(first, **{n: not getattr(first, n) for n in chosen})


# Evidence.


def not_before(zone: Zone, image_id: str, kind: str, look: Look | None) -> Any:
    """The later of the last whole look that saw the old state and the look that opened it.

    For what was absent it is the last whole look before; null where there was none. ``look`` is the
    one of the change itself, which is not before it.
    """
    looks = [one for one in zone.whole_looks if one is not look]
    last = looks[-1].scan.observed if looks else None
    image = zone.images.get(image_id)
    if kind == "appeared" or image is None:
        return last
    if kind == "returned":
        # Whether the question that confirmed the absence is evidence as well is not said.
        return Either((last, latest(last, image.versions[-1].valid_to)))
    return observed(zone, image_id, None, but=look)


def observed(zone: Zone, image_id: str, at: int | None, *, but: Look | None = None) -> Any:
    """When an image was seen last: the last whole look that listed it, or what saw it later.

    That is the look that opened its version, or what ended a time when it was missing. By ``at`` a
    look has been finished, a version begun.
    """
    versions = [v for v in zone.images[image_id].versions if at is None or v.valid_from <= at]
    listing = next(
        (
            look.scan.observed
            for look in reversed(zone.looks)
            if look.whole
            and look is not but
            and image_id in look.listed
            and (at is None or look.scan.finished <= at)
        ),
        None,
    )
    sights = [
        gap.sight
        for gap in zone.images[image_id].gaps
        if gap.sight is not None
        and (at is None or (gap.gap_to is not None and gap.gap_to <= at))
        and (but is None or gap.sight != but.scan.observed)
    ]
    seen = latest(listing, versions[-1].sight)
    return latest(seen, max(sights)) if sights else seen


def first_look(zone: Zone) -> Any:
    """Whether changes belong to a zone's first look: nothing of it was read before.

    Where it was read before, but never whole, the rules leave it open.
    """
    read = [look for look in zone.looks if look.status not in {"failed", "gone"}]
    if not read:
        return True
    return False if any(look.whole for look in read) else Either((True, False))


# The account.


class Account:
    """All that one account's runs should have left."""

    def __init__(self, judge_: Judge) -> None:
        self.judge = judge_
        self.zones: dict[str, Zone] = {}
        self.changes: list[Change] = []
        self.runs: dict[int, dict[str, Any]] = {}
        self.newest = -(10**18)
        self._applied: dict[str, int] = {}

    # One run.

    def run(self, ask: Pass, facts: Facts) -> None:
        """Do what a run should have done. Raises Disagreement."""
        self._in_order(facts)
        self._applied = {}
        targets = self.to_scan(ask)
        _same("which zones are scanned", targets, set(facts.scans))
        lost = self._becomes_lost(ask, targets, facts)
        before = {z: self._case(z) for z in self.zones if z in targets}
        looks = {zone: self._look(zone, ask, facts) for zone in sorted(targets)}
        asked = self._judge(ask, facts, before, looks)
        unanswered = self._question(ask, facts, looks, asked)
        self._conclude(ask, facts, looks, faults=[lost, unanswered])

    def _in_order(self, facts: Facts) -> None:
        """Each stamp of a run is later than all that was stamped before, whatever the clock did."""
        scans = facts.scans.values()
        stamps = [facts.started, *(s.started for s in scans), *facts.opened.values()]
        if min(stamps) <= self.newest:
            raise Disagreement(f"time line: {min(stamps)} is not after {self.newest}")
        for zone, scan in facts.scans.items():
            line = [facts.started, scan.started, scan.observed, scan.finished, facts.finished]
            if line != sorted(line):
                raise Disagreement(f"time line: the scan of {zone} in run {facts.run_id}: {line}")
        self.newest = facts.finished

    def to_scan(self, ask: Pass) -> set[str]:
        """The selected zones that are listed, and once more those that are known and not gone."""
        listed = {z for z, answer in ask.zones.items() if answer.described and ask.described}
        known = {z for z, zone in self.zones.items() if not zone.gone}
        return {zone for zone in listed | known if ask.holds(zone)}

    def _becomes_lost(self, ask: Pass, targets: set[str], facts: Facts) -> Any:
        """More than 2 zones and 25 % of those known become gone or unlisted: exit 3, once."""
        if not ask.described:
            return False
        now = {
            z for z in targets if not ask.zones[z].described or facts.scans[z].status == "gone"
        } & self.zones.keys()
        fresh = {z for z in now if self.zones[z].listed is True and not self.zones[z].gone}
        again = {z for z in now if not self.zones[z].gone and facts.scans[z].status == "gone"}
        known = len(self.zones)
        counts = [len(fresh), len(fresh | again)]
        results = {count > 2 and count * 4 > known for count in counts}
        return Either(results) if len(results) > 1 else results.pop()

    def outcome(self, ask: Pass, zone: str, scan: Scan) -> str:
        """What a scan comes to: failed, incomplete, gone or whole.

        Gone is a zone that the API does not know, or an unlisted one that lists nothing.
        """
        answer = ask.zones[zone]
        if answer.listing == "failed":
            return "failed"
        if answer.listing == "not_found":
            return "gone" if ask.described else scan.status
        if answer.listing == "torn" or answer.rejected:
            return "incomplete"
        if not answer.rows and ask.described and not answer.described:
            return "gone"
        return "whole"

    def _look(self, name: str, ask: Pass, facts: Facts) -> Look:
        """Store what a scan read: seen images; and of a whole look those it missed."""
        answer, scan = ask.zones[name], facts.scans[name]
        zone = self.zones.setdefault(name, Zone())
        if ask.described:
            zone.listed = answer.described
        outcome = self.outcome(ask, name, scan)
        look = Look(run_id=facts.run_id, scan=scan, status=outcome, counts={})
        if outcome in {"incomplete", "whole"}:
            look.rejected = answer.rejected
            look.images = len(answer.kept)
            first = first_look(zone)
            for image_id, values in answer.kept.items():
                self._see(name, image_id, values, facts, look, first=first)
        if outcome == "whole":
            look.status, look.whole = "unchanged", True
            look.listed = frozenset(answer.kept)
            for image_id, image in zone.present.items():
                if image_id not in look.listed:
                    self._miss(zone, image_id, image, scan)
        zone.looks.append(look)
        if outcome in {"gone", "whole"}:
            zone.gone = outcome == "gone"
            zone.spells.append((scan.finished, zone.gone))
        return look

    def _see(
        self, name: str, image_id: str, values: State, facts: Facts, look: Look, *, first: Any
    ) -> None:
        """A row that is new, or back, or differs opens a version; being seen ends gap and latch.

        A later column that is sent for the first time is filled in place, and one that is not sent
        any more keeps its value.
        """
        zone, answered = self.zones[name], look.whole and image_id not in look.listed
        scan = look.scan
        image = zone.images.get(image_id)
        kind = _kind(image, values)
        if image is not None:
            values.later = image.values.later | values.later
            if kind is None:
                image.values.later.update(values.later)
        low, high = (scan.finished, facts.finished) if answered else (scan.observed, scan.finished)
        if kind:
            at = _stamp(facts.opened, (name, image_id), f"{kind}: version opened", low, high)
            change = Change(
                place=(name, image_id),
                run_id=facts.run_id,
                kind=kind,
                changed_at=at,
                before=image.values if image else None,
                after=values,
                not_before=not_before(zone, image_id, kind, look),
                first_look=first if kind == "appeared" else False,
            )
            self.changes.append(change)
            look.counts[kind] = look.counts.get(kind, 0) + 1
            sight = Between(scan.observed, facts.finished) if answered else scan.observed
            version = Version(values=values, valid_from=at, sight=sight)
            if image is None:
                zone.images[image_id] = Image(versions=[version])
                return
            if not image.removed:
                image.versions[-1].valid_to = at
            image.versions.append(version)
        assert image is not None
        if gap := image.gap:
            gap.gap_to = facts.seen.get((name, image_id, gap.gap_from), scan.finished)
            gap.ended_by = "seen"
            gap.sight = gap.gap_to if answered else scan.observed
            if not low <= gap.gap_to <= high and gap.gap_to != scan.finished:
                raise Disagreement(f"gap: of {name} {image_id} ends at {gap.gap_to}, not seen then")
        image.removed = image.withheld = image.judged = image.approved = False
        image.missed, image.withheld_by_run = 0, None

    def _miss(self, zone: Zone, image_id: str, image: Image, scan: Scan) -> None:
        """A gap begins when the first whole look that missed an image is finished."""
        image.missed += 1
        if image.gap is None:
            last = observed(zone, image_id, None)
            image.gaps.append(Gap(gap_from=scan.finished, last_listed=last))

    # The guard and approvals.

    def _case(self, name: str) -> Case:
        """What the guard counts against: images present before, less those withheld already."""
        zone = self.zones[name]
        whole = zone.whole_looks
        judged = [look.listed for look in whole if look.all_judged]
        return Case(
            zone=name,
            present={i: m.values.kind for i, m in zone.present.items() if not m.withheld},
            last_judged=judged[-1] if judged else frozenset(),
        )

    def _judge(
        self, ask: Pass, facts: Facts, before: dict[str, Case], looks: dict[str, Look]
    ) -> dict[str, dict[str, bool]]:
        """Let each zone's candidates pass or be withheld; return which may be asked for.

        The value says whether the removal was approved.
        """
        asked: dict[str, dict[str, bool]] = {}
        cases = []
        for name, look in looks.items():
            case = before.get(name, Case(zone=name, present={}))
            if look.whole:
                case, lifted = self._candidates(name, ask, facts, case, look)
                asked[name] = dict.fromkeys(lifted, True)
            cases.append(case)
        verdicts = self.judge.decide(cases, ask.limits, facts.withheld)
        for case in cases:
            for one in case.new | case.waiting:
                image = self.zones[case.zone].images[one]
                if rules := verdicts.get((case.zone, one)):
                    self._withhold(image, rules, facts.run_id)
                    continue
                image.judged = True
                if image.gap and image.gap.rules == ("another_key",):
                    image.gap.rules = (None, "another_key")
                if image.missed >= ask.looks:
                    asked[case.zone].setdefault(one, False)
        return asked

    def _withhold(self, image: Image, rules: Iterable[str], run_id: int) -> None:
        """A withheld image carries its rule, until it is seen again or approved."""
        image.withheld, image.judged = True, False
        rules = set(rules)
        image.withheld_by_run = run_id if rules <= {"run", "kind"} else None
        assert image.gap is not None
        image.gap.rules, image.gap.withheld = tuple(rules), (True,)

    def _candidates(
        self, name: str, ask: Pass, facts: Facts, case: Case, look: Look
    ) -> tuple[Case, set[str]]:
        """Return what the guard is to judge in a zone, and the removals that were approved."""
        zone = self.zones[name]
        missing = {i: m for i, m in zone.present.items() if i not in look.listed}
        withheld = {i for i, m in missing.items() if m.withheld}
        if zone.keys and ask.key not in zone.keys:
            self._another_key(name, ask, facts, look, missing)
            return msgspec.structs.replace(case, whole=True), set()
        zone.keys.add(ask.key)
        lifted = self._approved(name, ask, facts, missing)
        rest = {i: m for i, m in missing.items() if i not in lifted and not m.withheld}
        waiting = {i for i, m in rest.items() if m.judged}
        back = {i for i, m in zone.images.items() if not m.removed}
        listed = {i: zone.images[i].values.kind for i in look.listed}
        case = msgspec.structs.replace(
            case,
            whole=True,
            listed=listed,
            new=frozenset(rest.keys() - waiting),
            waiting=frozenset(waiting),
            latched=bool(withheld - lifted),
            was_latched=bool(withheld),
            ages=remembered(zone.removals, back, facts.clock),
        )
        return case, {i for i in lifted if missing[i].missed >= ask.looks}

    def _another_key(
        self, name: str, ask: Pass, facts: Facts, look: Look, missing: dict[str, Image]
    ) -> None:
        """At the first snapshot read with a new key nothing is removed, and nothing latches.

        Whether new candidates join a latch that is closed already is not said.
        """
        zone = self.zones[name]
        zone.keys.add(ask.key)
        if zone.approval is not None:  # nor is, whether such a look is an approval's next snapshot
            zone.approval = facts.pending.get(name)
        latched = any(image.withheld for image in missing.values())
        for image_id, image in missing.items():
            if image.withheld:
                continue
            look.all_judged = False
            assert image.gap is not None
            image.gap.rules = (None, "another_key") if image.judged else ("another_key",)
            if latched and (name, image_id) in facts.withheld:
                self._withhold(image, RULES, facts.run_id)

    def _approved(self, name: str, ask: Pass, facts: Facts, missing: dict[str, Image]) -> set[str]:
        """Release what is approved: all of a zone's, if at most N; or exactly what a run withheld.

        Those that still wait for further looks do not count against N, and are not released.
        """
        zone = self.zones[name]
        of_run = {i for i, m in missing.items() if m.approved}
        ready = {i for i, m in missing.items() if m.missed >= ask.looks}
        lifted = of_run
        if zone.approval is not None:
            if not missing:
                zone.approval = None
            elif ready and len(ready) <= zone.approval:
                self._applied[name], zone.approval, lifted = zone.approval, None, of_run | ready
            elif ready:
                zone.approval = None
        for one in lifted & ready:
            self._release(missing[one])
        self._adopt(name, of_run - ready, facts)
        return lifted

    def _release(self, image: Image) -> None:
        """An approval opens the latch."""
        image.withheld = False
        if image.gap and True in image.gap.withheld:
            image.gap.withheld = (True, False)  # whether the note of it stays is not said
            image.gap.rules = (*image.gap.rules, None)

    def _adopt(self, name: str, ids: Iterable[str], facts: Facts) -> None:
        """Where the rules do not say whether an image is withheld now, take what was found."""
        for one in ids:
            image = self.zones[name].images[one]
            if (name, one) not in facts.withheld:
                self._release(image)
                image.judged = True
            elif not image.withheld:
                self._withhold(image, RULES, facts.run_id)

    # The question by id.

    def _question(
        self,
        ask: Pass,
        facts: Facts,
        looks: dict[str, Look],
        asked: dict[str, dict[str, bool]],
    ) -> Any:
        """Ask for what passed; return whether a question did not count."""
        results = set[bool]()
        for name, ids in asked.items():
            look, answer = looks[name], ask.zones[name]
            approved = {one for one, by_person in ids.items() if by_person}
            counted = {one for one in ids if counts(answer, look, approved=one in approved)}
            if not look.listed and (ask.refuses or answer.question == "denied"):
                # Whether a refusal counts where an approval stands in for the control is not said.
                counted &= set(answer.unlisted) | {i for z, i in facts.removed if z == name}
                if answer.question == "denied":
                    counted = {i for z, i in facts.removed if z == name} & approved
            if ids.keys() - counted:
                # Whether it is a failure that a zone without a control cannot be asked is not said.
                results |= {True} if look.listed or approved - counted else {True, False}
            for one in sorted(counted):
                if (row := answer.unlisted.get(one)) and answer.question == "answers":
                    self._see(name, one, answer.state(row), facts, look, first=False)
                else:
                    self._remove(name, one, facts, look, approved=one in approved)
            self._unanswered(name, facts, approved - counted)
        return Either(results) if len(results) > 1 else True in results

    def _unanswered(self, name: str, facts: Facts, ids: set[str]) -> None:
        """An approval stays for what did not count: N less what was removed.

        Whether those images are withheld meanwhile is not said.
        """
        zone = self.zones[name]
        for one in ids:
            judged = zone.images[one].judged  # an approval is no verdict
            self._adopt(name, [one], facts)
            zone.images[one].judged = judged and not zone.images[one].withheld
        if ids and self._applied.get(name):
            removed = sum(1 for place in facts.removed if place[0] == name)
            zone.approval = self._applied[name] - removed

    def _remove(
        self, name: str, image_id: str, facts: Facts, look: Look, *, approved: bool
    ) -> None:
        """A removal is dated by the answer that confirmed it; it ends version and gap."""
        zone = self.zones[name]
        image = zone.images[image_id]
        at = _stamp(facts.removed, (name, image_id), "removal", look.scan.finished, facts.finished)
        before = observed(zone, image_id, None)
        self.changes.append(
            Change(
                place=(name, image_id),
                run_id=facts.run_id,
                kind="removed",
                changed_at=at,
                before=image.values,
                after=None,
                not_before=before,
            )
        )
        look.counts["removed"] = look.counts.get("removed", 0) + 1
        image.versions[-1].valid_to = at
        gap = image.gap
        assert gap is not None
        gap.gap_to, gap.ended_by = at, "removed"
        image.removed, image.withheld, image.judged = True, False, False
        image.missed, image.approved = 0, False
        zone.removals.append(Removal(image_id=image_id, clock=facts.clock, approved=approved))

    # The end of a run.

    def _conclude(
        self, ask: Pass, facts: Facts, looks: dict[str, Look], *, faults: list[Any]
    ) -> None:
        """A scan's status and counts, and the run's; then its exit code."""
        removed = {p for p in facts.removed if p[0] in looks}
        expected = {c.place for c in self.changes if c.run_id == facts.run_id}
        _same("which images are removed or open a version", expected, removed | {*facts.opened})
        for name, look in looks.items():
            if look.whole:
                here = self.zones[name].present.values()
                look.withheld = sum(image.withheld for image in here)
                look.status = status(look)
            else:
                look.withheld = ANY
        expected_exit = exit_code(self, ask, looks, faults)
        self.runs[facts.run_id] = {
            "exit": expected_exit,
            "started_at": facts.started,
            "finished_at": facts.finished,
            "looks": looks,
        }

    # What happens outside runs.

    def approve(self, zone: str, most: int, at: int) -> None:
        """Approve at most ``most`` removals in a zone; it replaces an earlier approval."""
        self.zones[zone].approval = most
        self.newest = max(self.newest, at)

    def withheld_by(self, run_id: int) -> list[Place]:
        """What a run withheld by its own rules, and what is withheld still."""
        return [
            (name, image_id)
            for name, zone in self.zones.items()
            for image_id, image in zone.images.items()
            if image.withheld and image.withheld_by_run == run_id
        ]

    def approve_run(self, run_id: int) -> None:
        """Approve exactly what a run withheld by its own rules and what is withheld still."""
        for name, image_id in self.withheld_by(run_id):
            self.zones[name].images[image_id].approved = True

    def retire(self, zone: str, at: int) -> None:
        """A person says that a zone is gone: unknown from then, asked again only when listed."""
        self.zones[zone].spells.append((at, True))
        self.zones[zone].gone = True
        self.newest = max(self.newest, at)

    # What is answered.

    def gone_at(self, name: str, at: int) -> bool | None:
        """Whether a zone was gone: from its gone scan, or a person's word, to its next snapshot.

        None: neither is known by then.
        """
        spells = reversed(self.zones[name].spells)
        return next((gone for start, gone in spells if start <= at), None)

    def beyond(self, at: int, clock: int) -> Any:
        """Whether an instant is later than both the clock and the account's newest stamp."""
        if at <= max(clock, self.newest):
            return False
        return True if at > self.newest + 10_000_000 else Either((True, False))

    def presence(self, name: str, image_id: str, at: int, clock: int) -> Any:
        """Present: a version covers the instant, and no gap. Absent: none, after a whole look.

        Else unknown; so is a time when the zone was gone, one not kept, and the future.
        """
        beyond = self.beyond(at, clock)
        if beyond is True or name not in self.zones:
            return "unknown"
        answer = self._presence(self.zones[name], name, image_id, at)
        return answer if beyond is False else Either((answer, "unknown"))

    def _presence(self, zone: Zone, name: str, image_id: str, at: int) -> str:
        gone = self.gone_at(name, at)
        if gone or (zone.kept_from is not None and at < zone.kept_from):
            return "unknown"
        image = zone.images.get(image_id)
        if image and any(covers(v.valid_from, v.valid_to, at) for v in image.versions):
            missed = any(covers(gap.gap_from, gap.gap_to, at) for gap in image.gaps)
            return "unknown" if missed else "present"
        return "unknown" if gone is None else "absent"

    def images_now(self) -> dict[Place, dict[str, Any]]:
        """The rows of the view ``images``."""
        rows = {}
        for name, zone in self.zones.items():
            for image_id, image in zone.images.items():
                gap, last = image.gap, image.versions[-1]
                row = image.values.row
                now = "absent" if image.removed else "unknown" if gap else "present"
                # A removed image of a zone that went: that it is absent was known.
                gone = Either(("unknown", "absent")) if image.removed else "unknown"
                missed = image.gaps[-1].gap_from if image.removed and image.gaps else None
                rows[name, image_id] = row | {
                    "presence": gone if zone.gone else now,
                    "removed": image.removed,
                    "withheld": image.withheld,
                    # Whether being removed is a change of its state is not said.
                    "changed_at": Either((last.valid_from, last.valid_to or last.valid_from)),
                    "first_seen_at": image.versions[0].valid_from,
                    "observed_at": observed(zone, image_id, None),
                    "unlisted_since": gap.gap_from if gap else Either((None, missed)),
                }
        return rows

    def zones_now(self) -> dict[str, dict[str, Any]]:
        """The rows of the view ``zones``; whether unlisted images count as present is not said."""
        rows = {}
        for name, zone in self.zones.items():
            there = zone.present.values()
            certain = sum(image.gap is None for image in there)
            whole = zone.whole_looks
            rows[name] = {
                "gone": zone.gone,
                "listed": Either((True, False)) if zone.gone else zone.listed,
                "present_images": 0 if zone.gone else Either((len(there), certain)),
                "withheld_removals": sum(image.withheld for image in there),
                "last_complete_at": whole[-1].scan.observed if whole else None,
                "approved_removals": zone.approval,
            }
        return rows

    def gaps(self) -> dict[tuple[str, str, int], dict[str, Any]]:
        """The rows of the view ``image_gaps``."""
        return {
            (name, image_id, gap.gap_from): {
                "gap_to": gap.gap_to,
                "ended_by": gap.ended_by,
                "rule": Either(gap.rules),
                "withheld": Either(gap.withheld),
                "last_listed_at": gap.last_listed,
            }
            for name, zone in self.zones.items()
            for image_id, image in zone.images.items()
            for gap in image.gaps
        }

    def coverage(self, name: str, at: int, clock: int) -> dict[str, Any]:
        """The row of ``zone_coverage``: the last whole look by then, the first that ends after."""
        zone, gone = self.zones[name], self.gone_at(name, at)
        beyond = self.beyond(at, clock)
        pruned = zone.kept_from is not None and at < zone.kept_from
        whole = zone.whole_looks
        last = next((w.scan for w in reversed(whole) if w.scan.finished <= at), None)
        later = next((w.scan for w in whole if w.scan.finished > at), None)
        last = None if pruned else last
        known = "known" if gone is False and not pruned else "unknown"
        open_ = beyond is not False or pruned
        row = {
            "coverage": "unknown" if beyond is True else known,
            "gone": bool(gone),
            "last_complete_at": last.observed if last else None,
            "last_complete_finished_at": last.finished if last else None,
            "next_complete_at": later.observed if later else None,
            "next_complete_finished_at": later.finished if later else None,
        }
        if open_:
            row = {k: Either((v, None, *(() if k != "gone" else (False,)))) for k, v in row.items()}
            row["coverage"] = Either((known, "unknown")) if beyond is not True else "unknown"
            if pruned:  # what was before is not kept; the first look after it may be another
                row["coverage"] = "unknown"
                row |= {k: Either((None, *(getattr(w.scan, f) for w in whole)))
                        for k, f in _LOOK_COLUMNS.items()}  # fmt: skip
        return row

    def asof(self, name: str, image_id: str, at: int) -> dict[str, Any]:
        """The row of ``images_asof`` for an image that was present."""
        zone = self.zones[name]
        image = zone.images[image_id]
        version = next(v for v in image.versions if covers(v.valid_from, v.valid_to, at))
        return version.values.row | {
            "valid_from": version.valid_from,
            "observed_at": observed(zone, image_id, at),
        }

    def boundaries(self) -> dict[int, set[Place]]:
        """Every instant at which an answer changes, and the images it changes of."""
        found: dict[int, set[Place]] = {}
        for run in self.runs.values():
            found.setdefault(run["finished_at"], set())
        for name, zone in self.zones.items():
            for look in zone.looks:
                found.setdefault(look.scan.finished, set())
            found |= {at: set() for at, _ in zone.spells if at not in found}
            if zone.kept_from is not None:
                found.setdefault(zone.kept_from, set())
            for image_id, image in zone.images.items():
                ends = [e for v in image.versions for e in (v.valid_from, v.valid_to)]
                ends += [e for gap in image.gaps for e in (gap.gap_from, gap.gap_to)]
                for end in ends:
                    if end is not None:
                        found.setdefault(end, set()).add((name, image_id))
        return found


_LOOK_COLUMNS: Final = {
    "last_complete_at": "observed",
    "last_complete_finished_at": "finished",
    "next_complete_at": "observed",
    "next_complete_finished_at": "finished",
}


def covers(start: int, end: int | None, at: int) -> bool:
    """Whether a half open interval holds an instant; without an end it goes on."""
    return start <= at and (end is None or at < end)


def remembered(removals: Iterable[Removal], back: Iterable[str], clock: int) -> tuple[int, ...]:
    """How long ago distinct images were removed that are not back; approved ones never count."""
    ages = {
        removal.image_id: clock - removal.clock
        for removal in removals
        if not removal.approved and removal.image_id not in set(back)
    }
    return tuple(ages.values())


def counts(answer: Answer, look: Look, *, approved: bool) -> bool:
    """Whether the answer to a question by id counts: the control is returned.

    Where nothing is listed there is no control, and an approval stands in for it.
    """
    if answer.question in {"failed", "denied"}:
        return False
    if not look.listed:
        return approved
    return answer.question != "nothing"


def status(look: Look) -> str:
    """A whole look is guarded while it withholds, changed if anything did, else unchanged."""
    if look.withheld:
        return "guarded"
    return "changed" if any(look.counts.values()) else "unchanged"


def exit_code(account: Account, ask: Pass, looks: dict[str, Look], faults: list[Any]) -> Any:
    """1: nothing usable was read. 3: a zone failed or was incomplete. 4: withheld. Else 0."""
    torn = any(look.status in {"failed", "incomplete"} for look in looks.values())
    fault = not ask.described or torn or any(one is True for one in faults)
    withheld = any(
        image.withheld
        for name, zone in account.zones.items()
        if ask.holds(name)
        for image in zone.images.values()
    )
    calm = 4 if withheld else 0
    if not fault:
        return Either((3, calm)) if any(isinstance(one, Either) for one in faults) else calm
    if any(look.whole or look.images for look in looks.values()):
        return 3
    usable = any(look.status in {"gone", "incomplete"} for look in looks.values())
    return Either((1, 3)) if usable else 1


def _kind(image: Image | None, values: State) -> str | None:
    """What a row that is seen is: appeared, returned, changed; or nothing new."""
    if image is None:
        return "appeared"
    if image.removed:
        return "returned"
    return "changed" if differing(image.values, values) else None


def _stamp(found: Mapping[Place, int], place: Place, what: str, low: int, high: int) -> int:
    """Return the instant of what happened to an image. Raises Disagreement."""
    at = found.get(place)
    if at is None:
        raise Disagreement(f"{what}: {place} has none")
    if not low <= at <= high:
        raise Disagreement(f"{what}: {place} at {at}, not between {low} and {high}")
    return at


def _same(rule: str, expected: set[Any], found: set[Any]) -> None:
    if expected != found:
        missing, surplus = sorted(expected - found), sorted(found - expected)
        raise Disagreement(f"{rule}: missing {missing}, too many {surplus}")
