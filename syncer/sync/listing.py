"""The zones of every service, as DescribeZones lists them."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import msgspec

from syncer.core.errors import ApiError, Denied, unwrapped
from syncer.core.model import WHOLE_ZONE, Fault, ListedZone, ZoneRef
from syncer.sync.report import fault_of
from syncer.sync.stop import Stop
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What DescribeZones said of one service; ``fault`` is set where it cannot be relied on."""

    service: str
    zones: tuple[ListedZone, ...]
    fault: Fault | None


def zones_of(listings: Sequence[Listing], services: Sequence[str]) -> list[ListedZone]:
    """Return all zones that are listed, and those of services whose images are in no zone."""
    whole = [
        ListedZone(ref=ZoneRef(name, WHOLE_ZONE), name=None, attributes="{}")
        for name in services
        if not SOURCES[name].zoned
    ]
    return whole + [zone for listing in listings for zone in listing.zones]


async def list_zones(client: Client, services: Sequence[str]) -> list[Listing]:
    """Ask every service for its zones. Raises Denied; any other failure is in the listing."""
    listings: list[Listing] = []

    async def ask(service: str) -> None:
        try:
            zones, unusable = await client.zones(SOURCES[service])
        except Denied:
            raise
        except ApiError as error:
            listings.append(Listing(service=service, zones=(), fault=fault_of(error)))
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


class Listings:
    """The listings of a run, fetched while its place in the database is made ready.

    What comes of it, a refusal included, is kept for ``wait``: it belongs to a run that has begun.
    """

    def __init__(self, client: Client, services: Sequence[str], stop: Stop) -> None:
        self._client = client
        self._services = [service for service in services if SOURCES[service].zoned]
        self._stop = stop
        self._ended = anyio.Event()
        self._listings: list[Listing] | None = None
        self._denied: Denied | None = None

    async def fetch(self) -> None:
        """Ask every service for its zones, unless and until the run is stopped."""
        try:
            with unwrapped():
                await self._stop.interruptible(self._fetch)
        except Denied as error:
            self._denied = error
        self._ended.set()

    async def _fetch(self) -> None:
        self._listings = await list_zones(self._client, self._services)

    @property
    def ended(self) -> bool:
        """Whether ``fetch`` ended, so that nothing is to be waited for."""
        return self._ended.is_set()

    async def reliable(self) -> list[Listing] | None:
        """Wait until ``fetch`` ended; return None unless all zones there are were listed."""
        await self._ended.wait()
        found = self._listings
        return None if found is None or any(listing.fault for listing in found) else found

    async def wait(self) -> list[Listing] | None:
        """Wait until ``fetch`` ended; return None where the run was stopped. Raises Denied."""
        await self._ended.wait()
        if self._denied is not None:
            raise self._denied
        return self._listings
