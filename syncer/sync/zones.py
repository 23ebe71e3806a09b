"""Services x zones x pages: which calls to make, and when; what came of each zone.

Zones are read side by side, at most as many as calls may be under way; the pages of a zone are
asked for concurrently as soon as their number is known. Outcomes go to ``deliver`` as they come;
while it waits, no further zone is begun, so a slow database slows the crawl.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import anyio
import msgspec

from syncer.core.confirm import Answers, Question
from syncer.core.errors import Denied, ImageNotFound, SyncError, ZoneNotFound
from syncer.core.guard import Cleared
from syncer.core.model import Failed, Fault, Gone, Incomplete, ListedZone, Looked, ZoneRef
from syncer.core.paging import Look, Snapshot, Unchanged, Walk
from syncer.core.rereads import Reading
from syncer.sync.spool import Spool
from syncer.tracing import span, told_by
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES, Source

Outcome = Snapshot | Unchanged | Incomplete | Failed | Gone
STOPPED: Final = "STOPPED"
"""The code of a stop that was asked for, by a signal."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A zone to read; ``size`` is how many images it was last known to have (None: unknown)."""

    ref: ZoneRef
    listed: bool
    size: int | None = None
    before: Look | None = None
    """The last whole look, if what is stored is what it listed."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What DescribeZones said of one service; ``fault`` is set where it cannot be relied on."""

    service: str
    zones: tuple[ListedZone, ...]
    fault: Fault | None


