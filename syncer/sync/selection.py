"""What a run is asked to look at, and which zones that is."""

from __future__ import annotations

import msgspec

from syncer.core.glob import matches
from syncer.core.model import ZoneRef
from syncer.store.planning import StoredZone
from syncer.sync.zones import Target


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked to look at; ``zones`` are globs (none: every zone).

    ``full`` is whether every zone is compared with what is stored, even if it reads the same.
    """

    services: tuple[str, ...]
    zones: tuple[str, ...] = ()
    full: bool = False

    def holds(self, ref: ZoneRef) -> bool:
        """Return whether a zone is selected."""
        return ref.service in self.services and (
            not self.zones or any(matches(pattern, ref.zone_id) for pattern in self.zones)
        )


def plan(
    listed: set[ZoneRef],
    known: dict[ZoneRef, StoredZone],
    selection: Selection,
    unreliable: set[str],
) -> tuple[list[Target], list[ZoneRef]]:
    """Return the zones to read, and the known zones that the API no longer lists.

    Of a service whose list of zones is ``unreliable`` no zone is gone, and the known ones are read.
    """
    targets, gone = [], []
    for ref in sorted(listed | {ref for ref in known if selection.holds(ref)}):
        zone = known.get(ref)
        alive = zone is not None and not zone.gone
        if ref in listed or (ref.service in unreliable and alive):
            size = zone.present if zone is not None and zone.last_complete_at else None
            before = zone.before if zone is not None and not selection.full else None
            targets.append(Target(ref=ref, listed=ref in listed, size=size, before=before))
        elif alive:
            gone.append(ref)
    return targets, gone
