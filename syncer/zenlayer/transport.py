"""One request and its reply: signed bytes out, bounded bytes in, the network's failures named.

The only importer of aiohttp's client.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import threading
import time
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from email.utils import formatdate
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import anyio.to_thread
import msgspec
import structlog

from syncer import __version__
from syncer.core.errors import TIMED_OUT, ApiError, Refused, TornRead, Unreachable
from syncer.secrets import redacted
from syncer.zenlayer import packing, wire
from syncer.zenlayer.credentials import Access, Token
from syncer.zenlayer.proxy import Proxy, proxy_at, refusal
from syncer.zenlayer.sources import Source

MAX_LINE: Final = 64 * 1024
"""The most bytes of a line of a reply's head: gateways add policies and cookies of many KiB."""
MAX_LINES: Final = 1024
"""The most lines of a reply's head."""
READ_BUFFER: Final = 128 * 1024
"""Bytes of a reply that wait to be taken before receiving pauses: with half, a tenth slower."""
TLS_BUFFER: Final = 32 * 1024
"""Bytes that are received at a time over TLS: two of its largest records."""
UNTRUSTED: Final = "UNTRUSTED"
"""The code of a call to a server whose certificate is not trusted."""
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""OpenSSL's words for bytes that are no TLS at all."""
_log = structlog.get_logger()


class Transport:
    """Posts to the API for one account. Use ``open_transport``."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self._endpoint = access.endpoint
        self._host = _host(access.endpoint)
        self._credentials = access.credentials
        self._asking = partial(_asking, access, session, trust=_Trust(access))
        self._clock_offset = 0.0  # seconds that the server's clock is ahead of ours

    async def post(self, source: Source, action: str, body: bytes) -> tuple[int, Any, bytes]:
        """Return status, headers (without regard to case) and body. Raises ApiError."""
        headers = partial(self._headers, source, action, body)
        async with self._asking(source, body, headers) as response:
            return response.status, _dated(response), await _read(response)

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
    body = source.zones_request()
    headers = partial(_action_headers, _host(access.endpoint), source, "DescribeZones")
    async with _session(access, response_class=_WithCertificate) as session:
        trust = _Trust(access)
        await trust.context()
        began, monotonic = time.time(), time.monotonic()
        async with _asking(access, session, source, body, headers, trust=trust) as response:
            assert isinstance(response, _WithCertificate)  # noqa: S101  (the session's class)
            answer = await _read(response)
            took = time.monotonic() - monotonic
            theirs = wire.server_time(response.headers)
            return Greeting(
                status=response.status,
                headers=response.headers,
                body=answer,
                certificate=response.certificate,
                took=took,
                # Date is cut to the second, and was written about half of the way through.
                clock_ahead=None if theirs is None else theirs + 0.5 - (began + took / 2),
            )


@contextlib.asynccontextmanager
async def _asking(
    access: Access,
    session: aiohttp.ClientSession,
    source: Source,
    body: bytes,
    headers: Callable[[], Mapping[str, str]],
    *,
    trust: _Trust,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Post ``body`` and yield the reply, to be read within. Raises ApiError.

    ``headers`` are asked for when it is sent.
    """
    proxy, timeout, context = _proxy(access), _timeout(access), await trust.context()
    permission = proxy.permission(access.timing.proxy_login) if proxy else contextlib.nullcontext()
    async with permission:
        with _named_errors(_host(access.endpoint), timeout, proxy):
            async with session.post(
                f"{access.endpoint}/api/v2/{source.service}",
                data=body,
                headers=headers(),
                allow_redirects=False,
                timeout=timeout,
                ssl=context,
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy.headers if proxy else None,
            ) as response:
                if proxy is not None and response.status == wire.LOGIN_ASKED:
                    raise _refusal(_host(access.endpoint), response, proxy)
                yield response