class Stop:
    """Ends a crawl early: calls under way are given up, what was read is kept."""

    def __init__(self) -> None:
        self.reason: Fault | None = None
        self.cut = False
        """Something was left undone because of it."""
        self.listeners: list[Callable[[Fault], None]] = []
        self._scopes: set[anyio.CancelScope] = set()

    def now(self, reason: Fault) -> None:
        """Stop asking from now on."""
        self.reason = self.reason or reason
        for scope in self._scopes:
            scope.cancel()
        for listener in self.listeners:
            listener(reason)

    async def guard(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do the work unless and until the crawl is stopped; return whether it was done."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self.reason is None:
                    await work()
                    return True
            finally:
                self._scopes.discard(scope)
        self.cut = True
        return False


async def list_zones(client: Client, services: Sequence[str]) -> list[Listing]:
    """Ask every service for its zones. Raises Denied; any other failure is in the listing."""
    listings: list[Listing] = []

    async def ask(service: str) -> None:
        try:
            zones, unusable = await client.zones(SOURCES[service])
        except Denied:
            raise
        except SyncError as error:
            listings.append(Listing(service=service, zones=(), fault=_fault(error)))
            return
        fault = None
        if not zones:
            fault = Fault(code="NO_ZONES", message="DescribeZones listed no zone")
        elif unusable:
            fault = Fault(code="BAD_PAYLOAD", message=f"{unusable} zones have no usable id")
        listings.append(Listing(service=service, zones=tuple(zones), fault=fault))

    async with anyio.create_task_group() as tasks:
        for service in services:
            tasks.start_soon(ask, service)
    return sorted(listings, key=lambda listing: listing.service)


async def read_zones(
    client: Client,
    targets: Sequence[Target],
    *,
    page_size: int,
    at_once: int,
    now: Callable[[], float],
    stop: Stop,
    deliver: Callable[[Outcome], Awaitable[None]],
) -> int:
    """Read the zones, largest first, and deliver what came of each; return how many were begun.

    ``now`` is the database's clock in seconds since 1970. Raises Denied.
    """
    begun = 0
    gate = anyio.Semaphore(at_once, fast_acquire=True)

    async def read(target: Target) -> None:
        try:
            with span("zone", told_by(target.ref)) as told:
                outcome = await read_zone(
                    client, target, page_size=page_size, at_once=at_once, now=now, stop=stop
                )
                told.tell({"syncer.look": type(outcome).__name__.lower()})
                told.failed(outcome.fault if isinstance(outcome, Failed | Incomplete) else None)
            await deliver(outcome)
        finally:
            gate.release()

    async with anyio.create_task_group() as tasks:
        for target in sorted(targets, key=_largest_first):
            await gate.acquire()
            if stop.reason is not None:
                gate.release()
                stop.cut = True
                break
            begun += 1
            tasks.start_soon(read, target)
    return begun


def _largest_first(target: Target) -> tuple[float, ZoneRef]:
    # A zone of unknown size may be the largest of all.
    return (float("-inf") if target.size is None else -target.size, target.ref)


async def read_zone(
    client: Client,
    target: Target,
    *,
    page_size: int,
    at_once: int,
    now: Callable[[], float],
    stop: Stop,
) -> Outcome:
    """Read one zone, again where it was not consistent. Raises Denied."""
    source = SOURCES[target.ref.service]
    started = now()
    looked = Looked(zone=target.ref, started_at=started, observed_at=started, listed=target.listed)
    reading = Reading(
        min(page_size, source.max_page_size),
        paged=source.paged,
        before=target.before,
        put=Spool().put,
    )
    error: SyncError | None = None
    while walk := reading.next_walk():
        looked = msgspec.structs.replace(looked, observed_at=now())
        error = await _read_pages(client, source, target.ref.zone_id, walk, at_once, stop)
        if isinstance(error, ZoneNotFound):
            return Gone(looked=looked, fault=_fault(error))
        if error is not None:
            reading.abandon(walk)
            if not client.may_recover(error):
                break
        elif snapshot := reading.done(walk, looked):
            return snapshot
    if error is not None and not reading.pages:
        return Failed(looked=looked, fault=_fault(error))
    return reading.incomplete(looked, None if error is None else _fault(error))


async def _read_pages(  # noqa: PLR0917  (one caller, above)
    client: Client, source: Source, zone_id: str, walk: Walk, at_once: int, stop: Stop
) -> SyncError | None:
    """Read the pages of one walk; a page that fails keeps no other from being read."""
    errors: list[SyncError] = []

    async def read(number: int) -> None:
        try:
            walk.take(
                number,
                await client.images(
                    source,
                    zone_id,
                    page=number,
                    page_size=walk.page_size,
                    known=walk.known(number),
                ),
            )
        except Denied:
            raise
        except SyncError as error:
            errors.append(error)

    async def read_all() -> None:
        while not errors and (numbers := walk.remaining()):
            if len(numbers) == 1:
                await read(numbers[0])
                continue
            queue = iter(numbers)
            async with anyio.create_task_group() as tasks:
                for _ in range(min(at_once, len(numbers))):
                    tasks.start_soon(read_in_turn, queue)

    async def read_in_turn(numbers: Iterator[int]) -> None:
        for number in numbers:
            await read(number)

    if not await stop.guard(read_all) and stop.reason is not None:
        return SyncError(stop.reason.message, code=stop.reason.code)
    return min(errors, key=lambda error: not isinstance(error, ZoneNotFound), default=None)


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the API said of one zone's candidates; ``fault`` says why some are unanswered."""

    answers: Answers
    fault: Fault | None
    zone_gone: bool = False


async def confirm(client: Client, cleared: Cleared, stop: Stop) -> Confirmation:
    """Ask the API by id for what a zone no longer lists. Raises Denied."""
    source = SOURCES[cleared.zone.service]
    answers = Answers(cleared)
    faults: list[Fault] = []
    gone: list[Fault] = []

    async def ask(image_ids: tuple[str, ...]) -> None:
        question = Question(image_ids, counted=source.total is not None)
        try:
            while page := question.next_page:
                question.take(
                    await client.images(
                        source,
                        cleared.zone.zone_id,
                        page=page,
                        page_size=question.page_size,
                        image_ids=image_ids,
                    )
                )
        except Denied:
            raise
        except ZoneNotFound as error:
            gone.append(_fault(error))
        except ImageNotFound:
            answers.sighted(question)
            if len(image_ids) == 1:
                answers.not_found(image_ids[0])
                return
            async with anyio.create_task_group() as tasks:
                for image_id in image_ids:
                    tasks.start_soon(ask, (image_id,))
        except SyncError as error:
            answers.sighted(question)
            faults.append(_fault(error))
        else:
            if not answers.replied(question):
                answers.sighted(question)
                reason = question.torn or "its ids and totalCount do not agree"
                faults.append(
                    Fault(code="UNCONFIRMED", message=f"the answer by id does not count: {reason}")
                )

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            for image_ids in answers.batches():
                tasks.start_soon(ask, image_ids)

    await stop.guard(ask_all)
    if gone:
        return Confirmation(answers=Answers(cleared), fault=gone[0], zone_gone=True)
    fault = faults[0] if faults else stop.reason if answers.unanswered else None
    return Confirmation(answers=answers, fault=fault)


def _fault(error: SyncError) -> Fault:
    return Fault(code=error.code, message=error.message, request_id=error.request_id)
