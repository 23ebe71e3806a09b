"""The API client: one page per call; the cap, the pacer and the retry loop around every call."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
import structlog

from syncer.core import backoff
from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    Refused,
    Retryable,
    SignatureExpired,
    Throttled,
    TornRead,
    Unreachable,
)
from syncer.core.model import Learnt, ListedZone
from syncer.core.page import Known, Page
from syncer.tracing import Attributes, Span, span
from syncer.zenlayer.credentials import Access
from syncer.zenlayer.limiter import Pacer
from syncer.zenlayer.sources import Source
from syncer.zenlayer.transport import TIMED_OUT, Transport, open_transport
from syncer.zenlayer.wire import read_page, read_zones

T = TypeVar("T")
_BY_CHANCE: Final = 3
_POLICY: Final = backoff.Backoff()
_KINDS: Final[dict[type[ApiError], str]] = {
    Throttled: "throttled",
    Unreachable: "unreachable",
    TornRead: "torn",
    Challenged: "challenged",
    Denied: "denied",
    BadPayload: "bad_payload",
    ApiError: "refused",
}
"""What an observer is told of failures, the first that fits."""
_log = structlog.get_logger()


class Observer(Protocol):
    """Is told of the calls of a run."""

    def began(self, client: Client) -> None:
        """A run begins, which makes its calls with this client."""

    def called(self, action: str, result: str, seconds: float) -> None:
        """A call was made; ``result`` is ``ok`` or the kind of its failure."""


class Client:
    """Calls the API for one account: one session, one pacer, one cap, one retry budget.

    Use ``open_client``. Every method raises ApiError.
    """

    def __init__(
        self,
        access: Access,
        transport: Transport,
        policy: backoff.Backoff,
        observer: Observer | None,
        *,
        run_timeout: float,
    ) -> None:
        self._observer = observer
        self._endpoint = access.endpoint
        self._transport = transport
        self._slots = anyio.Semaphore(access.max_concurrency, fast_acquire=True)
        self._turn = anyio.Lock(fast_acquire=True)
        self._ceiling = access.max_rate
        self._pacer = Pacer(ceiling=self._ceiling)
        self._policy = policy
        self._deadline = time.monotonic() + run_timeout
        self._calm_at: float | None = None
        self._clock_set_at: float | None = None
        self._recovered = 0
        self.budget = backoff.RetryBudget()
        self.calls = 0
        self.retries = 0
        self.in_flight = 0
        if observer is not None:
            observer.began(self)

    def may_recover(self, error: ApiError) -> bool:
        """Return whether what failed as often as a call is made may yet succeed, read again.

        So it may where failures come by chance, as other calls show that were retried with
        success. What waited in vain each time has cost enough.
        """
        by_chance = isinstance(error, Retryable) and error.code != TIMED_OUT
        return by_chance and self._recovered >= _BY_CHANCE and self.budget.left > 0

    def learn(self, learnt: Learnt | None) -> None:
        """Start from what an earlier run found out, unless this one found out something itself."""
        if learnt is not None and self._pacer.learnt is None:
            self._pacer = Pacer(ceiling=self._ceiling, learnt=learnt)

    @property
    def rate(self) -> float | None:
        """Calls a second that may be made now; None while no limit is known."""
        return self._pacer.rate if math.isfinite(self._pacer.rate) else None

    @property
    def learnt(self) -> Learnt | None:
        """What was found out of the API's rate limit, for the next run."""
        return self._pacer.learnt

    async def zones(self, source: Source) -> tuple[list[ListedZone], int]:
        """Return the zones of a service, and how many rows of the answer had no usable id."""
        body = source.zones_request()
        return await self._call(Call(source, "DescribeZones", body, partial(read_zones, source)))

    async def images(
        self,
        source: Source,
        zone_id: str,
        *,
        page: int,
        page_size: int,
        image_ids: tuple[str, ...] = (),
        known: Known | None = None,
    ) -> Page:
        """Return one page of a zone's images (``known``: what it once held), or of those by id."""
        body = source.images_request(zone_id, page=page, page_size=page_size, image_ids=image_ids)
        read = partial(read_page, source, known)
        return await self._call(Call(source, "DescribeImages", body, read, zone_id, page))

    async def _call(self, call: Call[T]) -> T:
        self.budget.plan(1)
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = await self._attempt(call)
            except Retryable as error:
                if attempt >= self._policy.attempts or not self.budget.spend():
                    raise
                wait = self._policy.delay(
                    attempt,
                    random=random.random(),  # noqa: S311  (jitter, not a secret)
                    after=error.after,
                )
                self.retries += 1
                _log.info(
                    "call.retried",
                    service=call.source.service,
                    zone=call.zone,
                    action=call.action,
                    page=call.page,
                    attempt=attempt,
                    wait=round(wait, 2),
                    error_code=error.code,
                    error_message=error.message,
                    request_id=error.request_id,
                )
                await anyio.sleep(wait)
            else:
                self._recovered += attempt > 1
                return reply

    async def _attempt(self, call: Call[T]) -> T:
        while True:
            asked = time.monotonic()
            async with self._slots:
                started = await self._start()
                try:
                    reply = await self._exchange(call, started, started - asked)
                except Throttled as error:
                    self._pacer.throttled(started=started, now=time.monotonic(), after=error.after)
                    raise
                except Retryable:
                    raise  # tells nothing about the limit
                except Challenged:
                    if not self._calm_down(started):
                        raise
                    continue
                except SignatureExpired as error:
                    if not self._follow_server_clock(started, error.server_time):
                        raise
                    continue
                except ApiError:
                    self._pacer.passed(started=started, now=time.monotonic())
                    raise
                self._pacer.passed(started=started, now=time.monotonic())
                return reply

    async def _exchange(self, call: Call[T], started: float, waited: float) -> T:
        """Make a call and read its reply."""
        self.calls += 1
        self.in_flight += 1
        result = "cancelled"
        try:
            with call.span(self._endpoint, waited) as current:
                status, headers, content = await self._transport.post(
                    call.source, call.action, call.body
                )
                current.set_attributes({"http.response.status_code": status})
                with self._transport.masked():
                    reply = call.read(status=status, headers=headers, body=content)
            result = "ok"
        except ApiError as error:
            result = next(name for kind, name in _KINDS.items() if isinstance(error, kind))
            raise
        finally:
            self.in_flight -= 1
            if self._observer is not None:
                self._observer.called(call.action, result, time.monotonic() - started)
        return reply

    async def _start(self) -> float:
        """Wait for the moment at which a call may start, and return it (monotonic seconds)."""
        async with self._turn:  # one at a time: what the server asks for meanwhile is for all
            while (wait := self._pacer.wait(now := time.monotonic())) > 0:
                if now + wait > self._deadline:
                    raise Refused(
                        f"the API asked for a pause of {wait:.0f} s, more than the run may take",
                        code="PAUSE_TOO_LONG",
                    )
                await anyio.sleep(wait)
            self._pacer.take(now)
            return now

    def _calm_down(self, started: float) -> bool:
        """Pause everything at the first challenge; return whether a call may be made again."""
        if self._calm_at is None:
            self._calm_at = time.monotonic() + self._policy.challenge
            self._pacer.pause(self._calm_at)
            _log.warning("api.challenged", pause=self._policy.challenge)
        return started < self._calm_at

    def _follow_server_clock(self, started: float, server_time: float | None) -> bool:
        """Sign by the server's clock from now on; return whether a call may be made again."""
        if self._clock_set_at is None and server_time is not None:
            self._clock_set_at = time.monotonic()
            self._transport.clock_offset = server_time - time.time()
            _log.warning(
                "clock.differed",
                seconds=round(self._transport.clock_offset),
                advice="set this machine's clock; signing by the server's until then",
            )
        return self._clock_set_at is not None and started < self._clock_set_at


