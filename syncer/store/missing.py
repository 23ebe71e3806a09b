"""What whole looks did not list and is not removed: since when, how often, what the guard said.

An image is in the table ``missing`` from the first whole look that did not list it until it is seen
again or removed; then that time becomes a row of ``image_gaps``, in which it is unknown whether the
image was there. Everything here is done in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from syncer.core.guard import Candidate, Judged, Kind, Rule, Verdict
from syncer.core.model import ZoneRef
from syncer.core.paging import Candidates
from syncer.store.connection import Connection, sql
from syncer.store.planning import StoredZone
from syncer.store.runs import Run
from syncer.store.transaction import Transaction


async def record_missed(tx: Transaction, candidates: Candidates) -> tuple[Candidate, ...]:
    """Store which images a whole look did not list; return them with what is known of that."""
    ids = list(candidates.image_ids)
    if not ids:
        return ()
    if tx.run is not None:
        listed_at = tx.zone.last_complete_at
        await tx.connection.execute(
            sql("image/missed"), tx.zone.key, tx.run.run_id, tx.at, listed_at, ids
        )
    rows = await tx.connection.fetch(sql("zone/missing"), tx.zone.key, ids)
    more = tx.run is None  # what a dry run would have added
    return tuple(
        Candidate(
            image_id=row["image_id"],
            image_type=row["image_type"],
            looks=row["looks"] + more,
            judged=row["judged"],
            withheld=row["withheld"],
            rule=row["rule"],
            approved=row["approval_id"] is not None,
            renamed=row["renamed"],
        )
        for row in rows
    )


async def with_evidence(tx: Transaction, judged: Judged) -> Judged:
    """Return it with what the zone's own rules have to know of the past."""
    run_id = None if tx.run is None else tx.run.run_id
    ids = list(judged.candidates.image_ids)
    row = await tx.connection.fetchrow(sql("zone/turned_over"), tx.zone.key, run_id, ids)
    assert row is not None  # noqa: S101  (aggregates)
    removed = await tx.connection.fetchval(sql("zone/removed_lately"), tx.zone.key, tx.account)
    return msgspec.structs.replace(
        judged,
        listed_before=row["listed_before"],
        still_listed=row["still_listed"],
        removed_lately=removed,
    )


async def note_rule(tx: Transaction, judged: Judged, rule: Rule) -> None:
    """Note why the fresh candidates wait, without a verdict."""
    if tx.run is not None:
        ids = [candidate.image_id for candidate in judged.fresh]
        await tx.connection.execute(sql("zone/note_rule"), tx.zone.key, rule, ids)


async def withhold(tx: Transaction, rule: Rule, image_ids: Sequence[str]) -> None:
    """Withhold images of the zone by a rule of its own."""
    if tx.run is not None:
        await tx.connection.execute(
            sql("zone/withhold"), tx.zone.key, tx.run.run_id, rule, tx.at, list(image_ids), None
        )


async def seen_again(tx: Transaction, image_ids: Sequence[str], seen_at: datetime) -> None:
    """End the time in which images were missing: they were seen."""
    if image_ids and tx.run is not None:
        await tx.connection.execute(
            sql("image/seen_again"), tx.zone.key, tx.run.run_id, tx.at, list(image_ids), seen_at
        )
        await _end_approvals(tx, tx.run)


async def contradictions(tx: Transaction) -> int:
    """Return in how many of the last ten runs the zone's list lacked what was returned by id."""
    ref = tx.zone.ref
    row = await tx.connection.fetchrow(
        sql("read/contradictions"), tx.account, ref.service, ref.zone_id, 1
    )
    return 0 if row is None else int(row["runs"])


async def remove(tx: Transaction, image_ids: Sequence[str], *, all_answered: bool) -> None:
    """Remove images that are confirmed to be absent; count them with the approval that applies."""
    assert tx.run is not None  # noqa: S101  (a dry run removes nothing)
    run = tx.run
    before = run.reserve_ordinals(len(image_ids))
    approval_id = await tx.connection.fetchval(
        sql("zone/approval_use"), tx.zone.key, run.run_id, tx.at, len(image_ids), all_answered
    )
    await tx.connection.execute(
        sql("image/remove"), tx.zone.key, run.run_id, before, tx.at, list(image_ids), approval_id
    )
    await _end_approvals(tx, run)


async def _end_approvals(tx: Transaction, run: Run) -> None:
    """End approvals of what a run withheld where no image of theirs is missing now."""
    await tx.connection.execute(sql("zone/approvals_done"), tx.zone.key, run.run_id, tx.at)


async def lost_kinds(
    connection: Connection,
    run: Run | None,
    judged: Sequence[Judged],
    zones: Mapping[ZoneRef, StoredZone],
    kinds: Sequence[Kind],
) -> set[Kind]:
    """Return the kinds that have no image left in the judged zones that was present before."""
    run_id = None if run is None else run.run_id
    keys = [zones[each.zone].key for each in judged]
    missed = [  # not as it is stored: a dry run stores none
        (key, candidate.image_id)
        for key, each in zip(keys, judged, strict=True)
        for candidate in each.missed
    ]
    rows = await connection.fetch(
        sql("run/kinds_left"),
        run_id,
        keys,
        [service for service, _ in kinds],
        [image_type for _, image_type in kinds],
        [key for key, _ in missed],
        [image_id for _, image_id in missed],
    )
    left = {(row["service"], row["image_type"]) for row in rows}
    return {kind for kind in kinds if kind not in left}


async def record_verdict(
    connection: Connection,
    run: Run,
    verdict: Verdict,
    zones: Mapping[ZoneRef, StoredZone],
    at: datetime,
) -> None:
    """Store what the guard said after the last zone. Done again it changes nothing."""
    for held in verdict.withheld:
        key = zones[held.zone].key
        await connection.execute(
            sql("zone/withhold"),
            key,
            run.run_id,
            held.rule,
            at,
            list(held.image_ids),
            run.run_id,
        )
        await connection.execute(sql("zone/scan_guarded"), key, run.run_id)
        await connection.execute(sql("zone/stamp"), key, at)
    passed = [(zones[ref].key, image_id) for ref, ids in verdict.passed.items() for image_id in ids]
    if passed:
        keys, ids = zip(*passed, strict=True)
        await connection.execute(sql("zone/clear"), run.run_id, list(keys), list(ids))
