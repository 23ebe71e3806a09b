"""One request and its reply: signed bytes out, bounded bytes in, the network's failures named.

The only importer of aiohttp's client.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from syncer import __version__
from syncer.config import KeyPair, Settings, Token
from syncer.core import wire
from syncer.core.errors import Refused, SyncError, TornRead, Unreachable
from syncer.core.sources import Source
from syncer.redact import redacted

MAX_BODY: Final = 64 * 1024 * 1024
"""The most that one reply may hold, after decompression."""
CONNECT_TIMEOUT: Final = 10.0
TIMED_OUT: Final = "TIMED_OUT"


class Transport:
    """Posts to the API for one account. Use ``open_transport``.

    ``clock_offset`` is how many seconds the server's clock is ahead of ours, for signing.
    """

    def __init__(
        self, settings: Settings, credentials: KeyPair | Token, session: aiohttp.ClientSession
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
        self.clock_offset = 0.0

    async def post(self, source: Source, action: str, body: bytes) -> tuple[int, Any, bytes]:
        """Return status, headers (without regard to case) and body. Raises SyncError."""
        try:
            async with self._session.post(
                f"{self._endpoint}/api/v2/{source.service}",
                data=body,
                headers=self._headers(source, action, body),
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy.reveal() if self._proxy else None,
            ) as response:
                chunks, size = [], 0
                async for chunk in response.content.iter_any():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_BODY:
                        raise Refused(
                            f"the reply is larger than {MAX_BODY >> 20} MiB", code="REPLY_TOO_LARGE"
                        )
                return response.status, response.headers, b"".join(chunks)
        except TimeoutError as error:
            raise Unreachable(
                f"{self._host} did not answer in {self._timeout.total:g} s", code=TIMED_OUT
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

    @staticmethod
    @contextlib.contextmanager
    def masked() -> Iterator[None]:
        """Take secrets out of what an error repeats of the server's words."""
        try:
            yield
        except SyncError as error:
            error.code, error.message = redacted(error.code), redacted(error.message)
            error.request_id = error.request_id and redacted(error.request_id)
            error.args = (error.message,)
            raise

    def _headers(self, source: Source, action: str, body: bytes) -> dict[str, str]:
        if isinstance(self._credentials, Token):
            proof = wire.token_headers(self._credentials.token.reveal())
        else:
            proof = wire.key_pair_headers(
                key_id=self._credentials.key_id,
                secret=self._credentials.secret.reveal(),
                host=self._host,
                content_type=wire.CONTENT_TYPE,
                timestamp=int(time.time() + self.clock_offset),
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


def _brief(error: BaseException) -> str:
    return " ".join(redacted(str(error)).split())[:200] or type(error).__name__


def _host(endpoint: str) -> str:
    """Return the Host header as it is sent and signed: lower case, the port where not default."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return host if parts.port in {None, default} else f"{host}:{parts.port}"


@contextlib.asynccontextmanager
async def open_transport(settings: Settings) -> AsyncIterator[Transport]:
    """Open the session to the API. Raises ConfigError where there are no credentials."""
    credentials = settings.require_credentials()
    # Certificates are checked by aiohttp's own context: OpenSSL's, so SSL_CERT_FILE is honoured.
    # One of ours would take the 50 ms of reading the roots once more.
    connector = aiohttp.TCPConnector(limit=settings.max_concurrency, keepalive_timeout=60)
    async with aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": f"syncer/{__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Transport(settings, credentials, session)
