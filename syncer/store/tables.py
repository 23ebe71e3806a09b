"""Writing the tables of ``syncer_store``, in sets, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import Final

import msgspec
import structlog

from syncer.core.diff import Diff, Tally, new_names
from syncer.core.guard import Judged
from syncer.core.line import NULL, Block
from syncer.core.model import TRACKED, Fault, ListedZone, Looked
from syncer.store.connection import Connection, sql
from syncer.store.planning import StoredZone
from syncer.store.runs import Run

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
"""The columns that ``Block.rows`` fills."""
_COPIED_AT_ONCE: Final = 1000
"""Rows a chunk of COPY: large enough that chunks cost little, small enough to be held twice."""
_log = structlog.get_logger()


async def describe_zones(connection: Connection, account: str, zones: Sequence[ListedZone]) -> None:
    """Store zones that are new or described anew."""
    await connection.fetch(
        sql("zone/upsert"),
        account,
        [zone.ref.service for zone in zones],
        [zone.ref.zone_id for zone in zones],
        [zone.name for zone in zones],
        [zone.attributes for zone in zones],
    )


async def write_diff(connection: Connection, run: Run, zone: StoredZone, diff: Diff) -> int:
    """Write a diff in sets; return the ordinal of its last change."""
    if diff.appeared:
        await _copy_appeared(connection, run, zone, diff.appeared)
    if diff.changes:
        before = run.reserve_ordinals(len(diff.changes))
        images = [change.image for change in diff.changes]
        await connection.execute(
            sql("image/change"),
            zone.key,
            run.run_id,
            zone.last_complete_at,
            [image.image_id for image in images],
            [image.extra for image in images],
            [image.fingerprint for image in images],
            [image.extra_digest for image in images],
            [change.kind for change in diff.changes],
            [before + ordinal for ordinal in range(1, len(images) + 1)],
            [",".join(change.fields) for change in diff.changes],
            *zip(*(image.tracked for image in images), strict=True),
        )
    if diff.refreshed:
        await connection.execute(
            sql("image/refresh"),
            zone.key,
            [image.image_id for image in diff.refreshed],
            [image.extra for image in diff.refreshed],
            [image.fingerprint for image in diff.refreshed],
            [image.extra_digest for image in diff.refreshed],
        )
    if diff:
        await record_new_names(connection, run, zone.ref.service, diff)
    return run.last_change if diff.appeared or diff.changes else 0


async def _copy_appeared(connection: Connection, run: Run, zone: StoredZone, block: Block) -> None:
    """Copy images that were never stored."""
    before = run.reserve_ordinals(len(block))
    whole = zone.last_complete_at
    rows = block.rows(
        f"{zone.key}", f"{run.run_id}\t{whole.isoformat() if whole else NULL}", before + 1
    )

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := "".join(islice(rows, _COPIED_AT_ONCE)):
            yield chunk.encode()

    await connection.copy_to_table(
        "images", schema_name="syncer_store", columns=COPIED, source=chunks(), format="text"
    )


async def record_new_names(connection: Connection, run: Run, service: str, diff: Diff) -> None:
    """Record and log names in ``extra`` that this account's service never sent before."""
    written = (*(change.image for change in diff.changes), *diff.refreshed)
    extras = diff.appeared.extras().union(image.extra for image in written if image.extra)
    if not extras:
        return
    if service not in run.extra_names:
        rows = await connection.fetch(sql("run/extra_names"), run.account, service)
        run.extra_names[service] = {row["name"] for row in rows}
    known = run.extra_names[service]
    if names := new_names(known, extras):
        await connection.execute(
            sql("run/extra_names_add"), run.account, service, names, run.run_id
        )
        known.update(names)
        _log.info("field.appeared", account=run.account, service=service, names=names)


async def adjust_counts(
    connection: Connection,
    zone: StoredZone,
    *,
    present: int = 0,
    withheld: int = 0,
    gone: bool = False,
    back: bool = False,
) -> None:
    """Add to a zone's counts of images; note that it is gone, or back."""
    if present or withheld or gone or back:
        await connection.execute(sql("zone/update"), zone.key, present, withheld, gone, back)


async def record_scan(
    connection: Connection,
    run: Run,
    zone: StoredZone,
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
        sql("zone/scan_insert"),
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
        *fault_columns(fault),
    )


async def record_unchanged(
    connection: Connection, run: Run, seen: Sequence[tuple[StoredZone, Looked, int]]
) -> None:
    """Record whole looks that read what is stored: for each its zone, look, number of images."""
    scans = [
        {
            "zone_key": zone.key,
            "started": looked.started_at,
            "observed": looked.observed_at,
            "listed": looked.listed,
            "pages": looked.pages,
            "images": images,
            "rereads": looked.rereads,
        }
        for zone, looked, images in seen
    ]
    await connection.execute(
        sql("zone/scans_unchanged"), run.run_id, msgspec.json.encode(scans).decode()
    )


async def decide_approval(
    connection: Connection, run: Run, zone: StoredZone, judged: Judged
) -> None:
    """Use up the zone's pending approval, and log what became of it."""
    candidates = len(judged.candidates.image_ids)
    row = await connection.fetchrow(
        sql("zone/approval_decide"), zone.key, judged.approval, run.run_id, candidates
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


def fault_columns(fault: Fault | None) -> tuple[str | None, str | None, str | None]:
    """Return a fault as the columns of a scan hold it."""
    return (fault.code, fault.message, fault.request_id) if fault else (None, None, None)