@contextlib.asynccontextmanager
async def open_client(
    access: Access,
    *,
    run_timeout: float,
    policy: backoff.Backoff = _POLICY,
    observer: Observer | None = None,
) -> AsyncIterator[Client]:
    """Open the session to the API, for calls that are of use for ``run_timeout`` seconds."""
    async with open_transport(access) as transport:
        yield Client(access, transport, policy, observer, run_timeout=run_timeout)


T_co = TypeVar("T_co", covariant=True)


class Call(msgspec.Struct, Generic[T_co]):
    """A call that is made until it succeeds, or has failed too often."""

    source: Source
    action: str
    body: bytes
    read: Callable[..., T_co]
    zone: str | None = None
    page: int | None = None
    sent: int = 0

    def span(self, endpoint: str, waited: float) -> Span:
        """Return a span for sending it, after it waited its turn for so many seconds."""
        self.sent += 1
        name = f"{self.source.service}/{self.action}"
        return span(name, partial(self._attributes, endpoint, waited), remote=True)

    def _attributes(self, endpoint: str, waited: float) -> Attributes:
        parts = urlsplit(endpoint)
        return {
            "http.request.method": "POST",
            "http.request.resend_count": self.sent - 1 or None,
            "server.address": parts.hostname,
            "server.port": parts.port or {"https": 443, "http": 80}[parts.scheme],
            "url.full": f"{endpoint}/api/v2/{self.source.service}",
            "syncer.service": self.source.service,
            "syncer.zone": self.zone,
            "syncer.action": self.action,
            "syncer.page": self.page,
            "syncer.waited": waited,
        }
