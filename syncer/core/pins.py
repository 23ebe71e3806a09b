"""Pinned images, compared with what is stored.

A pin is an image that somebody relies on: a zone, an id, and the values it is expected to have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import msgspec

from syncer.core import added
from syncer.core.glob import matches
from syncer.core.model import TRACKED, Tracked, name_of
from syncer.core.normalise import changed_fields
from syncer.core.replacement import Replacement, in_words


class Pin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pinned image; ``expected`` holds the tracked columns that are compared."""

    zone_id: str
    image_id: str
    account: str | None = None
    service: str | None = None
    expected: dict[str, str | None]


class KnownZone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that is stored; ``age`` is the time since its last whole look."""

    account: str
    service: str
    zone_id: str
    gone_at: datetime | None
    last_complete_at: datetime | None
    age: timedelta | None


Zones = Mapping[tuple[str, str], KnownZone]
"""The zones of one id, by account and service."""


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored image with the zone id and image id of a pin."""

    account: str
    service: str
    presence: str
    tracked: Tracked
    added: added.Values = {}
    """The later tracked columns that are known."""
    removed_at: datetime | None
    not_before: datetime | None
    withheld_since: datetime | None
    unlisted_since: datetime | None = None
    replaced_by: tuple[Replacement, ...] = ()


class PinAnswer(msgspec.Struct, kw_only=True, gc=False):
    """What became of a pin: a row of ``syncer check``."""

    status: str
    reason: str | None = None
    account: str | None
    service: str | None
    zone_id: str
    image_id: str
    image_name: str | None
    changed_fields: tuple[str, ...] = ()
    before: dict[str, str | None] | None = None
    after: dict[str, str | None] | None = None
    withheld_since: datetime | None = None
    removed_at: datetime | None = None
    not_before: datetime | None = None
    last_complete_at: datetime | None = None
    replaced_by: tuple[Replacement, ...] | None = None


NEVER_SEEN: Final = "never seen in this zone; is the id right?"
"""Of a pin in a zone that was read whole."""
STATUSES: Final = ("present", "changed", "removed", "unknown")
COLUMNS: Final = PinAnswer.__struct_fields__


def exit_code(statuses: Iterable[str]) -> int:
    """Return 6 where anything changed or was removed, else 3 where anything is unknown, else 0."""
    seen = set(statuses)
    if seen & {"changed", "removed"}:
        return 6
    return 3 if "unknown" in seen else 0


def selected(
    pins: Iterable[Pin], accounts: Sequence[str], services: Sequence[str], zones: Sequence[str]
) -> list[Pin]:
    """Return the pins that the filters let through; one without an account may be in any."""
    return [
        pin
        for pin in pins
        if (not accounts or pin.account is None or pin.account in accounts)
        and (not services or pin.service is None or pin.service in services)
        and (not zones or any(matches(glob, pin.zone_id) for glob in zones))
    ]


def wanted(pin: Pin, found: Sequence[Found], images: Sequence[str]) -> bool:
    """Return whether a glob matches the pin's id, or its name: expected, or stored."""
    if not images:
        return True
    names = {
        pin.image_id,
        pin.expected.get("image_name"),
        *(name_of(image.tracked) for image in found),
    }
    return any(name is not None and matches(glob, name) for glob in images for name in names)


def check_pin(
    pin: Pin, found: Sequence[Found], zones: Zones, max_age: timedelta | None = None
) -> list[PinAnswer]:
    """Return what became of a pin: an answer for each stored image that it means, or one.

    ``zones`` are the known ones of its zone id. A last whole look that is older than ``max_age``
    makes the answer unknown, whatever is stored.
    """
    if found:
        return [_seen(pin, image, zones[image.account, image.service], max_age) for image in found]
    meant = [
        zone
        for zone in zones.values()
        if pin.account in {None, zone.account} and pin.service in {None, zone.service}
    ]
    return [_never_seen(pin, meant, max_age)]


