"""A person's word: removals that are approved, zones that are retired."""

from __future__ import annotations

import asyncpg
import msgspec

from syncer.core.errors import ConfigError, NothingApproved
from syncer.core.hints import no_zone, place_options
from syncer.core.model import ZoneRef
from syncer.store.connection import Connection, Timing, sql
from syncer.store.lock import stamp_between_runs
from syncer.store.reading import zone_ids

_TIMING = Timing()


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that was recorded; ``withheld`` is how many removals wait for it now."""

    account: str
    zone: ZoneRef
    max_removals: int
    withheld: int
    gone: bool


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that was retired; ``listed`` is whether DescribeZones named it lately."""

    account: str
    zone: ZoneRef
    listed: bool
    again: bool


async def approve(
    connection: Connection,
    *,
    account: str | None,
    service: str | None,
    zone_id: str,
    max_removals: int,
    by: str,
    timing: Timing = _TIMING,
) -> Approved:
    """Approve up to ``max_removals`` removals at the zone's next whole look.

    Replaces an approval that is pending. Raises ConfigError where the zone is not one, and
    TransactionFailed where a run is in the way.
    """
    async with connection.transaction():
        zone = await _named(connection, account, service, zone_id)
        key = zone["zone_key"]
        at = await stamp_between_runs(connection, zone["account"], timing)
        await connection.execute(sql("zone/approval_replace"), key, at)
        await connection.execute(sql("zone/look_forget"), key)
        await connection.fetchrow(sql("zone/approval_add"), key, max_removals, by, at)
        await connection.execute(sql("zone/stamp"), key, at)
    return Approved(
        account=zone["account"],
        zone=ZoneRef(zone["service"], zone["zone_id"]),
        max_removals=max_removals,
        withheld=zone["withheld"],
        gone=zone["gone"],
    )


async def approve_run(
    connection: Connection, *, run_id: int, max_removals: int, by: str, timing: Timing = _TIMING
) -> list[Approved]:
    """Approve exactly what a run withheld by a rule of its own and is withheld still.

    Each image is asked for at its own zone's next whole look. Raises ConfigError for a run that is
    not known, and NothingApproved where there are none, or more than ``max_removals``.
    """
    async with connection.transaction():
        zones = await connection.fetch(sql("run/withheld_by"), run_id)
        if not zones:
            raise ConfigError(f"run {run_id} is not known: see 'syncer runs'")
        account = zones[0]["account"]
        at = await stamp_between_runs(connection, account, timing)
        zones = [z for z in await connection.fetch(sql("run/withheld_by"), run_id) if z["withheld"]]
        count = sum(zone["withheld"] for zone in zones)
        if not count:
            raise NothingApproved(
                f"nothing is withheld that run {run_id} withheld as a whole: see 'syncer images "
                "--withheld'; what a zone's own rule withholds is approved by its zone"
            )
        if count > max_removals:
            raise NothingApproved(
                f"nothing was approved: run {run_id} withheld {count} removals, more than "
                f"{max_removals}"
            )
        for zone in zones:
            key = zone["zone_key"]
            await connection.fetch(sql("zone/approve_run"), key, run_id, by, at)
            await connection.execute(sql("zone/look_forget"), key)
            await connection.execute(sql("zone/stamp"), key, at)
    return [
        Approved(
            account=account,
            zone=ZoneRef(zone["service"], zone["zone_id"]),
            max_removals=zone["withheld"],
            withheld=zone["withheld"],
            gone=False,
        )
        for zone in zones
    ]


async def retire(
    connection: Connection,
    *,
    account: str | None,
    service: str | None,
    zone_id: str,
    by: str,
    timing: Timing = _TIMING,
) -> Retired:
    """Note a person's word that a zone is gone: its images are unknown until it is listed again.

    Raises ConfigError where the zone is not one, TransactionFailed where a run is in the way.
    """
    async with connection.transaction():
        zone = await _named(connection, account, service, zone_id)
        at = await stamp_between_runs(connection, zone["account"], timing)
        await connection.execute(sql("zone/look_forget"), zone["zone_key"])
        first = await connection.fetchval(sql("zone/retire"), zone["zone_key"], at, by)
    return Retired(
        account=zone["account"],
        zone=ZoneRef(zone["service"], zone["zone_id"]),
        listed=zone["listed"],
        again=not first,
    )


async def _named(
    connection: Connection, account: str | None, service: str | None, zone_id: str
) -> asyncpg.Record:
    """Return the one zone that is meant. Raises ConfigError."""
    zones = await connection.fetch(sql("zone/named"), account, service, zone_id)
    if not zones:
        accounts, services = ([one] if one else [] for one in (account, service))
        raise no_zone([zone_id], await zone_ids(connection, accounts, services))
    if len(zones) > 1:
        which = ", ".join(
            place_options(account=zone["account"], service=zone["service"]) for zone in zones
        )
        raise ConfigError(f"zone {zone_id!r} is ambiguous; say which: {which}")
    zone: asyncpg.Record = zones[0]
    return zone
