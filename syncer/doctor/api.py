"""The API: reached, trusted, in time with our clock, and taking our credentials."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import msgspec

from syncer.config.accounts import Account
from syncer.config.settings import CREDENTIALS, NO_CREDENTIALS, LoadedSettings
from syncer.core.backoff import Backoff
from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    NetworkDenied,
    Throttled,
    TornRead,
    Unreachable,
)
from syncer.core.hints import number
from syncer.core.moment import age
from syncer.doctor.checks import Check, Timing
from syncer.doctor.finding import Finding, failed, listed, ok, warning
from syncer.secrets import mask
from syncer.zenlayer import credentials, wire
from syncer.zenlayer.client import open_client
from syncer.zenlayer.credentials import KeyPair
from syncer.zenlayer.sources import SOURCES
from syncer.zenlayer.transport import UNTRUSTED, greet

_DAY: Final = 86400.0
_ONE_ATTEMPT: Final = credentials.Timing(challenge=0.0, retry=Backoff(attempts=1))
_CLOCKS_AGREE: Final = 30.0
"""Seconds that two clocks may differ by without a warning: a tenth of a signature's life."""
_SIGNATURE_LIFE: Final = 300.0
"""Seconds that a signature's time may differ by from the API's (documented)."""
_EXPIRES_SOON: Final = 14 * _DAY
"""Seconds before its end at which a certificate is warned of."""
_NOT_CRAWLED: Final = "fix that: until then syncer sync ends with exit code 2"
_TRY_AGAIN: Final = "try again, and if it stays so ask Zenlayer"


def topics(loaded: LoadedSettings, timing: Timing) -> list[list[Check]]:
    """Return the checks of each API that is called, and of the accounts that call it there."""
    endpoints: dict[str, list[Check]] = {}
    for account in loaded.settings.accounts:
        probes = _ApiProbes(loaded, account)
        checks = endpoints.setdefault(account.api.endpoint, [])
        if not checks:
            checks.append(_endpoint(probes, timing))
        checks.append(
            Check(
                name="credentials",
                account=loaded.settings.whose(account),
                probe=probes.credentials,
                advice="try again; the API may be slow",
                depends_on=(
                    "endpoint",
                    "tls",
                    *CREDENTIALS,
                    "SYNCER_SERVICES",
                    f"accounts.{account.name}",
                ),
                timeout=timing.api,
            )
        )
    return [*endpoints.values()]


def _endpoint(probes: _ApiProbes, timing: Timing) -> Check:
    return Check(
        name="endpoint",
        probe=probes.endpoint,
        advice="check the network, its firewall and proxy (HTTPS_PROXY), and ZENLAYER_ENDPOINT",
        depends_on=("ZENLAYER_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY"),
        timeout=timing.api,
    )


class _ApiProbes:
    def __init__(self, loaded: LoadedSettings, account: Account) -> None:
        self._loaded = loaded
        self._account = account
        self._host = urlsplit(account.api.endpoint).netloc

    async def endpoint(self) -> Sequence[Finding]:
        """Call without credentials: the reply shows endpoint, certificate and clock."""
        try:
            reply = await greet(self._account.api, SOURCES[self._account.services[0]])
        except ApiError as error:
            if error.code != UNTRUSTED:
                raise
            return [
                ok("endpoint", f"{self._host} can be reached{self._through()}"),
                judge_untrusted(error.message, roots=await self._roots()),
            ]
        findings = [
            judge_endpoint(
                self._host,
                self._through(),
                reply.took,
                status=reply.status,
                headers=reply.headers,
                body=reply.body,
            )
        ]
        if reply.certificate is not None:
            end = reply.certificate.get("notAfter")
            left = ssl.cert_time_to_seconds(end) - time.time() if end else None
            findings.append(judge_certificate(self._host, left, issuer(reply.certificate)))
        signed = isinstance(self._account.api.credentials, KeyPair)
        return [*findings, judge_clock(reply.clock_ahead, signed=signed)]

    def _through(self) -> str:
        proxy = self._account.api.proxy
        return f" through {mask(proxy.reveal())}" if proxy else ""

    async def _roots(self) -> str | None:
        for setting in self._loaded.shown:
            if setting.name == "SSL_CERT_FILE" and await anyio.Path(setting.value).is_file():
                return setting.value
        return None

    async def credentials(self) -> Sequence[Finding]:
        """List the zones of each service that is crawled."""
        account = self._account
        if account.api.credentials is None:
            if account.table is None:
                return [failed("credentials", "there are none", NO_CREDENTIALS)]
            return [failed("credentials", fault, _NOT_CRAWLED) for fault in account.faults]
        zones: dict[str, int] = {}
        try:
            access = msgspec.structs.replace(account.api, timing=_ONE_ATTEMPT)
            async with open_client(access, run_timeout=account.run_timeout) as client:
                for service in account.services:
                    listing, _ = await client.zones(SOURCES[service])
                    zones[service] = len(listing)
        except ApiError as error:
            return [judge_refusal(error, self._origin())]
        return [judge_credentials(zones)]

    def _origin(self) -> str:
        """Return where the credentials that are used come from."""
        if self._account.table is not None:
            return self._account.table
        for setting in self._loaded.shown:
            if setting.secret and setting.origin and setting.name in CREDENTIALS:
                return f"{setting.name}, {setting.origin}"
        return "ZENLAYER_*"