def _dated(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    """Return the headers, with a Date where Retry-After may need one: now, if there is none.

    Source: RFC 9110, 6.6.1.
    """
    if "Retry-After" not in response.headers or "Date" in response.headers:
        return response.headers
    headers = response.headers.copy()
    headers["Date"] = formatdate(time.time(), usegmt=True)
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        packing.require_size(size)
    encoding = ",".join(response.headers.getall("Content-Encoding", ()))
    return packing.unpack(b"".join(chunks), encoding)


@contextlib.contextmanager
def _named_errors(host: str, timeout: aiohttp.ClientTimeout, proxy: Proxy | None) -> Iterator[None]:
    """Turn what aiohttp raises into the named errors of a call."""
    try:
        yield
    except TimeoutError as error:
        way = " through the proxy" if proxy else ""
        raise Unreachable(
            f"{host} did not answer in {timeout.total:g} s{way}", code=TIMED_OUT
        ) from error
    except aiohttp.ClientHttpProxyError as error:  # its text is the proxy's URL, and its own words
        raise _refusal(host, error, proxy) from None
    except aiohttp.ClientResponseError as error:  # a head that was cut off is no such error
        raise _no_http(host, error) from error
    except aiohttp.ClientPayloadError as error:
        raise TornRead(f"the reply was cut off ({_brief(error)})", code="TORN_READ") from error
    except aiohttp.InvalidURL:  # its text is the URL, a proxy's password perhaps
        raise Refused("the endpoint or proxy is not a usable URL", code="BAD_URL") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise _untrusted(host, error, proxy) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _unreachable(host, error, proxy) from error


def _refusal(
    host: str, answer: aiohttp.ClientHttpProxyError | aiohttp.ClientResponse, proxy: Proxy | None
) -> ApiError:
    headers = answer.headers
    return refusal(
        host,
        answer.status,
        headers if headers is not None else {},
        login=proxy is not None and proxy.headers is not None,
        asked_for=() if headers is None else headers.getall("Proxy-Authenticate", ()),
    )


def _no_http(host: str, error: aiohttp.ClientResponseError) -> ApiError:
    """Return what it means that a head cannot be parsed: the next attempt would bring the same."""
    why = error.message.splitlines()[0].rstrip(":") if error.message else "no HTTP"
    if most := re.match(r"Got more than (\d+) bytes", why):
        why = f"a line of its head is longer than {most[1]} bytes"
    return Refused(
        f"what answers at {host} is no HTTP that can be read ({redacted(why)[:200]}); a proxy or "
        "gateway between, or ZENLAYER_ENDPOINT, is to be corrected",
        code="BAD_HTTP",
    )


def _untrusted(
    host: str, error: aiohttp.ClientConnectorCertificateError, proxy: Proxy | None
) -> ApiError:
    """Return what it means that a certificate is not trusted: the next attempt would show it too.

    It may be of a proxy by ``https://``, or one that a proxy makes for the endpoint.
    """
    if proxy is not None and (error.host, error.port) == proxy.place:
        host = f"the proxy {error.host}"
    reason = getattr(error.certificate_error, "verify_message", "") or _brief(error)
    return Refused(
        f"the certificate that {host} shows is not trusted ({reason}); "
        + (
            "use the name that it is for"
            if "mismatch" in reason
            else "if its authority is your own, name the file of its certificate in SSL_CERT_FILE"
        ),
        code=UNTRUSTED,
    )


def _unreachable(host: str, error: Exception, proxy: Proxy | None) -> ApiError:
    """Return what it means that no connection came about, or that it was lost."""
    if isinstance(error, aiohttp.ClientConnectorError):
        if getattr(error.os_error, "reason", None) in _NO_TLS:
            return _no_tls(host, proxy)
        if proxy is not None and (error.host, error.port) == proxy.place:
            return Unreachable(
                f"the proxy cannot be reached ({_brief(error)}); check HTTPS_PROXY",
                code="PROXY_UNREACHABLE",
            )
    return Unreachable(
        f"{host} cannot be reached ({_brief(error)}); check ZENLAYER_ENDPOINT and the network",
        code="UNREACHABLE",
    )


def _no_tls(host: str, proxy: Proxy | None) -> ApiError:
    """Return what it means that no TLS is spoken where it should be."""
    if proxy is not None and proxy.url.startswith("https:"):
        advice = "where the proxy speaks none, write HTTPS_PROXY=http://..."
    else:
        advice = "check the port in ZENLAYER_ENDPOINT, and what stands between"
    return Refused(f"the way to {host} answers without TLS; {advice}", code="NO_TLS")


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
    text = str(error)
    why = getattr(error, "os_error", None)
    if isinstance(why, OSError):  # the text around it names host and TLS, as is said already
        number = why.errno or 0
        text = os.strerror(number) if number > 0 else why.strerror or str(why)
    return " ".join(redacted(text).split())[:200] or type(error).__name__


def _host(endpoint: str) -> str:
    """Return the Host header as it is sent and signed: lower case, the port where not default."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return host if parts.port in {None, default} else f"{host}:{parts.port}"


def _proxy(access: Access) -> Proxy | None:
    return proxy_at(access.proxy.reveal()) if access.proxy else None


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

    Reading the roots takes 25 ms and 1 MiB: with fifty accounts at once that was most of a run.
    """
    # asyncio gives each TLS connection 256 KiB to receive into, which can be set for all of a
    # process only: 200 MiB for fifty accounts at once. Pages are read as fast with 32 KiB.
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    return ssl.create_default_context()


_reading_roots: Final = threading.Lock()


def _read_roots() -> ssl.SSLContext:
    with _reading_roots:  # whoever comes meanwhile takes what is read
        return _trusting(_roots())


class _Trust:
    """Whom the connections of a session trust: the roots as they are at its first call.

    aiohttp's own contexts hold the roots (SSL_CERT_FILE) as they were when it was imported: a
    daemon would go on with roots that were renewed long ago. They are read in a thread: meanwhile
    the run begins in the database.
    """

    def __init__(self, access: Access) -> None:
        proxy = _proxy(access)
        urls = (access.endpoint, proxy.url if proxy else "")
        self._context: ssl.SSLContext | None = None
        self._secure = any(url.startswith("https:") for url in urls)

    async def context(self) -> ssl.SSLContext | bool:
        """Return what aiohttp's ``ssl`` takes."""
        if self._secure and self._context is None:
            self._context = await anyio.to_thread.run_sync(_read_roots)
        return self._context or True


def _session(
    access: Access, *, response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=access.max_concurrency, keepalive_timeout=access.timing.keep_alive
        ),
        headers={"User-Agent": f"syncer/{__version__}", "Accept-Encoding": packing.ACCEPTED},
        auto_decompress=False,
        read_bufsize=READ_BUFFER,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
        max_headers=MAX_LINES,
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=response_class,
    )
