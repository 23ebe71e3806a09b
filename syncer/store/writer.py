"""What came of a zone goes into the database: one transaction, or nothing.

The decisions are ``core.diff``'s; this module reads what is stored, and writes in sets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import anyio
import asyncpg
import msgspec

from syncer.core.confirm import Answers, Removal
from syncer.core.line import Block
from syncer.core.model import Failed, Fault, Gone, Incomplete, ListedZone, ZoneRef
from syncer.core.normalise import same_json
from syncer.core.paging import Candidates, Snapshot, Unchanged
from syncer.store import looks, planning, results
from syncer.store import tables as store
from syncer.store.connection import Connection, Server, acquired, sql
from syncer.store.planning import Zone
from syncer.store.results import Removed, Written
from syncer.store.runs import Run, Step

T = TypeVar("T")


class Writer:
    """Writes for one run; without a run (``--dry-run``) it reads and plans, and writes nothing.

    ``full`` compares all that is stored, whatever its digests say.
    """

    def __init__(
        self,
        server: Server,
        pool: asyncpg.Pool[Any],
        run: Run | None,
        account: str,
        *,
        full: bool = False,
    ) -> None:
        self._server = server
        self._pool = pool
        self._run = run
        self._account = account
        self._full = full
        self._zones: dict[ZoneRef, Zone] = {}
        # What is stored of a large zone is held in digests while it is compared: one at a time.
        self._large = anyio.Lock()

    async def prepare(self) -> None:
        """Read which zones are known."""
        self._zones = await self._do(partial(planning.known_zones, account=self._account))

    async def zones(self, listed: Sequence[ListedZone]) -> dict[ZoneRef, Zone]:
        """Store zones that are new or described anew; return every zone that is known."""
        changed = [
            zone
            for zone in listed
            if (old := self._zones.get(zone.ref)) is None
            or old.name != zone.name
            or not same_json(old.attributes, zone.attributes)
        ]
        if self._run is not None and changed:
            self._zones = await self._do(partial(self._describe, changed))
        for zone in changed:
            self._zones.setdefault(zone.ref, Zone.unstored(zone))
        return self._zones

    async def _describe(
        self, changed: Sequence[ListedZone], connection: Connection
    ) -> dict[ZoneRef, Zone]:
        await store.describe_zones(connection, self._account, changed)
        return await planning.known_zones(connection, self._account)

    async def write(self, outcome: Snapshot | Incomplete | Failed | Gone) -> Written:
        """Store what came of reading a zone."""
        zone = self._zones[outcome.looked.zone]
        is_large = isinstance(outcome, Snapshot) and outcome.is_large
        async with self._large if is_large else nullcontext():
            return await self._do(partial(self._write, zone, outcome), Step(zone.key, amends=False))

    async def _write(
        self, zone: Zone, outcome: Snapshot | Incomplete | Failed | Gone, connection: Connection
    ) -> Written:
        if isinstance(outcome, Failed | Gone):
            written = Written(
                zone=zone,
                status="gone" if isinstance(outcome, Gone) else "failed",
                pages=outcome.looked.pages,
                rereads=outcome.looked.rereads,
                fault=outcome.fault,
            )
            if self._run is not None:
                await self._apply(connection, self._run, written, outcome)
            return written
        ids = outcome.offered.ids if isinstance(outcome, Snapshot) else frozenset()
        came = results.Sum(ids, dry=self._run is None)
        last_change = 0
        async for plan in self._plans(connection, zone, outcome):
            came.add(plan)
            if self._run is not None:
                wrote = await store.write(connection, self._run, zone, plan.diff)
                last_change = wrote or last_change
        approved = zone.approved
        if approved is not None and self._run is not None:
            approved = await connection.fetchval(sql("zone/approval_pending"), zone.key)
        written = results.written(zone, outcome, came, approved)
        if self._run is None:
            return msgspec.structs.replace(written, diff=came.diff)
        present = withheld = 0
        if isinstance(outcome, Snapshot):  # counted what is stored: amends what was edited by hand
            present, withheld = came.present - zone.present, came.withheld - zone.withheld
        off = {"present": present, "withheld": withheld - came.seen_again}
        await self._apply(connection, self._run, written, outcome, last_change=last_change, **off)
        return written

    async def _plans(
        self, connection: Connection, zone: Zone, outcome: Snapshot | Incomplete
    ) -> AsyncIterator[planning.Plan]:
        if isinstance(outcome, Snapshot):
            async for plan in planning.plans(connection, zone, outcome, full=self._full):
                yield plan
        else:
            yield await planning.plan(connection, zone, Block.of(outcome.images.values()))

    @staticmethod
    async def _apply(
        connection: Connection,
        run: Run,
        written: Written,
        outcome: Snapshot | Incomplete | Failed | Gone,
        *,
        last_change: int = 0,
        present: int = 0,
        withheld: int = 0,
    ) -> None:
        """Record a zone; ``present`` and ``withheld`` are by what its counts are off."""
        zone, tally = written.zone, written.tally
        await store.count(
            connection,
            zone,
            present=present + tally.appeared + tally.returned,
            withheld=withheld,
            gone=isinstance(outcome, Gone),
            back=isinstance(outcome, Snapshot) and zone.gone,
        )
        await store.record(
            connection,
            run,
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
            await store.decide(connection, run, zone, written.judged)
        if not isinstance(outcome, Failed):  # which wrote nothing of its images
            look = results.look_to_keep(written, outcome)
            await looks.keep(connection, zone.key, zone.before, look)

    async def record(self, outcomes: Sequence[Unchanged]) -> list[Written]:
        """Record whole looks that read what is stored, in one transaction."""
        seen = [(self._zones[o.looked.zone], o.looked, o.images) for o in outcomes]
        if (run := self._run) is not None:
            await run.commit(
                self._pool,
                partial(store.record_unchanged, run=run, seen=seen),
                Step(seen[0][0].key, amends=False),
            )
        return [results.unchanged(self._zones[o.looked.zone], o) for o in outcomes]

    async def withhold(self, candidates: Candidates) -> Removed:
        """Mark candidates that the guard withholds; the zone's scan becomes ``guarded``."""
        zone = self._zones[candidates.zone]
        work = partial(self._withhold, zone, candidates)
        return await self._do(work, Step(zone.key, amends=True))

    async def _withhold(
        self, zone: Zone, candidates: Candidates, connection: Connection
    ) -> Removed:
        stored = await planning.stored_images(connection, zone, candidates.image_ids)
        ids = [i for i in candidates.image_ids if i in stored and stored[i].present]
        newly = sum(not stored[i].withheld for i in ids)
        result = Removed(zone=zone, withheld=tuple(ids), newly_withheld=newly)
        if self._run is not None:
            await connection.execute(
                sql("image/unlisted"), zone.key, ids, zone.last_complete_at, "withheld"
            )
            await store.count(connection, zone, withheld=newly)
            await looks.keep(connection, zone.key, zone.before, None)
            await self._amend(connection, self._run, result, status="guarded")
        return result

    async def settle(self, answers: Answers, fault: Fault | None) -> Removed:
        """Remove what the API, asked by id, did not return; store what it did return."""
        removal = answers.removal()
        zone = self._zones[removal.zone]
        work = partial(self._settle, zone, removal, answers, fault)
        return await self._do(work, Step(zone.key, amends=True))

    async def _settle(
        self,
        zone: Zone,
        removal: Removal,
        answers: Answers,
        fault: Fault | None,
        connection: Connection,
    ) -> Removed:
        plan = await planning.plan(connection, zone, Block.of(answers.returned.values()))
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
        if (run := self._run) is not None:
            await store.write(connection, run, zone, diff)
            before = run.number(len(gone))
            seen = zone.last_complete_at
            await connection.execute(sql("image/remove"), zone.key, run.run_id, before, gone, seen)
            await connection.execute(
                sql("image/unlisted"), zone.key, unanswered, seen, "unconfirmed"
            )
            await store.count(
                connection,
                zone,
                present=result.tally.returned - len(gone),
                withheld=-results.seen_again(plan)
                - sum(stored[i].withheld for i in (*gone, *unanswered)),
            )
            await looks.keep(connection, zone.key, zone.before, None)
            changed = diff.changes or gone
            await self._amend(connection, run, result, status="changed" if changed else None)
        return result

    async def went(self, ref: ZoneRef, fault: Fault | None) -> Removed:
        """Note that a zone went between its look and the question by id: nothing is removed."""
        zone = self._zones[ref]
        work = partial(self._went, Removed(zone=zone, zone_gone=True), fault)
        return await self._do(work, Step(zone.key, amends=True))

    async def _went(self, result: Removed, fault: Fault | None, connection: Connection) -> Removed:
        if (run := self._run) is not None:
            await store.count(connection, result.zone, gone=True)
            await looks.keep(connection, result.zone.key, result.zone.before, None)
            told = msgspec.structs.replace(result, fault=fault)
            await self._amend(connection, run, told, status="gone")
        return result

    @staticmethod
    async def _amend(
        connection: Connection, run: Run, result: Removed, *, status: str | None
    ) -> None:
        await connection.execute(
            sql("zone/scan_amend"),
            result.zone.key,
            run.run_id,
            status,
            result.tally.changed,
            len(result.removed),
            result.tally.returned,
            len(result.withheld),
            run.last_change,
            *store.told(result.fault),
        )

    async def _do(self, work: Callable[[Connection], Awaitable[T]], step: Step | None = None) -> T:
        """Do the work of one transaction; without a run it only reads."""
        if self._run is not None:
            return await self._run.commit(self._pool, work, step)
        async with (
            acquired(self._pool, self._server) as connection,
            connection.transaction(readonly=True),
        ):
            return await work(connection)
