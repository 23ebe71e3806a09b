"""The steps of one pass: list the zones, read and write them, remove what is really gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import anyio
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from syncer.core.errors import ConfigError, Denied, unwrapped
from syncer.core.guard import judge
from syncer.core.model import WHOLE_ZONE, Fault, Gone, ListedZone, Looked, ZoneRef
from syncer.core.paging import Unchanged
from syncer.store.clock import Clock
from syncer.store.results import Written
from syncer.store.writer import Writer
from syncer.store.zone import mark_gone, settle, withhold
from syncer.sync.confirm import confirm
from syncer.sync.options import RunOptions
from syncer.sync.report import Report, why, wide_zone
from syncer.sync.selection import Selection, plan
from syncer.sync.stop import Stop
from syncer.sync.zones import Listing, Outcome, Target, list_zones, read_zones
from syncer.tracing import POSTGRESQL, span, told_by
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES

WRITERS: Final = 2
_BACKLOG: Final = 2
TOGETHER: Final = 64
"""Zones without a change are recorded by so many at a time,"""
_A_WHILE: Final = 1.0
"""or as many as there are after so many seconds."""
T = TypeVar("T")
_log = structlog.get_logger()


class Progress(Protocol):
    """Is told how far a run is."""

    def planned(self, zones: int) -> None:
        """So many zones are to be read."""

    def done(self, written: Written) -> None:
        """A zone is done."""


class Listings:
    """The zones of every service, asked for while the database is made ready."""

    def __init__(self, client: Client, selection: Selection, stop: Stop) -> None:
        self._client = client
        self._services = [name for name in selection.services if SOURCES[name].zoned]
        self._stop = stop
        self._told = anyio.Event()
        self._listings: list[Listing] | None = None
        self._denied: Denied | None = None

    async def ask(self) -> None:
        """Ask for them; what comes of it is kept."""

        async def ask() -> None:
            self._listings = await list_zones(self._client, self._services)

        try:
            with unwrapped():
                await self._stop.guard(ask)
        except Denied as error:
            self._denied = error
        self._told.set()

    async def told(self) -> list[Listing] | None:
        """Wait for them and return them; None where the run was stopped. Raises Denied."""
        await self._told.wait()
        if self._denied is not None:
            raise self._denied
        return self._listings


class Crawl(msgspec.Struct, kw_only=True):
    """One pass over everything asked for; what it comes to is added to ``report``."""

    options: RunOptions
    client: Client
    listings: Listings
    writer: Writer
    clock: Clock
    report: Report
    stop: Stop
    progress: Progress | None = None

    async def work(self) -> None:
        """List the zones, read and write them, then remove what is really gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_in_time)
            targets, gone = await self._targets()
            if self.progress:
                self.progress.planned(len(targets) + len(gone))
            await self._crawl(targets, gone)
            await self._remove()
            tasks.cancel_scope.cancel()

    async def _stop_in_time(self) -> None:
        seconds = self.options.run_timeout
        await anyio.sleep(seconds)
        self.stop.now(
            Fault(
                code="RUN_TIMEOUT",
                message=f"the run's time of {seconds:g} s was over; raise SYNCER_RUN_TIMEOUT",
            )
        )

    async def _targets(self) -> tuple[list[Target], list[ZoneRef]]:
        """Return the zones to read and those that went."""
        selection = self.options.selection
        zoneless = [
            ListedZone(ref=ZoneRef(name, WHOLE_ZONE), name=None, attributes="{}")
            for name in selection.services
            if not SOURCES[name].zoned
        ]
        await self.writer.read_zones()
        listings = await self.listings.told()
        if listings is None:
            return [], []
        for listing in listings:
            if listing.fault is not None:
                self.report.fault = self.report.fault or listing.fault
                _log.warning(
                    "zones.not_listed",
                    account=self.report.account,
                    service=listing.service,
                    **why(listing.fault),
                )
        listed = [
            zone
            for zone in (*(z for listing in listings for z in listing.zones), *zoneless)
            if selection.holds(zone.ref)
        ]
        known = await self.writer.describe_zones(listed)
        unreliable = {listing.service for listing in listings if listing.fault is not None}
        targets, gone = plan({zone.ref for zone in listed}, known, selection, unreliable)
        asked = {target.ref for target in targets}
        self.report.latched = sum(
            zone.withheld
            for ref, zone in known.items()
            if selection.holds(ref) and zone.gone and ref not in asked
        )
        if selection.zones and not targets and not gone and not unreliable:
            raise ConfigError(
                f"no zone matches {' '.join(selection.zones)}: see the ids with 'syncer zones'"
            )
        return targets, gone

    async def _crawl(self, targets: Sequence[Target], gone: Sequence[ZoneRef]) -> None:
        send, receive = anyio.create_memory_object_stream[Outcome](_BACKLOG)
        same, seen = anyio.create_memory_object_stream[Unchanged](TOGETHER)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._record, seen)
            for _ in range(WRITERS):
                tasks.start_soon(self._write, receive.clone(), same.clone())
            receive.close()
            same.close()
            async with send:
                now = self.clock.now()
                for ref in gone:
                    looked = Looked(zone=ref, started_at=now, observed_at=now, listed=False)
                    fault = Fault(code="NOT_LISTED", message="DescribeZones lists it no more")
                    await self._into(send)(Gone(looked=looked, fault=fault))
                await read_zones(
                    self.client,
                    targets,
                    page_size=self.options.page_size,
                    at_once=self.options.api.max_concurrency,
                    now=self.clock.now,
                    stop=self.stop,
                    deliver=self._into(send),
                )

    @staticmethod
    def _into(send: MemoryObjectSendStream[T]) -> Callable[[T], Awaitable[None]]:
        async def deliver(outcome: T) -> None:
            try:
                await send.send(outcome)
            except anyio.BrokenResourceError:
                # The writers ended by an error, which is about to cancel this task too.
                await anyio.sleep_forever()

        return deliver

    async def _write(
        self,
        outcomes: MemoryObjectReceiveStream[Outcome],
        same: MemoryObjectSendStream[Unchanged],
    ) -> None:
        async with outcomes, same:
            async for outcome in outcomes:
                if isinstance(outcome, Unchanged):
                    await self._into(same)(outcome)
                else:
                    ref = outcome.looked.zone
                    with span("zone.write", told_by(ref) | POSTGRESQL, remote=True) as told:
                        written = await self.writer.record(outcome)
                        told.tell({f"syncer.{name}": n for name, n in wide_zone(written).items()})
                    self._done(outcome.looked, written)

    async def _record(self, seen: MemoryObjectReceiveStream[Unchanged]) -> None:
        """Record looks that read what is stored together: each alone would cost a transaction."""
        async with seen:
            async for first in seen:
                outcomes = [first]
                with anyio.move_on_after(_A_WHILE):
                    while len(outcomes) < TOGETHER:
                        try:
                            outcomes.append(await seen.receive())
                        except anyio.EndOfStream:
                            break
                zones = {"syncer.zones": len(outcomes)}
                with span("zones.record", zones | POSTGRESQL, remote=True):
                    recorded = await self.writer.record_unchanged(outcomes)
                for outcome, written in zip(outcomes, recorded, strict=True):
                    self._done(outcome.looked, written)

    def _done(self, looked: Looked, written: Written) -> None:
        self.report.zones.append(written)
        failed = written.status in {"failed", "incomplete"}
        (_log.warning if failed else _log.info)(
            "zone.failed" if failed else "zone.written",
            account=self.report.account,
            **wide_zone(written),
            seconds=round(self.clock.now() - looked.started_at, 3),
        )
        if self.progress:
            self.progress.done(written)

    async def _remove(self) -> None:
        """Judge what whole looks did not list; remove what passes and the API does not return."""
        judged = [w.judged for w in self.report.zones if w.judged is not None]
        verdict = judge(judged, self.options.guard)
        for candidates in verdict.withheld:
            with span("removals.withhold", told_by(candidates.zone) | POSTGRESQL, remote=True):
                removed = await self.writer.commit(
                    candidates.zone, partial(withhold, candidates=candidates), amends=True
                )
            self.report.removals.append(removed)
            if removed.newly_withheld:
                _log.warning(
                    "removals.withheld",
                    account=self.report.account,
                    service=candidates.zone.service,
                    zone=candidates.zone.zone_id,
                    images=len(removed.withheld),
                    advice=f"see 'syncer images --withheld'; if really gone: syncer approve "
                    f"--account {self.report.account} --service {candidates.zone.service} "
                    f"{candidates.zone.zone_id} --max {len(removed.withheld)}",
                )
        for cleared in verdict.cleared:
            with span("removals.confirm", told_by(cleared.zone)) as told:
                answer = await confirm(self.client, cleared, self.stop)
                told.failed(None if answer.zone_gone else answer.fault)
            with span("removals.settle", told_by(cleared.zone) | POSTGRESQL, remote=True):
                write = partial(settle, answers=answer.answers, fault=answer.fault)
                if answer.zone_gone:
                    write = partial(mark_gone, fault=answer.fault)
                settled = await self.writer.commit(cleared.zone, write, amends=True)
            self.report.removals.append(settled)
            _log.info(
                "removals.settled",
                account=self.report.account,
                service=cleared.zone.service,
                zone=cleared.zone.zone_id,
                removed=len(settled.removed),
                alive=len(answer.answers.returned),
                unanswered=settled.unanswered,
                **why(settled.fault),
            )