def _seen(pin: Pin, image: Found, zone: KnownZone, max_age: timedelta | None) -> PinAnswer:
    answer = PinAnswer(
        status="present",
        account=image.account,
        service=image.service,
        zone_id=pin.zone_id,
        image_id=pin.image_id,
        image_name=pin.expected.get("image_name") or name_of(image.tracked),
        withheld_since=image.withheld_since,
        removed_at=image.removed_at,
        not_before=image.not_before,
        last_complete_at=zone.last_complete_at,
        replaced_by=image.replaced_by or None,
    )
    if image.presence == "unknown":
        answer.status, answer.reason = "unknown", _unknown(image, zone)
    elif max_age is not None and (old := _too_old(zone, max_age)):
        answer.status, answer.reason = "unknown", old
    elif image.presence == "absent":
        answer.status, answer.reason = "removed", _removed(image)
    elif fields := _changed(pin, image):
        stored = dict(zip(TRACKED, image.tracked, strict=True)) | dict(image.added)
        answer.status = "changed"
        answer.changed_fields = fields
        answer.before = {name: pin.expected[name] for name in fields}
        answer.after = {name: stored[name] for name in fields}
        answer.reason = "; ".join(
            f"{name} was {_short(answer.before[name])}, is {_short(answer.after[name])}"
            for name in fields
        )
    if answer.reason and image.replaced_by:
        answer.reason += f"; {in_words(image.replaced_by)}"
    return answer


def _changed(pin: Pin, image: Found) -> tuple[str, ...]:
    later = added.changed(pin.expected, image.added)
    expected = tuple(map(pin.expected.get, TRACKED, image.tracked))
    if expected == image.tracked:  # as nearly all are
        return later
    return changed_fields(msgspec.convert(expected, Tracked), image.tracked) + later


def _never_seen(pin: Pin, zones: Sequence[KnownZone], max_age: timedelta | None) -> PinAnswer:
    only = zones[0] if len(zones) == 1 else None
    looks = [zone.last_complete_at for zone in zones if zone.last_complete_at]
    reason = NEVER_SEEN if zones else "no such zone is known"
    for zone in zones:
        if doubt := _doubt(zone, max_age):
            reason = f"never seen, but {doubt}"
    return PinAnswer(
        status="unknown",  # what was never there was not removed: the pin may be misspelt
        reason=reason,
        account=only.account if only else pin.account,
        service=only.service if only else pin.service,
        zone_id=pin.zone_id,
        image_id=pin.image_id,
        image_name=pin.expected.get("image_name"),
        last_complete_at=min(looks) if looks and len(looks) == len(zones) else None,
    )


def _doubt(zone: KnownZone, max_age: timedelta | None) -> str | None:
    """Return why an image that was never seen in this zone may be there all the same."""
    if zone.gone_at is not None:
        return _gone(zone)
    if zone.last_complete_at is None:
        return _UNSEEN
    return None if max_age is None else _too_old(zone, max_age)


_UNSEEN: Final = "the zone was never read whole"


def _gone(zone: KnownZone) -> str:
    return f"the zone is gone since {_time(zone.gone_at)}"


def _unknown(image: Found, zone: KnownZone) -> str:
    if zone.gone_at is not None:
        return _gone(zone)
    withheld = "; its removal is withheld" if image.withheld_since else ""
    return f"not listed since {_time(image.unlisted_since)}, not confirmed absent{withheld}"


def _too_old(zone: KnownZone, max_age: timedelta) -> str | None:
    if zone.age is None:
        return _UNSEEN
    if zone.age <= max_age:
        return None
    return f"the last whole look is {_span(zone.age)} old, more than {_span(max_age)}"


def _removed(image: Found) -> str:
    listed = f", last listed {_time(image.not_before)}" if image.not_before else ""
    return f"confirmed absent {_time(image.removed_at)}{listed}"


def _time(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M}Z" if when else "an unknown time"


def _span(span: timedelta) -> str:
    """Return a duration in its two largest units."""
    seconds = int(span.total_seconds())
    sizes = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for (name, size), (lesser, part) in pairwise(sizes):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size}{name} {rest}{lesser}" if rest else f"{seconds // size}{name}"
    return f"{seconds}s"


_SHORT: Final = 60


def _short(value: str | None) -> str:
    if value is None:
        return "null"
    if not value:
        return "empty"
    return value if len(value) <= _SHORT else f"{value[: _SHORT - 1]}\N{HORIZONTAL ELLIPSIS}"


def summary(answers: Iterable[PinAnswer]) -> str:
    """Return how many pins have which status, in one line."""
    counts: Counter[str] = Counter()
    withheld = never_seen = 0
    for answer in answers:
        counts[answer.status] += 1
        withheld += answer.status == "unknown" and answer.withheld_since is not None
        never_seen += answer.reason == NEVER_SEEN
    unknown = []
    if withheld:
        unknown.append(f"{withheld:,} of them with a withheld removal")
    if never_seen:
        unknown.append(f"{never_seen:,} of them never seen")
    parts = [f"{counts[status]:,} {status}" for status in STATUSES]
    if unknown:
        parts[STATUSES.index("unknown")] += f" ({', '.join(unknown)})"
    return ", ".join(parts)
