"""What a transaction writes of one zone: its look, and after the last zone what came of its images.

The decisions are ``core.diff``'s and ``core.guard``'s. What is stored is read again inside of the
transaction, so that what is written fits it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from syncer.core.confirm import Answers
from syncer.core.line import Block
from syncer.core.model import Failed, Fault, Gone, Incomplete
from syncer.core.paging import Candidates, Snapshot
from syncer.store import planning, results, tables
from syncer.store.connection import Connection, sql
from syncer.store.planning import StoredZone
from syncer.store.results import Outcome, Removed, Written
from syncer.store.runs import Run


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction about one zone; without a ``run`` (a dry run) it may only read.

    ``full`` compares all that is stored, whatever its digests say.
    """

    connection: Connection
    run: Run | None
    zone: StoredZone
    full: bool


async def record_look(tx: Transaction, outcome: Outcome) -> Written:
    """Record what came of reading the zone, with the images that appeared, changed or returned."""
    if isinstance(outcome, Failed | Gone):
        written = results.unread(tx.zone, outcome)
        await _record(tx, written, outcome)
        return written
    listed = outcome.offered.ids if isinstance(outcome, Snapshot) else frozenset()
    compared = results.Comparison(listed, dry=tx.run is None)
    last_change = 0
    async for plan in _plans(tx, outcome):
        compared.add(plan)
        if tx.run is not None:
            last_change = (
                await tables.write_diff(tx.connection, tx.run, tx.zone, plan.diff) or last_change
            )
    approved = tx.zone.approved
    if approved is not None and tx.run is not None:
        approved = await tx.connection.fetchval(sql("zone/approval_pending"), tx.zone.key)
    run_id = tx.run.run_id if tx.run is not None else 0
    written = results.written(tx.zone, outcome, compared, approved, run_id=run_id)
    if tx.run is None:
        return msgspec.structs.replace(written, diff=compared.diff)
    present = withheld = 0
    if isinstance(outcome, Snapshot):  # counted what is stored: amends what was edited by hand
        present = compared.present - tx.zone.present
        withheld = compared.withheld - tx.zone.withheld
    await _record(
        tx,
        written,
        outcome,
        last_change=last_change,
        present=present,
        withheld=withheld - compared.seen_again,
    )
    return written


async def _plans(tx: Transaction, outcome: Snapshot | Incomplete) -> AsyncIterator[planning.Plan]:
    if isinstance(outcome, Snapshot):
        async for plan in planning.plan_snapshot(tx.connection, tx.zone, outcome, full=tx.full):
            yield plan
    else:
        yield await planning.plan_images(tx.connection, tx.zone, Block.of(outcome.images.values()))


async def _record(
    tx: Transaction,
    written: Written,
    outcome: Outcome,
    *,
    last_change: int = 0,
    present: int = 0,
    withheld: int = 0,
) -> None:
    """Record a scan; ``present`` and ``withheld`` are by what the zone's counts are off."""
    if tx.run is None:
        return
    zone, tally = tx.zone, written.tally
    await tables.adjust_counts(
        tx.connection,
        zone,
        present=present + tally.appeared + tally.returned,
        withheld=withheld,
        gone=isinstance(outcome, Gone),
        back=isinstance(outcome, Snapshot) and zone.gone,
    )
    await tables.record_scan(
        tx.connection,
        tx.run,
        zone,
        outcome.looked,
        status=written.status,
        images=written.images,
        tally=tally,
        rejected=written.rejected,
        last_change=last_change,
        fault=written.fault,
    )
    if written.judged is not None and written.judged.approval is not None:
        await tables.decide_approval(tx.connection, tx.run, zone, written.judged)
    if not isinstance(outcome, Failed):  # which wrote nothing of its images
        look = results.look_to_keep(written, outcome)
        await planning.keep_look(tx.connection, zone.key, zone.before, look)


async def withhold(tx: Transaction, candidates: Candidates) -> Removed:
    """Mark candidates that the guard withholds; the zone's scan becomes ``guarded``."""
    stored = await planning.stored_images(tx.connection, tx.zone, candidates.image_ids)
    ids = [i for i in candidates.image_ids if i in stored and stored[i].present]
    newly = sum(not stored[i].withheld for i in ids)
    result = Removed(zone=tx.zone, withheld=tuple(ids), newly_withheld=newly)
    if tx.run is not None:
        await tx.connection.execute(
            sql("image/unlisted"), tx.zone.key, ids, tx.zone.last_complete_at, "withheld"
        )
        await tables.adjust_counts(tx.connection, tx.zone, withheld=newly)
        await _amend(tx, result, status="guarded")
    return result


async def settle(tx: Transaction, answers: Answers, fault: Fault | None) -> Removed:
    """Remove what the API, asked by id, did not return; store what it did return."""
    connection, zone, removal = tx.connection, tx.zone, answers.removal()
    plan = await planning.plan_images(connection, zone, Block.of(answers.returned.values()))
    diff = plan.diff
    asked = (*removal.image_ids, *answers.unanswered)
    stored = await planning.stored_images(connection, zone, asked)
    gone = [i for i in removal.image_ids if i in stored and stored[i].present]
    unanswered = [i for i in answers.unanswered if i in stored and stored[i].present]
    result = Removed(
        zone=zone,
        tally=diff.tally(),
        removed=tuple(gone),
        unanswered=len(unanswered),
        fault=fault,
    )
    if (run := tx.run) is not None:
        await tables.write_diff(connection, run, zone, diff)
        before = run.reserve_ordinals(len(gone))
        listed_at = zone.last_complete_at
        await connection.execute(sql("image/remove"), zone.key, run.run_id, before, gone, listed_at)
        await connection.execute(
            sql("image/unlisted"), zone.key, unanswered, listed_at, "unconfirmed"
        )
        released = sum(stored[i].withheld for i in (*gone, *unanswered))
        await tables.adjust_counts(
            connection,
            zone,
            present=result.tally.returned - len(gone),
            withheld=-results.seen_again(plan) - released,
        )
        await _amend(tx, result, status="changed" if diff.changes or gone else None)
    return result


async def mark_gone(tx: Transaction, fault: Fault | None) -> Removed:
    """Note that a zone was gone when its candidates were asked for by id: nothing is removed."""
    result = Removed(zone=tx.zone, zone_gone=True)
    if tx.run is not None:
        await tables.adjust_counts(tx.connection, tx.zone, gone=True)
        await _amend(tx, msgspec.structs.replace(result, fault=fault), status="gone")
    return result


async def _amend(tx: Transaction, result: Removed, *, status: str | None) -> None:
    assert tx.run is not None  # noqa: S101  (a dry run amends nothing)
    await planning.keep_look(tx.connection, tx.zone.key, tx.zone.before, None)
    await tx.connection.execute(
        sql("zone/scan_amend"),
        tx.zone.key,
        tx.run.run_id,
        status,
        result.tally.changed,
        len(result.removed),
        result.tally.returned,
        len(result.withheld),
        tx.run.last_change,
        *tables.fault_columns(result.fault),
    )
