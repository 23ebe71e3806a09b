"""Globs that select nothing: a mistake of the command line, found before a run begins.

A run that was begun for it would stand in the history as a failed one, and alert.
"""

from __future__ import annotations

from syncer.core.errors import NoZone
from syncer.core.hints import ALL_LEFT_OUT, no_zone
from syncer.store.connection import Server
from syncer.store.planning import known_zones
from syncer.store.schema import check_schema
from syncer.sync.listing import Listings, zones_of
from syncer.sync.options import RunOptions
from syncer.sync.report import Report
from syncer.sync.selection import plan


async def selects_anything(
    options: RunOptions, server: Server, listings: Listings, report: Report
) -> bool:
    """Return whether anything of an account is selected, as far as its zones are known.

    The report gets the globs that match none; where nothing is selected, it is one of success,
    with the zones that are selected and gone. Raises NoZone for those globs, and where all is left
    out, unless the selection is of other accounts too.
    """
    selection = options.selection
    if not selection.globs or (found := await listings.reliable()) is None:
        return True
    listed = {zone.ref for zone in zones_of(found, selection.services)}
    async with server.session(name="syncer sync", within=server.timing.begin) as connection:
        await check_schema(connection, server.where)
        known = await known_zones(connection, options.account, {})
    zones = listed | known.keys()
    unmatched = selection.unmatched(zones)
    targets = plan({ref for ref in listed if selection.holds(ref)}, known, selection, set())
    if unmatched and not options.beside:
        ids = {ref.zone_id for ref in zones if ref.service in selection.services}
        raise no_zone(unmatched, ids)
    report.unmatched = unmatched
    if targets:
        return True
    report.still_gone = tuple(sorted(ref.zone_id for ref in zones if selection.holds(ref)))
    if not report.still_gone and not options.beside:
        raise NoZone(ALL_LEFT_OUT)
    report.status = "succeeded"
    return False
