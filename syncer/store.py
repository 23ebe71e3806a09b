"""Reading and writing the tables of ``syncer_store``, in sets, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from syncer import looks
from syncer.core.diff import Diff, Stored, Tally, compare, differing, new_names
from syncer.core.guard import Judged
from syncer.core.model import TRACKED, Fault, Image, ListedZone, Looked, ZoneRef
from syncer.core.page import PART
from syncer.core.paging import LARGE, Look, Snapshot
from syncer.core.sources.base import PARSER
from syncer.db import Connection, sql
from syncer.ledger import Run

COPIED: Final = (
    "zone_key",
    "image_id",
    *TRACKED,
    "extra",
    "fingerprint",
    "extra_digest",
    "opened_run_id",
    "opened_not_before",
    "opened_ordinal",
)
_log = structlog.get_logger()


class Zone(msgspec.Struct, kw_only=True):
    """A zone as it is stored."""

    key: int
    ref: ZoneRef
    name: str | None
    attributes: str
    gone: bool
    present: int
    withheld: int
    last_complete_at: datetime | None
    before: Look | None = None
    """What the last whole look read, where that is what is stored."""
    approved: int | None = None
    """The most removals that a pending approval allows at the zone's next whole look."""


async def known_zones(connection: Connection, account: str) -> dict[ZoneRef, Zone]:
    """Return every zone of an account as it is stored."""
    return {
        ZoneRef(row["service"], row["zone_id"]): Zone(
            key=row["zone_key"],
            ref=ZoneRef(row["service"], row["zone_id"]),
            name=row["zone_name"],
            attributes=row["attributes"],
            gone=row["gone"],
            present=row["present"],
            withheld=row["withheld"],
            last_complete_at=row["last_complete_at"],
            before=looks.read(row),
            approved=row["approved"],
        )
        for row in await connection.fetch(sql("zones_known"), account, PARSER)
    }


async def describe_zones(connection: Connection, account: str, zones: Sequence[ListedZone]) -> None:
    """Store zones that are new or described anew."""
    await connection.fetch(
        sql("zones_upsert"),
        account,
        [zone.ref.service for zone in zones],
        [zone.ref.zone_id for zone in zones],
        [zone.name for zone in zones],
        [zone.attributes for zone in zones],
    )


async def stored_images(connection: Connection, zone: Zone) -> dict[str, Stored]:
    """Return what is stored of a zone's images, by id, without their columns."""
    rows = await connection.fetch(sql("stored_digests"), zone.key)
    return {row[0]: Stored(*tuple(row)[1:]) for row in rows}


class Plan(msgspec.Struct, frozen=True):
    """What a look at a zone changes, or a part of it, and what it was compared with.

    ``unseen`` counts stored images, listed and present, that were not looked into.
    """

    stored: Mapping[str, Stored]
    diff: Diff = Diff((), (), ())
    unseen: int = 0


async def plans(connection: Connection, zone: Zone, snapshot: Snapshot) -> AsyncIterator[Plan]:
    """Yield what a whole look at a zone changes, part by part: each is to be written at once.

    Together they hold every stored image that is present and not listed.
    """
    offered, before = snapshot.offered, snapshot.before
    known = b""
    if before is not None:
        known = await connection.fetchval(sql("zone_look_rows"), zone.key) or b""
    if not known and len(offered) <= LARGE:
        yield await plan(connection, zone, offered.images())
        return
    fresh = present = 0
    for images in offered.parts(known):
        fresh += len(images)
        rows = await connection.fetch(sql("stored_some"), zone.key, list(images))
        stored = {row[0]: Stored(*tuple(row)[1:6]) for row in rows}
        present += sum(image.present for image in stored.values())
        ids = frozenset(differing(images, stored))
        columns = {row[0]: tuple(row)[6:] for row in rows if row[0] in ids}
        yield Plan(stored, compare(images, stored, columns))
    unseen = len(offered) - fresh
    # What is stored as present is what was listed before: is all of that listed still?
    if before is None or not known or before.images != unseen + present:
        ids = offered.ids
        held = connection.cursor(sql("stored_present"), zone.key, prefetch=PART)
        yield Plan({row[0]: Stored(*tuple(row)[1:]) async for row in held if row[0] not in ids})
    yield Plan({}, unseen=unseen)


async def plan(connection: Connection, zone: Zone, images: Mapping[str, Image]) -> Plan:
    """Return what seeing images of a zone changes."""
    stored = await stored_images(connection, zone)
    columns = {}
    if ids := differing(images, stored):
        rows = await connection.fetch(sql("stored_columns"), zone.key, ids)
        columns = {row[0]: tuple(row)[1:] for row in rows}
    return Plan(stored, compare(images, stored, columns))


