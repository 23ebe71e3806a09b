"""The steps of one pass: list the zones, read and write them, remove what is really gone.

Between reading and writing stands a short queue: zones are read side by side, and a few writers
store what was read while further zones are read. Zones that did not change need no writer: they
are recorded together. Removals come last, as the guard judges those of all zones together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from syncer.core.confirm import named
from syncer.core.guard import Cleared, Judged, Rule, judge_run, kinds_in_question
from syncer.core.hints import approve_command, approve_run_command, withheld_command
from syncer.core.model import RUN_TIMEOUT, Fault, Looked, ZoneRef
from syncer.core.paging import Unchanged
from syncer.log import Causes
from syncer.store.clock import Timeline
from syncer.store.results import Removed, Written
from syncer.store.writer import Writer
from syncer.store.zone import mark_gone, settle
from syncer.sync.confirm import confirm
from syncer.sync.listing import Listings, zones_of
from syncer.sync.options import RunOptions
from syncer.sync.progress import Progress
from syncer.sync.recording import Recorder
from syncer.sync.report import Report, fault_fields, zone_fields
from syncer.sync.selection import expected, plan
from syncer.sync.standing import Standings
from syncer.sync.stop import Stop
from syncer.sync.zones import Outcome, Target, ZoneReader
from syncer.tracing import POSTGRESQL, span, zone_attributes
from syncer.zenlayer.calls import Calls
from syncer.zenlayer.client import Client

T = TypeVar("T")
_Done = Callable[[Looked, Written], None]
_log = structlog.get_logger()


class Crawl(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over everything asked for; what comes of each zone is added to ``report``."""

    options: RunOptions
    client: Client
    listings: Listings
    writer: Writer
    recorder: Recorder
    timeline: Timeline
    report: Report
    stop: Stop
    progress: Progress | None = None
    causes: Causes = msgspec.field(default_factory=Causes)
    """Why zones failed that a warning was given of."""

    async def work(self) -> None:
        """List the zones, read and write them, then remove what is really gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_in_time)
            standings = Standings()
            judged = await self._crawl(standings)
            self._warn_of_failed()
            await self._remove(judged, standings)
            tasks.cancel_scope.cancel()

    async def _stop_in_time(self) -> None:
        seconds = self.options.run_timeout
        await anyio.sleep(seconds)
        message = f"the run's time of {seconds:g} s was over{_cause(self.client.calls)}"
        self.stop.now(Fault(code=RUN_TIMEOUT, message=message))

    async def _targets(self, standings: Standings, begun: set[ZoneRef]) -> list[Target]:
        """Return the zones to read, once they are listed; ``begun`` are being read already."""
        selection = self.options.selection
        listings = await self.listings.wait()
        unreliable = set[str]()
        if listings is None:  # the run was stopped
            if not begun:
                return []
            listings, unreliable = [], set(selection.services)
        for listing in listings:
            if listing.fault is not None:
                unreliable.add(listing.service)
                self.report.fault = self.report.fault or listing.fault
                _log.warning(
                    "zones.not_listed",
                    account=self.report.account,
                    service=listing.service,
                    **fault_fields(listing.fault),
                )
        listed = zones_of(listings, selection.services)
        listed = [zone for zone in listed if selection.holds(zone.ref)]
        known = await self.writer.describe_zones(listed, reading=begun)
        refs = {zone.ref for zone in listed}
        targets = plan(refs, known, selection, unreliable)
        standings.set(refs, unreliable)
        read = {target.ref for target in targets}
        self.report.latched = sum(
            zone.withheld
            for ref, zone in known.items()
            if selection.holds(ref) and zone.gone and ref not in read
        )
        return targets

    async def _crawl(self, standings: Standings) -> list[Judged]:
        """Read and write the zones; return what the guard is to judge of each whole look."""
        judged: list[Judged] = []

        def done(looked: Looked, written: Written) -> None:
            self._done(looked, written)
            if written.judged is not None:
                judged.append(written.judged)

        tuning = self.options.tuning
        send, outcomes = anyio.create_memory_object_stream[Outcome](tuning.backlog)
        send_same, same = anyio.create_memory_object_stream[Unchanged](tuning.batch)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._record, same, done)
            for _ in range(tuning.writers):
                tasks.start_soon(self._write, outcomes.clone(), send_same.clone(), done)
            outcomes.close()
            send_same.close()
            async with send:
                await self._read(standings, send)
        return judged

    async def _read(self, standings: Standings, outcomes: MemoryObjectSendStream[Outcome]) -> None:
        """Read the zones: those that are expected beside the list of zones, the others after it."""
        reader = ZoneReader(
            client=self.client,
            page_size=self.options.page_size,
            at_once=self.options.api.max_concurrency,
            now=self.timeline.now,
            stop=self.stop,
            standings=standings,
            stored_ids=self.writer.stored_ids,
            kept_rows=self.writer.kept_rows,
            progress=self.progress,
        )
        selection = self.options.selection
        before = await self.writer.read_zones()
        self.report.known = {
            ref for ref, zone in before.items() if selection.holds(ref) and not zone.gone
        }
        early = list[Target]()
        if not self.listings.ended:  # at most as many as are read at once: they wait for the list
            early = expected(
                before, selection, key_digest=self.writer.key_digest, at_most=reader.at_once
            )
        async with reader.reading(partial(_send, outcomes)) as begin:
            await begin(early)
            begun = {target.ref for target in early}
            targets = await self._targets(standings, begun)
            self.report.planned = len(targets)
            await begin([target for target in targets if target.ref not in begun])

    async def _write(
        self,
        outcomes: MemoryObjectReceiveStream[Outcome],
        same: MemoryObjectSendStream[Unchanged],
        done: _Done,
    ) -> None:
        """Write zones one after the other; hand on those that did not change."""
        async with outcomes, same:
            async for outcome in outcomes:
                if isinstance(outcome, Unchanged):
                    await _send(same, outcome)
                    continue
                attributes = zone_attributes(outcome.looked.zone) | POSTGRESQL
                with span("zone.write", attributes, remote=True) as zone_span:
                    written = await self.recorder.record(outcome)
                    fields = zone_fields(written)
                    zone_span.set_attributes({f"syncer.{name}": fields[name] for name in fields})
                done(outcome.looked, written)

    async def _record(self, same: MemoryObjectReceiveStream[Unchanged], done: _Done) -> None:
        """Record zones that did not change together: each alone would cost a transaction."""
        tuning = self.options.tuning
        async with same:
            async for first in same:
                outcomes = [first]
                with anyio.move_on_after(tuning.batch_wait):
                    while len(outcomes) < tuning.batch:
                        try:
                            outcomes.append(await same.receive())
                        except anyio.EndOfStream:
                            break
                zones = {"syncer.zones": len(outcomes)}
                with span("zones.record", zones | POSTGRESQL, remote=True):
                    recorded = await self.recorder.record_unchanged(outcomes)
                for outcome, written in zip(outcomes, recorded, strict=True):
                    done(outcome.looked, written)

    def _done(self, looked: Looked, written: Written) -> None:
        self.report.add(looked, written)
        write = _log.info
        if written.undone:  # of zones that fail by one cause the first is worth a line of its own
            write = _log.warning if self.causes.is_new(written.cause) else _log.debug
        write(
            "zone.failed" if written.undone else "zone.written",
            account=self.report.account,
            **zone_fields(written),
            seconds=round((self.timeline.now() - looked.started_at).total_seconds(), 3),
        )
        if written.newly_withheld and written.judged is not None:
            self._warn_of_withheld(
                looked.zone,
                rule=written.rule,
                images=len(written.withheld),
                renamed=sum(candidate.renamed for candidate in written.judged.missed),
            )
        if self.progress:
            self.progress.done(written)

    def _warn_of_failed(self) -> None:
        """Warn of zones that failed by one cause, once: the first of them had a line before."""
        groups = dict[Hashable, list[Written]]()
        for written in self.report.zones:
            if written.undone:
                groups.setdefault(written.cause, []).append(written)
        for zones in groups.values():
            if len(zones) > 1:
                _log.warning(
                    "zones.failed",
                    account=self.report.account,
                    zones=len(zones),
                    named=named([str(one.zone.ref) for one in zones]),
                    status=zones[0].status,
                    **fault_fields(zones[0].fault),
                )

    async def _remove(self, judged: Sequence[Judged], standings: Standings) -> None:
        """Judge what whole looks did not list; remove what passes and the API does not return."""
        limits = self.options.guard
        kinds = kinds_in_question(judged, limits)
        lost = await self.writer.lost_kinds(judged, kinds)
        verdict = judge_run(judged, limits, lost=lost)
        if verdict.withheld or any(verdict.passed.values()):
            with span("removals.judge", POSTGRESQL, remote=True):
                await self.writer.record_verdict(verdict)
        missed = {zone.zone: {c.image_id: c for c in zone.missed} for zone in judged}
        for held in verdict.withheld:
            zone = self.writer.zone(held.zone)
            renamed = sum(missed[held.zone][i].renamed for i in held.image_ids)
            self.report.settle(
                Removed(zone=zone, withheld=held.image_ids, rule=held.rule, renamed=renamed)
            )
        self._warn_of_withheld_as_a_whole()
        if verdict.cleared and self.progress:
            self.progress.asking()
        for cleared in verdict.cleared:
            await self._settle(cleared, is_listed=not standings.once_more(cleared.zone))

    def _warn_of_withheld(
        self, zone: ZoneRef, *, rule: Rule | None, images: int, renamed: int
    ) -> None:
        """Warn, once, when a latch closes or more is held by it."""
        approve = approve_command(
            account=self.report.account,
            service=zone.service,
            zone=zone.zone_id,
            max_removals=images,
        )
        where = {"service": zone.service, "zone": zone.zone_id}
        self._warn_of_removals(where, approve, rule=rule, images=images, renamed=renamed)

    def _warn_of_withheld_as_a_whole(self) -> None:
        """Warn, once, of what a rule of the run withholds, in whatever zones."""
        held = [one for one in self.report.removals if one.rule is not None]
        if not held:
            return
        images = sum(len(one.withheld) for one in held)
        run_id = self.report.run_id
        self._warn_of_removals(
            {"zones": len(held), "named": named([str(one.zone.ref) for one in held])},
            approve_run_command(run_id=run_id, max_removals=images) if run_id else None,
            rule=held[0].rule,
            images=images,
            renamed=sum(one.renamed for one in held),
        )

    def _warn_of_removals(
        self,
        where: dict[str, Any],
        approve: str | None,
        *,
        rule: Rule | None,
        images: int,
        renamed: int,
    ) -> None:
        """Warn; ``approve`` is the command that lets them through (None: after a dry run)."""
        see = f"see '{withheld_command()}'"
        _log.warning(
            "removals.withheld",
            account=self.report.account,
            **where,
            images=images,
            rule=rule,
            **({"republished": f"{renamed} of {images} under new ids"} if renamed else {}),
            advice=f"{see}; if really gone: {approve}" if approve else see,
        )

    async def _settle(self, cleared: Cleared, *, is_listed: bool) -> None:
        zone = cleared.zone
        with span("removals.confirm", zone_attributes(zone)) as zone_span:
            answer = await confirm(self.client, cleared, self.stop, is_listed=is_listed)
            zone_span.set_fault(None if answer.zone_gone else answer.fault)
        with span("removals.settle", zone_attributes(zone) | POSTGRESQL, remote=True):
            write = partial(settle, answers=answer.answers, fault=answer.fault)
            if answer.zone_gone:
                write = partial(mark_gone, fault=answer.fault)
            settled = await self.recorder.settle(zone, write, len(cleared.image_ids))
        self.report.settle(settled)
        if returned := tuple(answer.answers.returned):
            _log.warning(
                "listing.contradicted",
                account=self.report.account,
                service=zone.service,
                zone=zone.zone_id,
                images=len(returned),
                image_ids=named(returned),
                runs=f"{settled.contradictions} of the last 10",
                advice="the list lacks them and the API returns them by id: they count as seen",
            )
        _log.info(
            "removals.settled",
            account=self.report.account,
            service=zone.service,
            zone=zone.zone_id,
            removed=len(settled.removed),
            alive=len(answer.answers.returned),
            unanswered=settled.unanswered,
            **fault_fields(settled.fault),
        )


def _cause(calls: Calls) -> str:
    """Return why a run may not have been done in its time: what most calls failed by, if any."""
    failed, made = calls.failures.total, calls.made
    if 0 < made == calls.in_flight:
        return f", and none of its calls ({made:,}) was answered: is the network slow, or cut?"
    if 0 < made == failed + calls.in_flight:
        return f", and all calls that ended failed ({failed:,}), {calls.failures.in_words}"
    if failed:
        why = calls.failures.in_words
        many = f"{failed:,} of {made:,} calls failed"
        return f"; raise SYNCER_RUN_TIMEOUT, unless this is why: {many}, {why}"
    return "; raise SYNCER_RUN_TIMEOUT"


async def _send(stream: MemoryObjectSendStream[T], item: T) -> None:
    try:
        await stream.send(item)
    except anyio.BrokenResourceError:
        # Whoever receives ended by an error, which is about to cancel this task too.
        await anyio.sleep_forever()
