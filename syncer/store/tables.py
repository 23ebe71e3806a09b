"""Writing the tables of ``syncer_store``, in sets, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec
import structlog

from syncer.core.diff import Diff, new_names
from syncer.core.guard import Judged
from syncer.core.line import NULL, Block
from syncer.core.model import TRACKED, Fault, ListedZone, Looked
from syncer.core.paging import Unchanged
from syncer.store import looks
from syncer.store.connection import Connection, sql
from syncer.store.planning import StoredZone
from syncer.store.results import Written
from syncer.store.runs import Run

COPIED: Final = (
    "zone_key",
    "image_id",
    *TRACKED,
    "extra",
    "added",
    "fingerprint",
    "extra_digest",
    "valid_from",
    "first_seen_at",
    "opened_run_id",
    "opened_not_before",
    "opened_ordinal",
)
"""The columns that ``Block.rows`` fills."""
_COPIED_AT_ONCE: Final = 1000
"""Rows a chunk of COPY: large enough that chunks cost little, small enough to be held twice."""
_log = structlog.get_logger()


async def describe_zones(
    connection: Connection, account: str, zones: Sequence[ListedZone], at: datetime
) -> None:
    """Store zones that are new or described anew."""
    await connection.fetch(
        sql("zone/upsert"),
        account,
        [zone.ref.service for zone in zones],
        [zone.ref.zone_id for zone in zones],
        [zone.name for zone in zones],
        [zone.attributes for zone in zones],
        at,
    )


async def write_diff(
    connection: Connection, run: Run, zone: StoredZone, diff: Diff, at: datetime
) -> int:
    """Write a diff in sets, stamped ``at``; return the ordinal of its last change."""
    if diff.appeared:
        await _copy_appeared(connection, run, zone, diff.appeared, at)
    if diff.changes:
        before = run.reserve_ordinals(len(diff.changes))
        images = [change.image for change in diff.changes]
        await connection.execute(
            sql("image/change"),
            zone.key,
            run.run_id,
            zone.last_complete_at,
            at,
            [image.image_id for image in images],
            [image.extra for image in images],
            [image.fingerprint for image in images],
            [image.extra_digest for image in images],
            [change.kind for change in diff.changes],
            [before + ordinal for ordinal in range(1, len(images) + 1)],
            [",".join(change.fields) for change in diff.changes],
            [image.added for image in images],
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
            [image.added for image in diff.refreshed],
        )
    if diff:
        await record_new_names(connection, run, zone.ref.service, diff)
    return run.last_change if diff.appeared or diff.changes else 0


async def _copy_appeared(
    connection: Connection, run: Run, zone: StoredZone, block: Block, at: datetime
) -> None:
    """Copy images that were never stored."""
    before = run.reserve_ordinals(len(block))
    whole = zone.last_complete_at
    stamp, not_before = at.isoformat(), whole.isoformat() if whole else NULL
    opened = f"{stamp}\t{stamp}\t{run.run_id}\t{not_before}"
    rows = block.rows(f"{zone.key}", opened, before + 1)

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
    at: datetime,
    *,
    present: int = 0,
    gone: bool = False,
    back: bool = False,
    first_run_id: int | None = None,
    listed: bool | None = None,
) -> None:
    """Add to a zone's count of images; note that it is gone, back, looked at first, or listed."""
    if present or gone or back or first_run_id is not None or listed not in {None, zone.listed}:
        await connection.execute(
            sql("zone/update"), zone.key, present, gone, back, at, first_run_id, listed
        )
    if back:
        await connection.execute(sql("zone/retirement_end"), zone.key, at)


async def record_scan(
    connection: Connection,
    run: Run,
    zone: StoredZone,
    looked: Looked,
    at: datetime,
    *,
    written: Written,
    last_change: int,
) -> None:
    """Record what came of reading a zone."""
    tally = written.tally
    await connection.execute(
        sql("zone/scan_insert"),
        zone.key,
        run.run_id,
        looked.started_at,
        looked.observed_at,
        at,
        written.status,
        looked.listed,
        looked.pages,
        written.images,
        tally.appeared,
        tally.changed,
        tally.returned,
        len(written.withheld),
        written.rejected,
        looked.rereads,
        last_change,
        *fault_columns(written.fault),
    )


async def record_unchanged(
    connection: Connection,
    run: Run,
    seen: Sequence[tuple[StoredZone, Unchanged]],
    key_digest: bytes | None,
) -> None:
    """Record whole looks that read what is stored, each with its zone.

    ``key_digest`` is of the credentials that they were read with.
    """
    others = [zone.key for zone, _ in seen if zone.notes_key(key_digest)]
    if others:
        await connection.execute(sql("zone/key"), others, key_digest)
    scans = [
        {
            "zone_key": zone.key,
            "started": same.looked.started_at,
            "observed": same.looked.observed_at,
            "listed": same.looked.listed,
            "pages": same.looked.pages,
            "images": same.images,
            "rereads": same.looked.rereads,
        }
        for zone, same in seen
    ]
    moved = [
        (zone.key, same.looked.is_listed)
        for zone, same in seen
        if same.looked.is_listed not in {None, zone.listed}
    ]
    if moved:
        keys, listed = zip(*moved, strict=True)
        await connection.execute(sql("zone/listed"), list(keys), list(listed))
    looked = [(zone.key, zone.before, same.look) for zone, same in seen]
    if respelt := [each for each in looked if each[1] != each[2]]:
        await looks.keep_respelt(connection, respelt)
    await connection.execute(
        sql("zone/scans_unchanged"),
        run.run_id,
        msgspec.json.encode(scans).decode(),
        run.timeline.now(),
    )


async def decide_approval(
    connection: Connection, run: Run, zone: StoredZone, judged: Judged, at: datetime
) -> None:
    """Note what becomes of the zone's pending approval, and log it.

    One that applies is used up when its removals are settled.
    """
    if judged.approval == "waits":
        return
    candidates = len(judged.missed)
    if judged.approval == "applied":
        row = await connection.fetchrow(sql("zone/approval_apply"), zone.key, run.run_id)
    else:
        row = await connection.fetchrow(
            sql("zone/approval_decide"), zone.key, judged.approval, run.run_id, candidates, at
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
