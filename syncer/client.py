"""The API client: one page per call; pacing, timeouts and the retry loop around every call.

The only importer of aiohttp's client.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import anyio
import structlog

from syncer import __version__
from syncer.config import KeyPair, Settings, Token, tls_context
from syncer.core import backoff, wire
from syncer.core.errors import (
    Challenged,
    Refused,
    Retryable,
    SignatureExpired,
    SyncError,
    Throttled,
    TornRead,
    Unreachable,
)
from syncer.core.limiter import Learnt, Pacer
from syncer.core.model import ListedZone
from syncer.core.sources import Rows, Source

MAX_BODY: Final = 64 * 1024 * 1024
"""The most that one reply may hold, after decompression."""
CONNECT_TIMEOUT: Final = 10.0
_POLICY: Final = backoff.Backoff()
_log = structlog.get_logger()


class Client:
    """Calls the API for one account: one session, one pacer, one cap, one retry budget.

    Use ``open_client``. Every method raises SyncError.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: KeyPair | Token,
        session: aiohttp.ClientSession,
        policy: backoff.Backoff,
        learnt: Learnt | None,
    ) -> None:
        self._endpoint = settings.endpoint
        self._host = _host(settings.endpoint)
        self._credentials = credentials
        self._session = session
        self._proxy = settings.proxy
        self._timeout = aiohttp.ClientTimeout(
            total=settings.request_timeout,
            sock_connect=min(CONNECT_TIMEOUT, settings.request_timeout),
        )
        self._slots = anyio.CapacityLimiter(settings.max_concurrency)
        self._pacer = Pacer(ceiling=settings.max_rate, learnt=learnt)
        self._turn = anyio.Lock()
        self._policy = policy
        self._deadline = time.monotonic() + settings.run_timeout
        self._calm_at: float | None = None
        self._clock_set_at: float | None = None
        self._clock_offset = 0.0
        self.budget = backoff.RetryBudget()
        self.calls = 0
        self.retries = 0

    @property
    def learnt(self) -> Learnt | None:
        """What was found out of the API's rate limit, for the next run."""
        return self._pacer.learnt

    async def zones(self, source: Source) -> tuple[list[ListedZone], int]:
        """Return the zones of a service, and how many rows of the answer had no usable id."""
        body = source.zones_request()
        reply = await self._call(source, "DescribeZones", body, zone=None)
        with _told(reply):
            return source.read_zones(reply.response)

    async def images(
        self,
        source: Source,
        zone_id: str,
        *,
        page: int,
        page_size: int,
        image_ids: tuple[str, ...] = (),
    ) -> Rows:
        """Return one page of a zone's images, or of those asked for by id."""
        body = source.images_request(zone_id, page=page, page_size=page_size, image_ids=image_ids)
        reply = await self._call(source, "DescribeImages", body, zone=zone_id)
        with _told(reply):
            return source.read_images(reply.response)

    async def _call(
        self, source: Source, action: str, body: bytes, *, zone: str | None
    ) -> wire.Reply:
        self.budget.plan(1)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(source, action, body)
            except Retryable as error:
                if attempt >= self._policy.attempts or not self.budget.spend():
                    raise
                wait = self._policy.delay(
                    attempt,
                    random=random.random(),  # noqa: S311  (jitter, not a secret)
                    after=getattr(error, "after", None),
                )
                self.retries += 1
                _log.info(
                    "call.retried",
                    service=source.service,
                    action=action,
                    zone=zone,
                    attempt=attempt,
                    code=error.code,
                    request_id=error.request_id,
                    wait=round(wait, 2),
                )
                await anyio.sleep(wait)

    async def _attempt(self, source: Source, action: str, body: bytes) -> wire.Reply:
        while True:
            async with self._slots:
                started = await self._start()
                self.calls += 1
                status, headers, content = await self._post(source, action, body)
            try:
                reply = wire.read(status=status, headers=headers, body=content)
            except Throttled as error:
                self._pacer.throttled(started=started, now=time.monotonic(), after=error.after)
                raise
            except Retryable:
                raise  # tells nothing about the limit
            except Challenged:
                if not self._calm_down(started):
                    raise
            except SignatureExpired:
                if not self._follow_server_clock(started, wire.server_time(headers)):
                    raise
            except SyncError:
                self._pacer.passed(started=started, now=time.monotonic())
                raise
            else:
                self._pacer.passed(started=started, now=time.monotonic())
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

    async def _post(self, source: Source, action: str, body: bytes) -> tuple[int, Any, bytes]:
        try:
            async with self._session.post(
                f"{self._endpoint}/api/v2/{source.service}",
                data=body,
                headers=self._headers(source, action, body),
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy.reveal() if self._proxy else None,
            ) as response:
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > MAX_BODY:
                        raise Refused(
                            f"the reply is larger than {MAX_BODY >> 20} MiB", code="REPLY_TOO_LARGE"
                        )
                return response.status, response.headers, bytes(content)
        except TimeoutError as error:
            raise Unreachable(
                f"{self._host} did not answer in {self._timeout.total:g} s", code="TIMED_OUT"
            ) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise TornRead(f"the reply was cut off ({_brief(error)})", code="TORN_READ") from error
        except aiohttp.InvalidURL:  # its text is the URL, a proxy's password perhaps
            raise Refused("the endpoint or proxy is not a usable URL", code="BAD_URL") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(
                f"{self._host} cannot be reached ({_brief(error)}); check ZENLAYER_ENDPOINT and "
                "the network",
                code="UNREACHABLE",
            ) from error

    def _headers(self, source: Source, action: str, body: bytes) -> dict[str, str]:
        if isinstance(self._credentials, Token):
            proof = wire.token_headers(self._credentials.token.reveal())
        else:
            proof = wire.key_pair_headers(
                key_id=self._credentials.key_id,
                secret=self._credentials.secret.reveal(),
                host=self._host,
                content_type=wire.CONTENT_TYPE,
                timestamp=int(time.time() + self._clock_offset),
                body=body,
            )
        return {
            "Host": self._host,
            "Content-Type": wire.CONTENT_TYPE,
            "X-ZC-Action": action,
            "X-ZC-Version": source.version,
            "X-ZC-Service": source.service,
            **proof,
        }

    def _follow_server_clock(self, started: float, server_time: float | None) -> bool:
        """Sign by the server's clock from now on; return whether a call may be made again."""
        if self._clock_set_at is None and server_time is not None:
            self._clock_set_at = time.monotonic()
            self._clock_offset = server_time - time.time()
            _log.warning(
                "clock.differs",
                seconds=round(self._clock_offset),
                advice="set this machine's clock; signing by the server's until then",
            )
        return self._clock_set_at is not None and started < self._clock_set_at


@contextlib.contextmanager
def _told(reply: wire.Reply) -> Any:  # noqa: ANN401  (a context manager's iterator)
    """Name the request in an error about what its reply holds."""
    try:
        yield
    except SyncError as error:
        error.request_id = error.request_id or reply.request_id
        raise


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _host(endpoint: str) -> str:
    """Return the Host header as it is sent and signed: lower case, the port where not default."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return host if parts.port in {None, default} else f"{host}:{parts.port}"


@contextlib.asynccontextmanager
async def open_client(
    settings: Settings,
    *,
    policy: backoff.Backoff = _POLICY,
    learnt: Learnt | None = None,
) -> AsyncIterator[Client]:
    """Open the session to the API; ``learnt`` is what an earlier run found out of its limit.

    Raises ConfigError where there are no credentials.
    """
    credentials = settings.require_credentials()
    secure = settings.endpoint.startswith("https:")
    connector = aiohttp.TCPConnector(
        limit=settings.max_concurrency,
        ssl=tls_context() if secure else True,
        keepalive_timeout=60,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": f"syncer/{__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Client(settings, credentials, session, policy, learnt)
