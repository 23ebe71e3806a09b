"""Approvals: a person allows withheld removals of a zone, once, up to a number."""

from __future__ import annotations

import msgspec

from syncer.core.errors import ConfigError
from syncer.core.hints import place_options
from syncer.core.model import ZoneRef
from syncer.store.connection import Connection, sql


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that was recorded; ``withheld`` is how many removals wait for it now."""

    account: str
    zone: ZoneRef
    max_removals: int
    withheld: int
    gone: bool


async def approve(
    connection: Connection,
    *,
    account: str | None,
    service: str | None,
    zone_id: str,
    max_removals: int,
    by: str,
) -> Approved:
    """Approve up to ``max_removals`` removals at the zone's next whole look.

    Replaces an approval that is pending. Raises ConfigError where the zone is not one.
    """
    async with connection.transaction():
        zones = await connection.fetch(sql("zone/approval_zones"), account, service, zone_id)
        if not zones:
            raise ConfigError(f"no zone {zone_id!r} is known: see the ids with 'syncer zones'")
        if len(zones) > 1:
            which = ", ".join(
                place_options(account=zone["account"], service=zone["service"]) for zone in zones
            )
            raise ConfigError(f"zone {zone_id!r} is ambiguous; say which: {which}")
        zone = zones[0]
        await connection.execute(sql("zone/approval_replace"), zone["zone_key"])
        await connection.execute(sql("zone/look_forget"), zone["zone_key"])
        await connection.fetchrow(sql("zone/approval_add"), zone["zone_key"], max_removals, by)
    return Approved(
        account=zone["account"],
        zone=ZoneRef(zone["service"], zone["zone_id"]),
        max_removals=max_removals,
        withheld=zone["withheld"],
        gone=zone["gone"],
    )
