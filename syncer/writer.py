"""What came of a zone goes into the database: one transaction, or nothing.

The decisions are ``core.diff``'s; this module reads what is stored, and writes in sets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from syncer.core.confirm import Answers
from syncer.core.diff import Diff, Stored, compare, differing, new_names
from syncer.core.guard import Judged
from syncer.core.model import TRACKED, Failed, Fault, Gone, Image, Incomplete, ListedZone, ZoneRef
from syncer.core.paging import Candidates, Snapshot
from syncer.db import Connection, Server, acquired, sql
from syncer.ledger import Run

_COPIED: Final = (
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


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone. ``judged`` is set where a whole look found images missing."""

    zone: Zone
    status: str
    images: int = 0
    pages: int = 0
    rereads: int = 0
    rejected: int = 0
    diff: Diff = Diff((), (), ())
    judged: Judged | None = None
    fault: Fault | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one zone's candidates for removal."""

    zone: Zone
    diff: Diff = Diff((), (), ())
    removed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    newly_withheld: int = 0
    unanswered: int = 0
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
        self._names: dict[str, set[str]] = {}

    async def zones(self, listed: Sequence[ListedZone]) -> dict[ZoneRef, Zone]:
        """Store zones that are new or described anew; return every zone that is known."""
        async with self._reading() as connection:
            known = await self._known(connection)
        changed = [
            zone
            for zone in listed
            if (old := known.get(zone.ref)) is None
            or old.name != zone.name
            or msgspec.json.decode(old.attributes) != msgspec.json.decode(zone.attributes)
        ]
        if self._run is not None and changed:
            async with self._run.writing(self._pool) as connection:
                await connection.fetch(
                    sql("zones_upsert"),
                    self._account,
                    [zone.ref.service for zone in changed],
                    [zone.ref.zone_id for zone in changed],
                    [zone.name for zone in changed],
                    [zone.attributes for zone in changed],
                )
                known = await self._known(connection)
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

    async def _known(self, connection: Connection) -> dict[ZoneRef, Zone]:
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
            )
            for row in await connection.fetch(sql("zones_known"), self._account)
        }

    async def write(self, outcome: Snapshot | Incomplete | Failed | Gone) -> Written:
        """Store what came of reading a zone."""
        zone = self._zones[outcome.looked.zone]
        async with self._reading() if self._run is None else self._run.writing(self._pool) as con:
            if isinstance(outcome, Failed | Gone):
                written = Written(
                    zone=zone,
                    status="gone" if isinstance(outcome, Gone) else "failed",
                    pages=outcome.looked.pages,
                    rereads=outcome.looked.rereads,
                    fault=outcome.fault,
                )
                stored: Mapping[str, Stored] = {}
            else:
                stored, diff = await self._plan(con, zone, outcome.images)
                written = _written(zone, outcome, stored, diff)
            if self._run is not None:
                await self._apply(con, self._run, written, outcome, stored)
        return written

    async def _plan(
        self, connection: Connection, zone: Zone, images: Mapping[str, Image]
    ) -> tuple[dict[str, Stored], Diff]:
        rows = await connection.fetch(sql("stored_digests"), zone.key)
        stored = {row[0]: Stored(*tuple(row)[1:]) for row in rows}
        columns = {}
        if ids := differing(images, stored):
            rows = await connection.fetch(sql("stored_columns"), zone.key, ids)
            columns = {row[0]: tuple(row)[1:] for row in rows}
        return stored, compare(images, stored, columns)

    async def _apply(
        self,
        connection: Connection,
        run: Run,
        written: Written,
        outcome: Snapshot | Incomplete | Failed | Gone,
        stored: Mapping[str, Stored],
    ) -> None:
        zone, diff, looked = written.zone, written.diff, outcome.looked
        last_change = await self._store(connection, run, zone, diff)
        await self._count(
            connection,
            zone,
            present=diff.count("appeared") + diff.count("returned"),
            withheld=-_seen_again(diff, stored),
            gone=isinstance(outcome, Gone),
            back=isinstance(outcome, Snapshot) and zone.gone,
        )
        fault = written.fault
        await connection.execute(
            sql("scans_insert"),
            zone.key,
            run.run_id,
            looked.started_at,
            looked.observed_at,
            written.status,
            looked.listed,
            looked.pages,
            written.images,
            diff.count("appeared"),
            diff.count("changed"),
            diff.count("returned"),
            0,
            written.rejected,
            looked.rereads,
            last_change,
            fault.code if fault else None,
            fault.message if fault else None,
            fault.request_id if fault else None,
        )

    async def _store(self, connection: Connection, run: Run, zone: Zone, diff: Diff) -> int:
        """Write a diff in sets; return the ordinal of its last change."""
        if diff.appeared:
            before = run.number(len(diff.appeared))
            await connection.copy_records_to_table(
                "images",
                schema_name="syncer_store",
                columns=_COPIED,
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
            await self._announce(connection, run, zone.ref.service, diff)
        return run.last_change if diff.appeared or diff.changes else 0

    async def _announce(self, connection: Connection, run: Run, service: str, diff: Diff) -> None:
        """Record and log names in ``extra`` that this account's service never sent before."""
        written = [*diff.appeared, *(change.image for change in diff.changes), *diff.refreshed]
        if service not in self._names:
            rows = await connection.fetch(sql("extra_names"), self._account, service)
            self._names[service] = {row["name"] for row in rows}
        if names := new_names(self._names[service], written):
            await connection.execute(
                sql("extra_names_add"), self._account, service, names, run.run_id
            )
            self._names[service].update(names)
            _log.info("field.appeared", account=self._account, service=service, names=names)

    @staticmethod
    async def _count(
        connection: Connection,
        zone: Zone,
        *,
        present: int = 0,
        withheld: int = 0,
        gone: bool = False,
        back: bool = False,
    ) -> None:
        if present or withheld or gone or back:
            await connection.execute(sql("zone_update"), zone.key, present, withheld, gone, back)

    async def withhold(self, candidates: Candidates) -> Removed:
        """Mark candidates that the guard withholds; the zone's scan becomes ``guarded``."""
        zone = self._zones[candidates.zone]
        async with self._settling() as connection:
            stored = await self._stored(connection, zone)
            ids = [i for i in candidates.image_ids if i in stored and stored[i].present]
            newly = sum(not stored[i].withheld for i in ids)
            result = Removed(zone=zone, withheld=tuple(ids), newly_withheld=newly)
            if self._run is not None:
                await connection.execute(
                    sql("images_unlisted"), zone.key, ids, zone.last_complete_at, "withheld"
                )
                await self._count(connection, zone, withheld=newly)
                await self._amend(connection, self._run, result, status="guarded")
        return result

    async def settle(self, answers: Answers, fault: Fault | None) -> Removed:
        """Remove what the API, asked by id, did not return; store what it did return."""
        removal = answers.removal()
        zone = self._zones[removal.zone]
        async with self._settling() as connection:
            stored, diff = await self._plan(connection, zone, answers.returned)
            gone = [i for i in removal.image_ids if i in stored and stored[i].present]
            unanswered = list(answers.unanswered)
            result = Removed(
                zone=zone,
                diff=diff,
                removed=tuple(gone),
                unanswered=len(unanswered),
                fault=fault,
            )
            if (run := self._run) is not None:
                await self._store(connection, run, zone, diff)
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
                await self._count(
                    connection,
                    zone,
                    present=diff.count("returned") - len(gone),
                    withheld=-_seen_again(diff, stored) - sum(stored[i].withheld for i in gone),
                )
                changed = diff.changes or gone
                await self._amend(connection, run, result, status="changed" if changed else None)
        return result

    @staticmethod
    async def _amend(
        connection: Connection, run: Run, result: Removed, *, status: str | None
    ) -> None:
        fault = result.fault
        await connection.execute(
            sql("scan_amend"),
            result.zone.key,
            run.run_id,
            status,
            result.diff.count("changed"),
            len(result.removed),
            result.diff.count("returned"),
            len(result.withheld),
            run.last_change,
            fault.code if fault else None,
            fault.message if fault else None,
            fault.request_id if fault else None,
        )

    async def _stored(self, connection: Connection, zone: Zone) -> dict[str, Stored]:
        rows = await connection.fetch(sql("stored_digests"), zone.key)
        return {row[0]: Stored(*tuple(row)[1:]) for row in rows}

    def _reading(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        return acquired(self._pool, self._where)

    def _settling(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        return self._reading() if self._run is None else self._run.writing(self._pool)


def _written(
    zone: Zone, outcome: Snapshot | Incomplete, stored: Mapping[str, Stored], diff: Diff
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
            diff=diff,
            fault=outcome.fault,
        )
    present = [image_id for image_id, known in stored.items() if known.present]
    candidates = outcome.unlisted(present)
    still = frozenset(i for i in candidates.image_ids if stored[i].withheld)
    return Written(
        zone=zone,
        status="changed" if diff.appeared or diff.changes else "unchanged",
        images=len(outcome.images),
        pages=looked.pages,
        rereads=looked.rereads,
        diff=diff,
        judged=Judged(candidates=candidates, present=len(present), withheld=still),
    )


def _seen_again(diff: Diff, stored: Mapping[str, Stored]) -> int:
    """Return how many withheld images were seen after all."""
    seen: Iterable[Image] = (*(change.image for change in diff.changes), *diff.refreshed)
    return sum(stored[image.image_id].withheld for image in seen)
