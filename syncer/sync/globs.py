"""Globs that select nothing: a mistake of the command line, found before a run begins.

A run that was begun for it would stand in the history as a failed one, and alert.
"""

from __future__ import annotations

import msgspec

from syncer.core.hints import no_zone
from syncer.store.connection import Server
from syncer.store.planning import known_zones
from syncer.store.schema import check_schema
from syncer.sync.listing import Listings, zones_of
from syncer.sync.options import RunOptions
from syncer.sync.selection import plan


class Selected(msgspec.Struct, frozen=True):
    """Whether globs select ``anything`` of an account, and those that match no zone of it."""

    anything: bool
    unmatched: tuple[str, ...]


async def check_globs(options: RunOptions, server: Server, listings: Listings) -> Selected | None:
    """Return what the globs of a run select; None: there are none, or the zones are not known.

    Raises NoZone where one matches nothing, unless the selection is of other accounts too.
    """
    selection = options.selection
    if not selection.globs or (found := await listings.reliable()) is None:
        return None
    listed = {zone.ref for zone in zones_of(found, selection.services)}
    async with server.session(name="syncer sync", within=server.timing.begin) as connection:
        await check_schema(connection, server.where)
        known = await known_zones(connection, options.account, {})
    zones = listed | known.keys()
    unmatched = selection.unmatched(zones)
    targets = plan({ref for ref in listed if selection.holds(ref)}, known, selection, set())
    if (unmatched or not targets) and not options.beside:
        globs = unmatched or selection.zones or selection.not_zones
        raise no_zone(globs, {ref.zone_id for ref in zones})
    return Selected(bool(targets), unmatched)
