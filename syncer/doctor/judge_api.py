"""The API as it was found: its answer, its certificate, its clock, and our credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    Throttled,
    TornRead,
    Unreachable,
)
from syncer.doctor.finding import Finding, age, failed, listed, number, ok, warning
from syncer.zenlayer import wire

_AGREE: Final = 30.0
SIGNATURE_LIFE: Final = 300.0
"""Seconds by which a signature's time may differ from the API's (documented)."""
_SOON: Final = 14 * 86400.0
_WHEN: Final = "try again, and if it stays so ask Zenlayer"


def endpoint(
    host: str, way: str, took: float, *, status: int, headers: Mapping[str, str], body: bytes
) -> Finding:
    """Judge the answer to a call that nobody signed: the API refuses it, others know no API."""
    try:
        wire.read(status=status, headers=headers, body=body)
    except Challenged as error:
        return failed("endpoint", error.message, "until then nothing can be read; " + _WHEN)
    except Denied as error:
        if error.code == "REQUEST_BLOCKED":
            return failed("endpoint", error.message, "or sync from an address that is let in")
    except Throttled:
        pass
    except (BadPayload, TornRead) as error:
        return _stranger(host, error.message)
    except Unreachable as error:
        return failed("endpoint", error.message, _WHEN)
    except ApiError as error:
        if error.code == f"HTTP_{status}":  # a refusal by the API has a code of its own
            return _stranger(host, error.message)
    return ok("endpoint", f"{host} answers in {took * 1000:.0f} ms{way}")


def _stranger(host: str, message: str) -> Finding:
    return failed(
        "endpoint",
        f"what answers at {host} is not the API: {message}",
        "check ZENLAYER_ENDPOINT; a proxy or a portal of your network may answer instead",
    )


def certificate(host: str, days: float | None, issuer: str) -> Finding:
    """Judge a certificate that is trusted by the days it is still good for."""
    if days is None:
        return ok("tls", f"the certificate of {host} is trusted")
    said = f"the certificate of {host} is trusted, by {issuer}; it expires in {age(days * 86400)}"
    if days * 86400 < _SOON:
        return warning("tls", said, "whoever runs that server must renew it")
    return ok("tls", said)


def issuer(presented: Mapping[str, Any]) -> str:
    """Return who issued a certificate, as ``ssl.SSLSocket.getpeercert`` tells of it."""
    names = {name: value for part in presented.get("issuer", ()) for name, value in part}
    return str(names.get("organizationName") or names.get("commonName") or "an unnamed authority")


def untrusted(message: str, *, roots: str | None) -> Finding:
    """Tell of a certificate that is not trusted; ``roots`` is a SSL_CERT_FILE that is there."""
    if "mismatch" in message:
        advice = "check ZENLAYER_ENDPOINT: that server goes by another name"
    elif "expired" in message or "not yet valid" in message:
        advice = "check this machine's clock; else whoever runs that server must renew it"
    elif roots:
        advice = f"add the certificate of the authority behind it to {roots} (SSL_CERT_FILE)"
    else:
        advice = "set SSL_CERT_FILE to a file (PEM) with the certificate of the authority behind it"
    return failed("tls", message.partition("; ")[0], advice)


def clock(ahead: float | None, *, signed: bool) -> Finding:
    """Judge how far the API's clock is ``ahead`` of this machine's (seconds)."""
    if ahead is None:
        return warning(
            "clock", "the API's answer bears no Date to compare with", "check this machine's clock"
        )
    if abs(ahead) < _AGREE:
        return ok("clock", f"agrees with the API's ({abs(ahead):.0f} s apart)")
    way = "behind" if ahead > 0 else "ahead of"
    said = f"this machine's clock is {age(abs(ahead))} {way} the API's"
    advice = "set it, and keep it right: timedatectl set-ntp true"
    if abs(ahead) < SIGNATURE_LIFE or not signed:
        return warning("clock", said, advice)
    return failed("clock", f"{said}: what it signs has expired", advice)


def credentials(zones: Mapping[str, int]) -> Finding:
    """Judge what DescribeZones answered, by service."""
    seen = listed([f"{number(count, 'zone')} of {service}" for service, count in zones.items()])
    if not all(zones.values()):
        return warning(
            "credentials",
            f"accepted, but the API lists {seen}",
            "without zones nothing can be read (exit 3): see what this key may see in the console",
        )
    return ok("credentials", f"accepted: {seen}")


def refused(error: ApiError, origin: str) -> Finding:
    """Tell of a call that failed; ``origin`` is where the credentials come from."""
    message = error.message.removesuffix("; check the access key or token")
    if isinstance(error, Throttled):
        return warning("credentials", message, "other programs use this key too: try again later")
    if isinstance(error, Denied):
        return failed(
            "credentials",
            message,
            f"check the access key or token ({origin}): was it copied whole, is it active?",
        )
    return failed("credentials", f"DescribeZones failed: {message}", _WHEN)
