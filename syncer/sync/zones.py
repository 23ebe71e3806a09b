"""Services x zones x pages: which calls to make, and when; what came of each zone.

Zones are read side by side, at most as many as calls may be under way; the pages of a zone are
asked for concurrently as soon as their number is known. Outcomes go to ``deliver`` as they come;
while it waits, no further zone is begun, so a slow database slows the crawl.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from datetime import datetime
from typing import Final

import anyio
import msgspec

from syncer.core.errors import ApiError, Denied, ZoneNotFound
from syncer.core.known import KeptRows, Look
from syncer.core.model import Failed, Fault, Gone, Incomplete, Looked, ZoneRef
from syncer.core.paging import Snapshot, Unchanged, Walk, ZoneRead
from syncer.sync.progress import Progress, ZoneProgress
from syncer.sync.report import fault_of
from syncer.sync.spool import Spool
from syncer.sync.standing import Standings
from syncer.sync.stop import Stop
from syncer.tracing import span, zone_attributes
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES, Source
from syncer.zenlayer.wire import BLOCKED

Outcome = Snapshot | Unchanged | Incomplete | Failed | Gone
_NOT_LISTED: Final = Fault(
    code="NOT_LISTED", message="DescribeZones no longer lists it, and it offers no image"
)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A zone to read; ``size`` is how many images it was last known to have (None: unknown)."""

    ref: ZoneRef
    size: int | None = None
    before: Look | None = None
    """The last whole look, if what is stored is what it listed."""


