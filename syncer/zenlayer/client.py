"""The API client: what is asked for, one page per call, and what each call came to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from syncer.core.errors import (
    TIMED_OUT,
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    Retryable,
    Throttled,
    TornRead,
    Unreachable,
)
from syncer.core.model import ListedZone
from syncer.core.page import KnownPage, Page
from syncer.tracing import Attributes, span
from syncer.zenlayer import rows, shortcuts, wire
from syncer.zenlayer.calls import Calls, Hold, Sending
from syncer.zenlayer.credentials import Access
from syncer.zenlayer.sources import Source
from syncer.zenlayer.transport import Transport, open_transport

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_RESULTS: Final[dict[type[ApiError], str]] = {
    Throttled: "throttled",
    Unreachable: "unreachable",
    TornRead: "torn",
    Challenged: "challenged",
    Denied: "denied",
    BadPayload: "bad_payload",
    ApiError: "refused",
}
"""What an observer sees of a failure: the first class that fits."""


class Observer(Protocol):
    """Sees the calls of a run."""

    def began(self, client: Client) -> None:
        """A run begins, which makes its calls with this client."""

    def called(self, action: str, result: str, seconds: float) -> None:
        """A call was made; ``result`` is ``ok`` or the kind of its failure."""


class Request(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """A request: what is posted, and how its reply is read."""

    source: Source
    action: str
    body: bytes
    read: Callable[..., T_co]
    """Takes ``status``, ``headers`` and ``body`` of the reply. Raises ApiError."""
    zone: str | None = None
    page: int | None = None


class Client:
    """Calls the API for one account. Use ``open_client``. Every method raises ApiError."""

    def __init__(
        self, access: Access, transport: Transport, calls: Calls, observer: Observer | None
    ) -> None:
        self.calls = calls
        """How the calls are paced and counted."""
        self._endpoint = access.endpoint
        self._transport = transport
        self._observer = observer
        if observer is not None:
            observer.began(self)

    async def zones(self, source: Source) -> tuple[list[ListedZone], int]:
        """Return the zones of a service, and how many rows of the answer had no usable id."""
        request = Request(
            source=source,
            action="DescribeZones",
            body=source.zones_request(),
            read=partial(wire.read_response, partial(rows.read_zones, source)),
        )
        return await self._make(request)

    async def images(
        self,
        source: Source,
        zone_id: str,
        *,
        page: int,
        page_size: int,
        image_ids: tuple[str, ...] = (),
        known: KnownPage | None = None,
        hold: Hold | None = None,
    ) -> Page:
        """Return one page of a zone's images (``known``: what it once held), or of those by id.

        The call does not start while ``hold`` is on.
        """
        request = Request(
            source=source,
            action="DescribeImages",
            body=source.images_request(
                zone_id, page=page, page_size=page_size, image_ids=image_ids
            ),
            read=partial(shortcuts.read_page, source, known),
            zone=zone_id,
            page=page,
        )
        return await self._make(request, hold)

    def may_recover(self, error: ApiError) -> bool:
        """Return whether what failed at each attempt may yet succeed if its zone is read again.

        So it may where failures come by chance. What timed out each time has cost enough.
        """
        by_chance = isinstance(error, Retryable) and error.code != TIMED_OUT
        return by_chance and self.calls.fail_by_chance and self.calls.budget.left > 0

    async def _make(self, request: Request[T], hold: Hold | None = None) -> T:
        return await self.calls.make(
            partial(self._send, request),
            hold=hold,
            service=request.source.service,
            zone=request.zone,
            action=request.action,
            page=request.page,
        )

    async def _send(self, request: Request[T], sending: Sending) -> T:
        """Send a request and read its reply."""
        result = "cancelled"
        name = f"{request.source.service}/{request.action}"
        attributes = partial(_attributes, request, self._endpoint, sending)
        try:
            with span(name, attributes, remote=True) as current:
                status, headers, body = await self._transport.post(
                    request.source, request.action, request.body
                )
                current.set_attributes({"http.response.status_code": status})
                reply = request.read(status=status, headers=headers, body=body)
            result = "ok"
        except ApiError as error:
            result = next(name for kind, name in _RESULTS.items() if isinstance(error, kind))
            raise
        finally:
            if self._observer is not None:
                seconds = self.calls.now() - sending.started
                self._observer.called(request.action, result, seconds)
        return reply


def _attributes(request: Request[object], endpoint: str, sending: Sending) -> Attributes:
    """Return the attributes of the span of a request."""
    parts = urlsplit(endpoint)
    return {
        "http.request.method": "POST",
        "http.request.resend_count": sending.number - 1 or None,
        "server.address": parts.hostname,
        "server.port": parts.port or {"https": 443, "http": 80}[parts.scheme],
        "url.full": f"{endpoint}/api/v2/{request.source.service}",
        "syncer.service": request.source.service,
        "syncer.zone": request.zone,
        "syncer.action": request.action,
        "syncer.page": request.page,
        "syncer.waited": sending.waited,
    }


@contextlib.asynccontextmanager
async def open_client(
    access: Access, *, run_timeout: float, observer: Observer | None = None
) -> AsyncIterator[Client]:
    """Open the session to the API, for calls that are of use for ``run_timeout`` seconds."""
    async with open_transport(access) as transport:
        calls = Calls(
            max_concurrency=access.max_concurrency,
            max_rate=access.max_rate,
            run_timeout=run_timeout,
            timing=access.timing,
            follow_clock=transport.follow_clock,
        )
        yield Client(access, transport, calls, observer)