def judge_endpoint(
    host: str, through: str, took: float, *, status: int, headers: Mapping[str, str], body: bytes
) -> Finding:
    """Judge the reply to a call that nobody signed: the API refuses it, others know no API.

    ``through`` names the proxy, if there is one; the reply ``took`` that many seconds.
    """
    try:
        wire.read(status=status, headers=headers, body=body)
    except NetworkDenied as error:
        return failed("endpoint", error.message, "else ask whoever runs the network")
    except Challenged as error:
        return failed("endpoint", error.message, "until then nothing can be read; " + _TRY_AGAIN)
    except Denied as error:
        if error.code == "REQUEST_BLOCKED":
            return failed("endpoint", error.message, "or sync from an address that is let in")
    except Throttled:
        pass
    except (BadPayload, TornRead) as error:
        return _stranger(host, error.message)
    except Unreachable as error:
        return failed("endpoint", error.message, _TRY_AGAIN)
    except ApiError as error:
        if error.code == f"HTTP_{status}":  # a refusal by the API has a code of its own
            return _stranger(host, error.message)
    return ok("endpoint", f"{host} answers in {took * 1000:.0f} ms{through}")


def _stranger(host: str, message: str) -> Finding:
    return failed(
        "endpoint",
        f"what answers at {host} is not the API: {message}",
        "check ZENLAYER_ENDPOINT; a proxy or a portal of your network may answer instead",
    )


def judge_certificate(host: str, left: float | None, issued_by: str) -> Finding:
    """Judge a certificate that is trusted, by the seconds that are ``left`` until it expires."""
    if left is None:
        return ok("tls", f"the certificate of {host} is trusted")
    message = f"the certificate of {host} is trusted, by {issued_by}; it expires in {age(left)}"
    if left < _EXPIRES_SOON:
        return warning("tls", message, "whoever runs that server must renew it")
    return ok("tls", message)


def issuer(certificate: Mapping[str, Any]) -> str:
    """Return who issued a certificate, which is as ``ssl.SSLSocket.getpeercert`` returns it."""
    names = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return str(names.get("organizationName") or names.get("commonName") or "an unnamed authority")


def judge_untrusted(message: str, *, roots: str | None) -> Finding:
    """Say how a certificate comes to be trusted; ``roots`` is a SSL_CERT_FILE that is there."""
    if "mismatch" in message:
        advice = "check ZENLAYER_ENDPOINT: that server goes by another name"
    elif "expired" in message or "not yet valid" in message:
        advice = "check this machine's clock; else whoever runs that server must renew it"
    elif roots:
        advice = f"add the certificate of the authority behind it to {roots} (SSL_CERT_FILE)"
    else:
        advice = "set SSL_CERT_FILE to a file (PEM) with the certificate of the authority behind it"
    return failed("tls", message.partition("; ")[0], advice)


def judge_clock(ahead: float | None, *, signed: bool) -> Finding:
    """Judge how far the API's clock is ``ahead`` of this machine's (seconds)."""
    if ahead is None:
        return warning(
            "clock", "the API's answer bears no Date to compare with", "check this machine's clock"
        )
    if abs(ahead) < _CLOCKS_AGREE:
        return ok("clock", f"agrees with the API's ({abs(ahead):.0f} s apart)")
    way = "behind" if ahead > 0 else "ahead of"
    message = f"this machine's clock is {age(abs(ahead))} {way} the API's"
    advice = "set it, and keep it right: timedatectl set-ntp true"
    if abs(ahead) < _SIGNATURE_LIFE or not signed:
        return warning("clock", message, advice)
    return failed("clock", f"{message}: what it signs has expired", advice)


def judge_credentials(zones: Mapping[str, int]) -> Finding:
    """Judge how many zones the API lists, by service."""
    counts = listed([f"{number(count, 'zone')} of {service}" for service, count in zones.items()])
    if not all(zones.values()):
        return warning(
            "credentials",
            f"accepted, but the API lists {counts}",
            "without zones nothing can be read (exit 3): see what this key may see in the console",
        )
    return ok("credentials", f"accepted: {counts}")


def judge_refusal(error: ApiError, origin: str) -> Finding:
    """Judge a call that failed; ``origin`` is where the credentials come from."""
    message = error.message.removesuffix("; check the access key or token")
    if isinstance(error, Throttled):
        return warning("credentials", message, "other programs use this key too: try again later")
    if isinstance(error, Denied):
        return failed(
            "credentials",
            message,
            f"check the access key or token ({origin}): was it copied whole, is it active?",
        )
    return failed("credentials", f"DescribeZones failed: {message}", _TRY_AGAIN)
