"""The proxy between us and the API: how it is logged in to, and what its refusals mean."""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import anyio

from syncer.core.errors import ApiError, NetworkDenied, Unreachable
from syncer.zenlayer import wire

_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
"""What a proxy answers to CONNECT where it may connect another time."""
_SCHEME: Final = re.compile(r"\b(basic|digest|negotiate|ntlm|kerberos|bearer)\b(?!\s*=)")


class Proxy:
    """A proxy, for all accounts of the process that use it with this login. Use ``proxy_at``.

    ``url`` is its own, without the login, which stands in ``headers``; ``place`` is host and port.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        login, _, place = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=place).geturl()
        self.place = parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        self.headers = {"Proxy-Authorization": f"Basic {_encoded(login)}"} if login else None
        self._alone = anyio.Lock()
        self._passed = False
        self._refused: tuple[float, ApiError] | None = None

    @contextlib.asynccontextmanager
    async def permission(self, pause: float) -> AsyncIterator[None]:
        """Wait until a call may be made, which is made within.

        Repeated refusals lock the account behind a login: until a call got past the login one is
        made at a time, and after a refusal none for ``pause`` seconds. Raises NetworkDenied.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._may_be_refused():
                await stack.enter_async_context(self._alone)
                self._require_pause(pause)
            if not self._may_be_refused():  # who was before us got past it
                await stack.aclose()
            try:
                yield
            except ApiError as error:
                self._passed = error.code != wire.PROXY_LOGIN
                self._refused = None if self._passed else (time.monotonic(), error)
                raise
            self._passed = True

    def _may_be_refused(self) -> bool:
        return self.headers is not None and not self._passed

    def _require_pause(self, pause: float) -> None:
        if self._refused is None:  # also where another call got past it meanwhile
            return
        refused_at, error = self._refused
        left = refused_at + pause - time.monotonic()
        if left > 0:
            raise NetworkDenied(
                f"{error.message}; not asked again for {left / 60:.0f} min, as that locks accounts",
                code=error.code,
            )


@lru_cache(maxsize=64)
def proxy_at(address: str) -> Proxy:
    """Return the proxy with this URL and login: the same one to whoever asks for it."""
    return Proxy(address)


def _encoded(login: str) -> str:
    """Return ``user:password`` of a URL as it is sent: the bytes that are percent-encoded there.

    So UTF-8, which proxies expect today, or whatever else their users wrote.
    """
    user, _, password = login.partition(":")
    return base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()


def refusal(
    host: str, status: int, headers: Mapping[str, str], *, login: bool, asked_for: Iterable[str]
) -> ApiError:
    """Return what it means that a proxy answered CONNECT with anything but 200.

    ``login`` is whether one was sent, ``asked_for`` each of its Proxy-Authenticate.
    """
    if status == wire.LOGIN_ASKED:
        asks = "refused the login" if login else "asks for a login"
        advice = _login_advice(" ".join(asked_for), login=login)
        return NetworkDenied(f"the proxy {asks} (HTTP {status}): {advice}", code=wire.PROXY_LOGIN)
    if status in _LATER:
        return Unreachable(
            f"the proxy could not connect to {host}: HTTP {status}; check HTTPS_PROXY, and ask "
            "whoever runs it",
            code="PROXY_FAILED",
            after=wire.retry_after(headers),
        )
    return NetworkDenied(
        f"the proxy refused to connect to {host}: HTTP {status}; check HTTPS_PROXY, ask whoever "
        "runs it to allow that host, or name it in NO_PROXY",
        code="PROXY_REFUSED",
    )


def _login_advice(asked_for: str, *, login: bool) -> str:
    """Say what to do where a proxy wants a login; ``asked_for`` is its Proxy-Authenticate."""
    schemes = dict.fromkeys(_SCHEME.findall(asked_for.lower()))
    if schemes and "basic" not in schemes:
        return (
            f"it takes {' or '.join(schemes)} only, which is not spoken here: let HTTPS_PROXY name "
            "a helper that logs in for you (px, cntlm)"
        )
    if login:
        return "correct user name and password in HTTPS_PROXY"
    return "write HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
