"""The API: reached, trusted, in time, and taking our credentials."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import anyio
import msgspec

from syncer.config.settings import NO_CREDENTIALS, Loaded
from syncer.core.backoff import Backoff
from syncer.core.errors import ApiError, Unreachable
from syncer.doctor import judge_api as api
from syncer.doctor.checks import Check
from syncer.doctor.finding import Finding, failed, ok
from syncer.secrets import mask
from syncer.zenlayer import wire
from syncer.zenlayer.client import open_client
from syncer.zenlayer.credentials import KeyPair, Timing
from syncer.zenlayer.sources import SOURCES
from syncer.zenlayer.transport import UNTRUSTED, greet

_TIMING: Final = Timing(challenge=0.0, retry=Backoff(attempts=1))
_PATIENCE: Final = 9.0


def checks(loaded: Loaded) -> list[Check]:
    """Return the checks of the API."""
    ward = _Api(loaded)
    return [
        Check(
            name="endpoint",
            look=ward.endpoint,
            advice="check the network, its firewall and proxy (HTTPS_PROXY), and ZENLAYER_ENDPOINT",
            doubt=loaded.doubtful("ZENLAYER_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY"),
            patience=_PATIENCE,
        ),
        Check(
            name="credentials",
            look=ward.credentials,
            advice="try again; the API may be slow",
            needs=("endpoint", "tls"),
            doubt=loaded.doubtful_credentials() or loaded.doubtful("SYNCER_SERVICES"),
            patience=_PATIENCE,
        ),
    ]


class _Api:
    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._host = urlsplit(loaded.settings.api.endpoint).netloc

    async def endpoint(self) -> Sequence[Finding]:
        """Call without credentials: the answer tells of endpoint, certificate and clock."""
        asked, monotonic = time.time(), time.monotonic()
        try:
            heard = await greet(self._settings.api, SOURCES[self._settings.services[0]])
        except Unreachable as error:
            if error.code != UNTRUSTED:
                raise
            return [
                ok("endpoint", f"{self._host} can be reached{self._way()}"),
                api.untrusted(error.message, roots=await self._roots()),
            ]
        took = time.monotonic() - monotonic
        findings = [
            api.endpoint(
                self._host,
                self._way(),
                took,
                status=heard.status,
                headers=heard.headers,
                body=heard.body,
            )
        ]
        if heard.certificate is not None:
            ends = heard.certificate.get("notAfter")
            days = (ssl.cert_time_to_seconds(ends) - time.time()) / 86400 if ends else None
            findings.append(api.certificate(self._host, days, api.issuer(heard.certificate)))
        theirs = wire.server_time(heard.headers)
        # Date is cut to the second, and was written about half of the way through.
        ahead = None if theirs is None else theirs + 0.5 - (asked + took / 2)
        signed = isinstance(self._settings.api.credentials, KeyPair)
        return [*findings, api.clock(ahead, signed=signed)]

    def _way(self) -> str:
        proxy = self._settings.api.proxy
        return f" through {mask(proxy.reveal())}" if proxy else ""

    async def _roots(self) -> str | None:
        for given in self._loaded.given:
            if given.name == "SSL_CERT_FILE" and await anyio.Path(given.value).is_file():
                return given.value
        return None

    async def credentials(self) -> Sequence[Finding]:
        """List the zones of each service that is crawled."""
        settings = self._settings
        if settings.api.credentials is None:
            return [failed("credentials", "there are none", NO_CREDENTIALS)]
        zones: dict[str, int] = {}
        try:
            access = msgspec.structs.replace(settings.api, timing=_TIMING)
            async with open_client(access, run_timeout=settings.run_timeout) as client:
                for service in settings.services:
                    listed, _ = await client.zones(SOURCES[service])
                    zones[service] = len(listed)
        except ApiError as error:
            return [api.refused(error, self._origin())]
        return [api.credentials(zones)]

    def _origin(self) -> str:
        """Return where the credentials that are used come from."""
        for given in self._loaded.given:
            if given.secret and given.origin and given.name.startswith("ZENLAYER"):
                return f"{given.name}, {given.origin}"
        return "ZENLAYER_*"
