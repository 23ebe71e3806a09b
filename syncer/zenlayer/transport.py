"""One request and its reply: signed bytes out, bounded bytes in, the network's failures named.

The only importer of aiohttp's client.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from asyncio import sslproto
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from syncer import __version__
from syncer.core.errors import TIMED_OUT, Refused, TornRead, Unreachable
from syncer.secrets import redacted
from syncer.zenlayer import wire
from syncer.zenlayer.credentials import Access, Token
from syncer.zenlayer.sources import Source

MAX_BODY: Final = 64 * 1024 * 1024
"""The most that one reply may hold, after decompression."""
TLS_BUFFER: Final = 32 * 1024
"""Bytes that are received at a time over TLS: two of its largest records."""
UNTRUSTED: Final = "UNTRUSTED"
"""The code of a call to a server whose certificate is not trusted."""
_log = structlog.get_logger()


class Transport:
    """Posts to the API for one account. Use ``open_transport``."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self._endpoint = access.endpoint
        self._host = _host(access.endpoint)
        self._credentials = access.credentials
        self._session = session
        self._proxy = _proxy(access)
        self._timeout = _timeout(access)
        self._clock_offset = 0.0  # seconds that the server's clock is ahead of ours

    async def post(self, source: Source, action: str, body: bytes) -> tuple[int, Any, bytes]:
        """Return status, headers (without regard to case) and body. Raises ApiError."""
        with _named_errors(self._host, self._timeout):
            async with self._session.post(
                f"{self._endpoint}/api/v2/{source.service}",
                data=body,
                headers=self._headers(source, action, body),
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy,
            ) as response:
                return response.status, response.headers, await _read(response)

    def follow_clock(self, server_time: float) -> None:
        """Sign by the server's clock from now on; ``server_time`` is seconds since 1970."""
        self._clock_offset = server_time - time.time()
        _log.warning(
            "clock.differed",
            seconds=round(self._clock_offset),
            advice="set this machine's clock; signing by the server's until then",
        )

    def _headers(self, source: Source, action: str, body: bytes) -> dict[str, str]:
        if isinstance(self._credentials, Token):
            proof = wire.token_headers(self._credentials.token.reveal())
        elif self._credentials is None:
            proof = {}
        else:
            proof = wire.key_pair_headers(
                key_id=self._credentials.key_id,
                secret=self._credentials.secret.reveal(),
                host=self._host,
                content_type=wire.CONTENT_TYPE,
                timestamp=int(time.time() + self._clock_offset),
                body=body,
            )
        return {**_action_headers(self._host, source, action), **proof}


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """What the endpoint answers to a call that is not signed.

    ``certificate`` is the server's as ``ssl.SSLSocket.getpeercert`` has it (None: no TLS). It
    ``took`` that many seconds; ``clock_ahead`` is how many the server's clock is ahead of ours
    (None: it bears no Date).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: Mapping[str, Any] | None
    took: float
    clock_ahead: float | None


class _WithCertificate(aiohttp.ClientResponse):
    """Keeps the certificate: a short reply returns its connection before it can be asked for it."""

    certificate: Mapping[str, Any] | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:  # noqa: ANN401  (not exported)
        if connection.transport is not None:
            self.certificate = connection.transport.get_extra_info("peercert")
        return await super().start(connection)


async def greet(access: Access, source: Source) -> Greeting:
    """Call the API without credentials: is it there, and what does it show? Raises ApiError."""
    host, action = _host(access.endpoint), "DescribeZones"
    timeout = _timeout(access)
    async with _session(access, response_class=_WithCertificate) as session:
        with _named_errors(host, timeout):
            began, monotonic = time.time(), time.monotonic()
            async with session.post(
                f"{access.endpoint}/api/v2/{source.service}",
                data=source.zones_request(),
                headers=_action_headers(host, source, action),
                allow_redirects=False,
                timeout=timeout,
                proxy=_proxy(access),
            ) as response:
                assert isinstance(response, _WithCertificate)  # noqa: S101  (the session's class)
                body = await _read(response)
                took = time.monotonic() - monotonic
                theirs = wire.server_time(response.headers)
                return Greeting(
                    status=response.status,
                    headers=response.headers,
                    body=body,
                    certificate=response.certificate,
                    took=took,
                    # Date is cut to the second, and was written about half of the way through.
                    clock_ahead=None if theirs is None else theirs + 0.5 - (began + took / 2),
                )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            raise Refused(f"the reply is larger than {MAX_BODY >> 20} MiB", code="REPLY_TOO_LARGE")
    return b"".join(chunks)


@contextlib.contextmanager
def _named_errors(host: str, timeout: aiohttp.ClientTimeout) -> Iterator[None]:
    """Turn what aiohttp raises into the named errors of a call."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable(
            f"{host} did not answer in {timeout.total:g} s", code=TIMED_OUT
        ) from error
    except aiohttp.ClientHttpProxyError as error:  # its text is the proxy's URL, with a password
        raise Unreachable(
            f"the proxy refused to connect to {host}: HTTP {error.status}; check HTTPS_PROXY",
            code="PROXY_REFUSED",
        ) from None
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise TornRead(f"the reply was cut off ({_brief(error)})", code="TORN_READ") from error
    except aiohttp.InvalidURL:  # its text is the URL, a proxy's password perhaps
        raise Refused("the endpoint or proxy is not a usable URL", code="BAD_URL") from None
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "") or _brief(error)
        raise Refused(  # the next attempt would be shown the same
            f"the certificate that {host} shows is not trusted ({reason}); if its authority is "
            "your own, name the file of its certificate in SSL_CERT_FILE",
            code=UNTRUSTED,
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(
            f"{host} cannot be reached ({_brief(error)}); check ZENLAYER_ENDPOINT and the network",
            code="UNREACHABLE",
        ) from error


def _action_headers(host: str, source: Source, action: str) -> dict[str, str]:
    """Return the headers that say what is asked for."""
    return {
        "Host": host,
        "Content-Type": wire.CONTENT_TYPE,
        "X-ZC-Action": action,
        "X-ZC-Version": source.version,
        "X-ZC-Service": source.service,
    }


def _brief(error: BaseException) -> str:
    return " ".join(redacted(str(error)).split())[:200] or type(error).__name__


def _host(endpoint: str) -> str:
    """Return the Host header as it is sent and signed: lower case, the port where not default."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return host if parts.port in {None, default} else f"{host}:{parts.port}"


def _proxy(access: Access) -> str | None:
    return access.proxy.reveal() if access.proxy else None


def _timeout(access: Access) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=access.request_timeout,
        sock_connect=min(access.timing.connect, access.request_timeout),
    )


@contextlib.asynccontextmanager
async def open_transport(access: Access) -> AsyncIterator[Transport]:
    """Open the session to the API."""
    async with _session(access) as session:
        yield Transport(access, session)


_Roots = tuple[tuple[str, int, int, int], ...]
"""The file and the folder of the trusted roots: path, inode, size, time of the last change."""


def _roots() -> _Roots:
    paths = ssl.get_default_verify_paths()
    found: list[tuple[str, int, int, int]] = []
    for path in (paths.cafile, paths.capath):
        if path is not None:
            with contextlib.suppress(OSError):
                stat = Path(path).stat()
                found.append((path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=1)
def _trusting(_: _Roots) -> ssl.SSLContext:
    """Return a context for these roots, which accounts share: nothing of an account is in it.

    Reading the roots takes 25 ms, in which nothing else is done, and 1 MiB: with fifty accounts
    at once that was most of a run.
    """
    # asyncio gives each TLS connection 256 KiB to receive into, which can be set for all of a
    # process only: 200 MiB for fifty accounts at once. Pages are read as fast with 32 KiB.
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    return ssl.create_default_context()


def _session(
    access: Access, *, response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse
) -> aiohttp.ClientSession:
    # aiohttp's own contexts hold the roots (SSL_CERT_FILE) as they were when it was imported: a
    # daemon would go on with roots that were renewed long ago.
    secure = any(url.startswith("https:") for url in (access.endpoint, _proxy(access) or ""))
    tls: ssl.SSLContext | bool = _trusting(_roots()) if secure else True
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=access.max_concurrency, keepalive_timeout=access.timing.keep_alive, ssl=tls
        ),
        headers={"User-Agent": f"syncer/{__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=response_class,
    )
