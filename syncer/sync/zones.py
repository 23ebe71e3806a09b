"""Services x zones x pages: which calls to make, and when; what came of each zone.

Zones are read side by side, at most as many as calls may be under way; the pages of a zone are
asked for concurrently as soon as their number is known. Outcomes go to ``deliver`` as they come;
while it waits, no further zone is begun, so a slow database slows the crawl.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
import msgspec

from syncer.core.errors import ApiError, Denied, ZoneNotFound
from syncer.core.model import Failed, Fault, Gone, Incomplete, ListedZone, Looked, ZoneRef
from syncer.core.paging import Look, Snapshot, Unchanged, Walk, ZoneRead
from syncer.sync.spool import Spool
from syncer.sync.stop import Stop
from syncer.tracing import span, told_by
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES, Source

Outcome = Snapshot | Unchanged | Incomplete | Failed | Gone


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


async def list_zones(client: Client, services: Sequence[str]) -> list[Listing]:
    """Ask every service for its zones. Raises Denied; any other failure is in the listing."""
    listings: list[Listing] = []

    async def ask(service: str) -> None:
        try:
            zones, unusable = await client.zones(SOURCES[service])
        except Denied:
            raise
        except ApiError as error:
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
    reading = ZoneRead(
        min(page_size, source.max_page_size),
        paged=source.paged,
        before=target.before,
        spooler=Spool().put,
    )
    error: ApiError | None = None
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
) -> ApiError | None:
    """Read the pages of one walk; a page that fails keeps no other from being read."""
    errors: list[ApiError] = []

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
        except ApiError as error:
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
        return ApiError(stop.reason.message, code=stop.reason.code)
    return min(errors, key=lambda error: not isinstance(error, ZoneNotFound), default=None)


def _fault(error: ApiError) -> Fault:
    return Fault(code=error.code, message=error.message, request_id=error.request_id)