async def write(connection: Connection, run: Run, zone: Zone, diff: Diff) -> int:
    """Write a diff in sets; return the ordinal of its last change."""
    if diff.appeared:
        before = run.number(len(diff.appeared))
        await connection.copy_records_to_table(
            "images",
            schema_name="syncer_store",
            columns=COPIED,
            records=(
                (
                    zone.key,
                    image.image_id,
                    *image.tracked,
                    image.extra,
                    image.fingerprint,
                    image.extra_digest,
                    run.run_id,
                    zone.last_complete_at,
                    before + ordinal,
                )
                for ordinal, image in enumerate(diff.appeared, 1)
            ),
        )
    if diff.changes:
        before = run.number(len(diff.changes))
        images = [change.image for change in diff.changes]
        await connection.execute(
            sql("images_change"),
            zone.key,
            run.run_id,
            zone.last_complete_at,
            [image.image_id for image in images],
            *([image.tracked[n] for image in images] for n in range(len(TRACKED))),
            [image.extra for image in images],
            [image.fingerprint for image in images],
            [image.extra_digest for image in images],
            [change.kind for change in diff.changes],
            [before + ordinal for ordinal in range(1, len(images) + 1)],
            [",".join(change.fields) for change in diff.changes],
        )
    if diff.refreshed:
        await connection.execute(
            sql("images_refresh"),
            zone.key,
            [image.image_id for image in diff.refreshed],
            [image.extra for image in diff.refreshed],
            [image.fingerprint for image in diff.refreshed],
            [image.extra_digest for image in diff.refreshed],
        )
    if diff:
        await announce(connection, run, zone.ref.service, diff)
    return run.last_change if diff.appeared or diff.changes else 0


async def announce(connection: Connection, run: Run, service: str, diff: Diff) -> None:
    """Record and log names in ``extra`` that this account's service never sent before."""
    written = [*diff.appeared, *(change.image for change in diff.changes), *diff.refreshed]
    if service not in run.extra_names:
        rows = await connection.fetch(sql("extra_names"), run.account, service)
        run.extra_names[service] = {row["name"] for row in rows}
    known = run.extra_names[service]
    if names := new_names(known, written):
        await connection.execute(sql("extra_names_add"), run.account, service, names, run.run_id)
        known.update(names)
        _log.info("field.appeared", account=run.account, service=service, names=names)


async def count(
    connection: Connection,
    zone: Zone,
    *,
    present: int = 0,
    withheld: int = 0,
    gone: bool = False,
    back: bool = False,
) -> None:
    """Keep a zone's counts in step with its images, and note that it went or came back."""
    if present or withheld or gone or back:
        await connection.execute(sql("zone_update"), zone.key, present, withheld, gone, back)


async def record(
    connection: Connection,
    run: Run,
    zone: Zone,
    looked: Looked,
    *,
    status: str,
    images: int,
    tally: Tally,
    rejected: int,
    last_change: int,
    fault: Fault | None,
) -> None:
    """Record what came of reading a zone."""
    await connection.execute(
        sql("scans_insert"),
        zone.key,
        run.run_id,
        looked.started_at,
        looked.observed_at,
        status,
        looked.listed,
        looked.pages,
        images,
        tally.appeared,
        tally.changed,
        tally.returned,
        0,
        rejected,
        looked.rereads,
        last_change,
        *told(fault),
    )


async def record_unchanged(
    connection: Connection, run: Run, seen: Sequence[tuple[Zone, Looked, int]]
) -> None:
    """Record whole looks that read what is stored: for each its zone, look, number of images."""
    await connection.execute(
        sql("scans_unchanged"),
        run.run_id,
        [zone.key for zone, _, _ in seen],
        [looked.started_at for _, looked, _ in seen],
        [looked.observed_at for _, looked, _ in seen],
        [looked.listed for _, looked, _ in seen],
        [looked.pages for _, looked, _ in seen],
        [images for _, _, images in seen],
        [looked.rereads for _, looked, _ in seen],
    )


async def decide(connection: Connection, run: Run, zone: Zone, judged: Judged) -> None:
    """Use up the zone's approval and say what came of it."""
    candidates = len(judged.candidates.image_ids)
    row = await connection.fetchrow(
        sql("approval_decide"), zone.key, judged.approval, run.run_id, candidates
    )
    _log.warning(
        f"approval.{judged.approval}",
        account=run.account,
        service=zone.ref.service,
        zone=zone.ref.zone_id,
        max_removals=judged.approved,
        removals=candidates,
        approved_by=row["approved_by"] if row else None,
    )


def told(fault: Fault | None) -> tuple[str | None, str | None, str | None]:
    """Return a fault as the columns of a scan hold it."""
    return (fault.code, fault.message, fault.request_id) if fault else (None, None, None)
