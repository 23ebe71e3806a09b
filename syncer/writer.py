"""What came of a zone goes into the database: one transaction, or nothing.

The decisions are ``core.diff``'s; this module reads what is stored, and writes in sets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from syncer import store
from syncer.core.confirm import Answers
from syncer.core.diff import Diff, Stored, Tally
from syncer.core.guard import Judged
from syncer.core.model import Failed, Fault, Gone, Image, Incomplete, ListedZone, ZoneRef
from syncer.core.normalise import same_json
from syncer.core.paging import Candidates, Snapshot
from syncer.db import Connection, Server, acquired, sql
from syncer.ledger import Run
from syncer.store import Zone


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone.

    ``judged`` is set after a whole look. ``diff`` is kept for a dry run only: a run must not hold
    the images of every zone.
    """

    zone: Zone
    status: str
    images: int = 0
    pages: int = 0
    rereads: int = 0
    rejected: int = 0
    tally: Tally = Tally()
    diff: Diff | None = None
    judged: Judged | None = None
    fault: Fault | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone's candidates for removal."""

    zone: Zone
    tally: Tally = Tally()
    removed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    newly_withheld: int = 0
    unanswered: int = 0
    zone_gone: bool = False
    fault: Fault | None = None


class Writer:
    """Writes for one run; without a run (``--dry-run``) it reads and plans, and writes nothing."""

    def __init__(
        self, server: Server, pool: asyncpg.Pool[Any], run: Run | None, account: str
    ) -> None:
        self._where = server.where
        self._pool = pool
        self._run = run
        self._account = account
        self._zones: dict[ZoneRef, Zone] = {}

    async def zones(self, listed: Sequence[ListedZone]) -> dict[ZoneRef, Zone]:
        """Store zones that are new or described anew; return every zone that is known."""
        async with self._reading() as connection:
            known = await store.known_zones(connection, self._account)
        changed = [
            zone
            for zone in listed
            if (old := known.get(zone.ref)) is None
            or old.name != zone.name
            or not same_json(old.attributes, zone.attributes)
        ]
        if self._run is not None and changed:
            async with self._run.writing(self._pool) as connection:
                await store.describe_zones(connection, self._account, changed)
                known = await store.known_zones(connection, self._account)
        for zone in changed:
            known.setdefault(
                zone.ref,
                Zone(
                    key=0,
                    ref=zone.ref,
                    name=zone.name,
                    attributes=zone.attributes,
                    gone=False,
                    present=0,
                    withheld=0,
                    last_complete_at=None,
                ),
            )
        self._zones = known
        return known

    async def write(self, outcome: Snapshot | Incomplete | Failed | Gone) -> Written:
        """Store what came of reading a zone."""
        zone = self._zones[outcome.looked.zone]
        async with self._transaction() as con:
            if isinstance(outcome, Failed | Gone):
                written = Written(
                    zone=zone,
                    status="gone" if isinstance(outcome, Gone) else "failed",
                    pages=outcome.looked.pages,
                    rereads=outcome.looked.rereads,
                    fault=outcome.fault,
                )
                stored: Mapping[str, Stored] = {}
                diff = Diff((), (), ())
            else:
                stored, diff = await store.plan(con, zone, outcome.images)
                approved = zone.approved
                if approved is not None and self._run is not None:
                    approved = await con.fetchval(sql("approval_pending"), zone.key)
                written = _written(zone, outcome, stored, diff.tally(), approved)
            if self._run is None:
                return msgspec.structs.replace(written, diff=diff)
            await self._apply(con, self._run, written, outcome, stored, diff)
        return written

    @staticmethod
    async def _apply(  # noqa: PLR0917
        connection: Connection,
        run: Run,
        written: Written,
        outcome: Snapshot | Incomplete | Failed | Gone,
        stored: Mapping[str, Stored],
        diff: Diff,
    ) -> None:
        zone, tally = written.zone, written.tally
        last_change = await store.write(connection, run, zone, diff)
        await store.count(
            connection,
            zone,
            present=tally.appeared + tally.returned,
            withheld=-_seen_again(diff, stored),
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

    async def withhold(self, candidates: Candidates) -> Removed:
        """Mark candidates that the guard withholds; the zone's scan becomes ``guarded``."""
        zone = self._zones[candidates.zone]
        async with self._transaction() as connection:
            stored = await store.stored_images(connection, zone)
            ids = [i for i in candidates.image_ids if i in stored and stored[i].present]
            newly = sum(not stored[i].withheld for i in ids)
            result = Removed(zone=zone, withheld=tuple(ids), newly_withheld=newly)
            if self._run is not None:
                await connection.execute(
                    sql("images_unlisted"), zone.key, ids, zone.last_complete_at, "withheld"
                )
                await store.count(connection, zone, withheld=newly)
                await self._amend(connection, self._run, result, status="guarded")
        return result

    async def settle(self, answers: Answers, fault: Fault | None) -> Removed:
        """Remove what the API, asked by id, did not return; store what it did return."""
        removal = answers.removal()
        zone = self._zones[removal.zone]
        async with self._transaction() as connection:
            stored, diff = await store.plan(connection, zone, answers.returned)
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
                await connection.execute(
                    sql("images_remove"), zone.key, run.run_id, before, gone, zone.last_complete_at
                )
                await connection.execute(
                    sql("images_unlisted"),
                    zone.key,
                    unanswered,
                    zone.last_complete_at,
                    "unconfirmed",
                )
                await store.count(
                    connection,
                    zone,
                    present=result.tally.returned - len(gone),
                    withheld=-_seen_again(diff, stored)
                    - sum(stored[i].withheld for i in (*gone, *unanswered)),
                )
                changed = diff.changes or gone
                await self._amend(connection, run, result, status="changed" if changed else None)
        return result

    async def went(self, ref: ZoneRef, fault: Fault | None) -> Removed:
        """Note that a zone went between its look and the question by id: nothing is removed."""
        zone = self._zones[ref]
        result = Removed(zone=zone, zone_gone=True)
        if (run := self._run) is not None:
            async with run.writing(self._pool) as connection:
                await store.count(connection, zone, gone=True)
                told = msgspec.structs.replace(result, fault=fault)
                await self._amend(connection, run, told, status="gone")
        return result

    @staticmethod
    async def _amend(
        connection: Connection, run: Run, result: Removed, *, status: str | None
    ) -> None:
        await connection.execute(
            sql("scan_amend"),
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

    def _reading(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        return acquired(self._pool, self._where)

    def _transaction(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        return self._reading() if self._run is None else self._run.writing(self._pool)


def _written(
    zone: Zone,
    outcome: Snapshot | Incomplete,
    stored: Mapping[str, Stored],
    tally: Tally,
    approved: int | None,
) -> Written:
    looked = outcome.looked
    if isinstance(outcome, Incomplete):
        return Written(
            zone=zone,
            status="incomplete",
            images=len(outcome.images),
            pages=looked.pages,
            rereads=looked.rereads,
            rejected=outcome.rejected,
            tally=tally,
            fault=outcome.fault,
        )
    present = [image_id for image_id, known in stored.items() if known.present]
    candidates = outcome.unlisted(present)
    still = frozenset(i for i in candidates.image_ids if stored[i].withheld)
    return Written(
        zone=zone,
        status="changed" if tally != Tally() else "unchanged",
        images=len(outcome.images),
        pages=looked.pages,
        rereads=looked.rereads,
        tally=tally,
        judged=Judged(
            candidates=candidates, present=len(present), withheld=still, approved=approved
        ),
    )


def _seen_again(diff: Diff, stored: Mapping[str, Stored]) -> int:
    """Return how many withheld images were seen after all."""
    seen: Iterable[Image] = (*(change.image for change in diff.changes), *diff.refreshed)
    return sum(stored[image.image_id].withheld for image in seen)