class ZoneReader(msgspec.Struct, frozen=True, kw_only=True):
    """Reads the zones of one run, ``at_once`` zones, and pages of a zone, at a time.

    ``now`` returns the stamps of the run's time line, ``standings`` say which zones are listed.
    """

    client: Client
    page_size: int
    at_once: int
    now: Callable[[], datetime]
    stop: Stop
    standings: Standings
    stored_ids: Callable[[ZoneRef], Awaitable[Collection[str]]]
    """Returns the ids of a zone's images that are stored as present."""
    kept_rows: Callable[[ZoneRef], Awaitable[KeptRows | None]]
    """Returns what is kept of the rows of a zone's last whole look."""
    progress: Progress | None = None

    def pages_expected(self, target: Target) -> int:
        """Return how many pages a zone has, as far as that is known."""
        size = min(self.page_size, SOURCES[target.ref.service].max_page_size)
        return max(1, -(-(target.size or 0) // size))

    @contextlib.asynccontextmanager
    async def reading(
        self, deliver: Callable[[Outcome], Awaitable[None]]
    ) -> AsyncIterator[Callable[[Collection[Target]], Awaitable[None]]]:
        """Yield what begins to read zones, largest first; what comes of each is delivered.

        It returns when all were begun, or none is begun any more, and may be called again. At the
        end all that were begun are waited for. Raises Denied.
        """
        gate = anyio.Semaphore(self.at_once, fast_acquire=True)

        async def read(target: Target) -> None:
            try:
                await deliver(await self._read_traced(target))
            finally:
                gate.release()

        async def begin(targets: Collection[Target]) -> None:
            if self.progress and targets:
                pages = sum(self.pages_expected(target) for target in targets)
                self.progress.planned(len(targets), pages)
            for target in sorted(targets, key=largest_first):
                await gate.acquire()
                if self.stop.reason is not None:
                    self.stop.cut = True
                    gate.release()
                    return
                tasks.start_soon(read, target)

        async with anyio.create_task_group() as tasks:
            yield begin

    async def _read_traced(self, target: Target) -> Outcome:
        with span("zone", zone_attributes(target.ref)) as zone_span:
            outcome = await self._read_judged(target)
            zone_span.set_attributes({"syncer.look": type(outcome).__name__.lower()})
            zone_span.set_fault(outcome.fault if isinstance(outcome, Failed | Incomplete) else None)
        return outcome

    async def _read_judged(self, target: Target) -> Outcome:
        """Read a zone; one that is not listed, and asked for once more, is gone if it is empty.

        That the API refuses such a zone is a failure of this zone and no refusal of ours; so it is
        where a run was stopped before anybody knew which zones are listed, and keeps what was read.
        Raises Denied where it is listed, or where the API blocks this machine.
        """
        try:
            outcome = await self.read(target)
        except Denied as error:
            if not refuses_a_zone(error):
                raise
            self.standings.hold.begin()
            looked = await self.standings.judged(self._began(target.ref))
            is_unknown = looked.is_listed is None and self.stop.reason is not None
            if not looked.once_more and not is_unknown:
                raise
            self.standings.hold.end()
            return Failed(looked=looked, fault=fault_of(error))
        empty = isinstance(outcome, Unchanged) and not outcome.images
        empty = empty or (isinstance(outcome, Snapshot) and not outcome.ids)
        if outcome.looked.once_more and empty:
            return Gone(looked=outcome.looked, fault=_NOT_LISTED)
        return outcome

    async def read(self, target: Target) -> Outcome:
        """Read one zone, again where it was not consistent. Raises Denied."""
        progress = ZoneProgress(self.progress, self.pages_expected(target))
        try:
            return await self._read(target, progress)
        finally:
            progress.end()

    async def _read(self, target: Target, progress: ZoneProgress) -> Outcome:
        source = SOURCES[target.ref.service]
        looked = self._began(target.ref)
        reading = ZoneRead(
            min(self.page_size, source.max_page_size),
            paged=source.paged,
            before=target.before,
            spooler=Spool().put,
        )
        error: ApiError | None = None
        while walk := reading.next_walk():
            looked = msgspec.structs.replace(looked, observed_at=self.now())
            error = await self._read_pages(source, target.ref.zone_id, walk, progress)
            looked = await self.standings.judged(looked)
            if isinstance(error, ZoneNotFound) and source.zoned:
                return Gone(looked=looked, fault=fault_of(error))
            if error is not None:
                reading.abandon(walk)
                if not self.client.may_recover(error):
                    break
            else:
                if reading.needs_stored(walk):
                    reading.stored = await self.stored_ids(target.ref)
                if walk.shortcuts is not None and walk.shortcuts.needs_rows:
                    walk.shortcuts.rows = await self.kept_rows(target.ref)
                if snapshot := reading.done(walk, looked):
                    return snapshot
        if error is not None and not reading.pages:
            return Failed(looked=looked, fault=fault_of(error))
        return reading.incomplete(looked, None if error is None else fault_of(error))

    def _began(self, ref: ZoneRef) -> Looked:
        now = self.now()
        return Looked(zone=ref, started_at=now, observed_at=now, listed=False)

    async def _read_pages(
        self, source: Source, zone_id: str, walk: Walk, progress: ZoneProgress
    ) -> ApiError | None:
        """Read the pages of one walk; a page that fails keeps no other from being read."""
        errors: list[ApiError] = []

        async def read(numbers: Iterator[int]) -> None:
            for number in numbers:
                try:
                    page = await self.client.images(
                        source,
                        zone_id,
                        page=number,
                        page_size=walk.page_size,
                        known=walk.known(number),
                        hold=self.standings.hold,
                    )
                    progress.page()
                    walk.take(number, page)
                except Denied:
                    raise
                except ApiError as error:
                    errors.append(error)

        async def read_all() -> None:
            while not errors and (numbers := walk.remaining()):
                progress.asks(len(numbers))
                queue = iter(numbers)  # shared: each reader takes the next number
                if len(numbers) == 1:
                    await read(queue)
                    continue
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(self.at_once, len(numbers))):
                        tasks.start_soon(read, queue)

        if not await self.stop.interruptible(read_all) and self.stop.reason is not None:
            return ApiError(self.stop.reason.message, code=self.stop.reason.code)
        return min(errors, key=lambda error: not isinstance(error, ZoneNotFound), default=None)


def refuses_a_zone(error: Denied) -> bool:
    """Return whether a refusal may be of one zone: no challenge, and no block of this machine."""
    return type(error) is Denied and error.code != BLOCKED


def largest_first(target: Target) -> tuple[float, ZoneRef]:
    """Sort the largest zones first; one of unknown size may be the largest of all."""
    return (float("-inf") if target.size is None else -target.size, target.ref)
