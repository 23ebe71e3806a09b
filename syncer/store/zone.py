"""What a transaction writes of one zone: its look, and after the last zone what came of its images.

The decisions are ``core.diff``'s and ``core.guard``'s. What is stored is read again inside of the
transaction, so that what is written fits it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from syncer.core.confirm import Answers
from syncer.core.diff import Tally
from syncer.core.guard import Judged, judge_zone
from syncer.core.line import Block
from syncer.core.model import Failed, Fault, Gone, Incomplete
from syncer.core.paging import Candidates, Snapshot
from syncer.store import looks, missing, planning, results, tables
from syncer.store.connection import sql
from syncer.store.results import Comparison, Outcome, Removed, Written
from syncer.store.transaction import Transaction


async def record_look(tx: Transaction, outcome: Outcome) -> Written:
    """Record what came of reading the zone, with the images that appeared, changed or returned."""
    if isinstance(outcome, Failed | Gone):
        written = results.unread(tx.zone, outcome)
        await _record(tx, written, outcome)
        return written
    listed = outcome.ids if isinstance(outcome, Snapshot) else frozenset()
    compared = Comparison(listed, dry=tx.run is None)
    last_change = 0
    async for plan in _plans(tx, outcome):
        compared.add(plan)
        if tx.run is not None:
            last_change = (
                await tables.write_diff(tx.connection, tx.run, tx.zone, plan.diff, tx.at)
                or last_change
            )
            await missing.seen_again(tx, plan.seen_again, outcome.looked.observed_at)
    if isinstance(outcome, Incomplete):
        written = results.read_in_part(tx.zone, outcome, compared.tally)
        await _record(tx, written, outcome, last_change=last_change)
    else:
        written = await _record_whole(tx, outcome, compared, last_change)
    return written if tx.run is not None else msgspec.structs.replace(written, diff=compared.diff)


async def _plans(tx: Transaction, outcome: Snapshot | Incomplete) -> AsyncIterator[planning.Plan]:
    if isinstance(outcome, Snapshot):
        async for plan in planning.plan_snapshot(tx.connection, tx.zone, outcome, full=tx.full):
            yield plan
    else:
        yield await planning.plan_images(tx.connection, tx.zone, Block.of(outcome.images.values()))


async def _record_whole(
    tx: Transaction, outcome: Snapshot, compared: Comparison, last_change: int
) -> Written:
    """Record a whole look: what it missed, and what the zone's own rules say of that."""
    candidates = outcome.unlisted(
        compared.unlisted,
        run_id=0 if tx.run is None else tx.run.run_id,
        image_types=[name for name, _ in compared.unlisted_types.most_common()],
    )
    judged = await _judged(tx, candidates, compared.present)
    written = results.read_whole(tx.zone, outcome, compared.tally, judged)
    rule = judge_zone(judged, tx.guard)
    if rule == "another_key":  # no latch: the next look with these credentials judges them
        await missing.note_rule(tx, judged, rule)
    elif rule is not None:
        await missing.withhold(tx, rule, [c.image_id for c in judged.fresh])
    settled = judged.approval == "applied"  # what is due is asked for; that says what is left
    latched = tuple(
        c.image_id for c in judged.missed if c.withheld and not (settled and judged.is_due(c))
    )
    newly = tuple(c.image_id for c in judged.fresh) if rule not in {None, "another_key"} else ()
    if withheld := (*latched, *newly):
        written = msgspec.structs.replace(
            written, status="guarded", rule=rule, withheld=withheld, newly_withheld=len(newly)
        )
    # What is stored was counted: that amends what was edited by hand.
    off = compared.present - tx.zone.present
    await _record(tx, written, outcome, last_change=last_change, present=off)
    return written


async def _judged(tx: Transaction, candidates: Candidates, present: int) -> Judged:
    """Store what a whole look missed; return what the guard has to know of it."""
    missed = await missing.record_missed(tx, candidates)
    approved = tx.zone.approved
    if approved is not None and tx.run is not None:
        approved = await tx.connection.fetchval(sql("zone/approval_pending"), tx.zone.key)
    judged = Judged(
        candidates=candidates,
        present=present,
        missed=missed,
        withheld_before=tx.zone.withheld,
        approved=approved,
        another_key=tx.zone.had_another_key(tx.key_digest),
        removal_looks=tx.guard.removal_looks,
    )
    return await missing.with_evidence(tx, judged) if judged.fresh else judged


async def _record(
    tx: Transaction,
    written: Written,
    outcome: Outcome,
    *,
    last_change: int = 0,
    present: int = 0,
) -> None:
    """Record a scan; ``present`` is by what the zone's count is off."""
    if tx.run is None:
        return
    zone, tally = tx.zone, written.tally
    is_first = zone.first_run_id is None and (
        isinstance(outcome, Snapshot) or (isinstance(outcome, Incomplete) and tally != Tally())
    )
    await tables.adjust_counts(
        tx.connection,
        zone,
        tx.at,
        present=present + tally.appeared + tally.returned,
        gone=isinstance(outcome, Gone),
        back=isinstance(outcome, Snapshot) and zone.gone,
        first_run_id=tx.run.run_id if is_first else None,
        listed=outcome.looked.is_listed,
    )
    await tables.record_scan(
        tx.connection,
        tx.run,
        zone,
        outcome.looked,
        tx.at,
        written=written,
        last_change=last_change,
    )
    if written.judged is not None and written.judged.approval is not None:
        await tables.decide_approval(tx.connection, tx.run, zone, written.judged, tx.at)
    if isinstance(outcome, Snapshot) and zone.notes_key(tx.key_digest):
        await tx.connection.execute(sql("zone/key"), [zone.key], tx.key_digest)
    if not isinstance(outcome, Failed):  # which wrote nothing of its images
        kept = results.to_keep(written, outcome)
        await looks.keep(tx.connection, zone.key, kept, parser=zone.parser, before=zone.before)


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
        await tables.write_diff(connection, run, zone, diff, tx.at)
        await missing.seen_again(tx, plan.seen_again, tx.at)
        await missing.remove(tx, gone, all_answered=not unanswered)
        await tables.adjust_counts(
            connection, zone, tx.at, present=result.tally.returned - len(gone)
        )
        await _amend(tx, result, status="changed" if diff.changes or gone else None)
        contradictions = await missing.contradictions(tx) if answers.returned else 0
        result = msgspec.structs.replace(result, contradictions=contradictions)
    rows = await connection.fetch(sql("zone/withheld"), zone.key)
    settled = {*gone, *answers.returned}  # a dry run leaves them as they are
    still = tuple(row["image_id"] for row in rows if row["image_id"] not in settled)
    return msgspec.structs.replace(result, withheld=still)


async def mark_gone(tx: Transaction, fault: Fault | None) -> Removed:
    """Note that a zone was gone when its candidates were asked for by id: nothing is removed."""
    result = Removed(zone=tx.zone, zone_gone=True)
    if tx.run is not None:
        await tables.adjust_counts(tx.connection, tx.zone, tx.at, gone=True)
        await _amend(tx, msgspec.structs.replace(result, fault=fault), status="gone")
    return result


async def _amend(tx: Transaction, result: Removed, *, status: str | None) -> None:
    assert tx.run is not None  # noqa: S101  (a dry run amends nothing)
    await looks.keep(tx.connection, tx.zone.key, None)
    await tx.connection.execute(
        sql("zone/scan_amend"),
        tx.zone.key,
        tx.run.run_id,
        status,
        result.tally.changed,
        len(result.removed),
        result.tally.returned,
        tx.run.last_change,
        *tables.fault_columns(result.fault),
    )
