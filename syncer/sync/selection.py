"""What a run is asked to look at, and which zones that is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from syncer.core.glob import matches
from syncer.core.model import ZoneRef
from syncer.store.planning import StoredZone
from syncer.sync.zones import Target, largest_first


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked to look at; ``zones`` are globs (none: every zone).

    ``not_zones`` are globs of zones that are left out though they are selected. ``full`` is whether
    every zone is compared with what is stored, even if it reads the same.
    """

    services: tuple[str, ...]
    zones: tuple[str, ...] = ()
    not_zones: tuple[str, ...] = ()
    full: bool = False

    @property
    def globs(self) -> tuple[str, ...]:
        """All globs, of both kinds."""
        return self.zones + self.not_zones

    def holds(self, ref: ZoneRef) -> bool:
        """Return whether a zone is selected."""
        return (
            ref.service in self.services
            and (not self.zones or any(matches(pattern, ref.zone_id) for pattern in self.zones))
            and not any(matches(pattern, ref.zone_id) for pattern in self.not_zones)
        )

    def unmatched(self, zones: Collection[ZoneRef]) -> tuple[str, ...]:
        """Return the globs that match none of these zones: probably misspelt."""
        ids = {ref.zone_id for ref in zones if ref.service in self.services}
        return tuple(glob for glob in self.globs if not any(matches(glob, i) for i in ids))


def expected(
    known: Mapping[ZoneRef, StoredZone],
    selection: Selection,
    *,
    key_digest: bytes | None,
    at_most: int,
) -> list[Target]:
    """Return the zones to read, largest first, before it is known whether they are listed.

    They are those that the run before read whole with the same key, if it ended well and this run
    is neither selected nor ``full``. Of a token no digest is kept, so nothing is known to be the
    same.
    """
    if key_digest is None or selection.full or selection.globs:
        return []
    zones = (zone for ref, zone in known.items() if selection.holds(ref))
    targets = [
        _target(zone.ref, zone)
        for zone in zones
        if zone.read_last and not zone.gone and zone.key_digest == key_digest
    ]
    return sorted(targets, key=largest_first)[:at_most]


def plan(
    listed: set[ZoneRef],
    known: dict[ZoneRef, StoredZone],
    selection: Selection,
    unreliable: set[str],
) -> list[Target]:
    """Return the zones to read: those that are listed, and known ones that are not.

    A known zone that is no longer listed is asked for once more, in every run until it is gone.
    Of a service whose list of zones is ``unreliable`` no zone is gone for that.
    """
    targets = []
    for ref in sorted(listed | {ref for ref in known if selection.holds(ref)}):
        zone = known.get(ref)
        reliable = ref.service not in unreliable
        is_gone = zone is not None and zone.gone and (zone.asked_when_gone or not reliable)
        if ref not in listed and (zone is None or is_gone):
            continue
        targets.append(_target(ref, zone, full=selection.full))
    return targets


def _target(ref: ZoneRef, zone: StoredZone | None, *, full: bool = False) -> Target:
    return Target(
        ref=ref,
        size=zone.present if zone is not None and zone.last_complete_at else None,
        before=zone.before if zone is not None and not full else None,
    )
