"""The wire format of Zenlayer Cloud API 2.0: signing a request, reading a reply.

Source: docs.console.zenlayer.com, api-introduction/instruction (sign, request, response).
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    ImageNotFound,
    Refused,
    SignatureExpired,
    Throttled,
    Unreachable,
    ZoneNotFound,
)
from syncer.core.jsontext import decode
from syncer.core.model import ListedZone
from syncer.core.normalise import text
from syncer.core.page import Known, Page
from syncer.zenlayer.sources import Source

ALGORITHM: Final = "ZC2-HMAC-SHA256"
CONTENT_TYPE: Final = "application/json"
_SIGNED_HEADERS: Final = "content-type;host"
_OK: Final = 200
_MAX_MESSAGE: Final = 500
_MAX_CODE: Final = 100


def signature(*, secret: str, host: str, content_type: str, timestamp: int, body: bytes) -> str:
    """Return the lower-case hex signature of a POST.

    The signed path is always ``/``, whatever path is posted to, and the query is empty. Signed
    header values are lower-cased and trimmed; ``host`` carries the port where it is not 443.
    """
    canonical = "\n".join(
        (
            "POST",
            "/",
            "",
            f"content-type:{content_type.strip().lower()}",
            f"host:{host.strip().lower()}",
            "",
            _SIGNED_HEADERS,
            sha256(body).hexdigest(),
        )
    )
    to_sign = f"{ALGORITHM}\n{timestamp}\n{sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(secret.encode(), to_sign.encode(), "sha256").hex()


def key_pair_headers(
    *, key_id: str, secret: str, host: str, content_type: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers that authenticate ``body`` with an access key pair."""
    signed = signature(
        secret=secret, host=host, content_type=content_type, timestamp=timestamp, body=body
    )
    return {
        "X-ZC-Timestamp": str(timestamp),
        "X-ZC-Signature-Method": ALGORITHM,
        "Authorization": (
            f"{ALGORITHM} Credential={key_id}, SignedHeaders={_SIGNED_HEADERS}, Signature={signed}"
        ),
    }


def token_headers(token: str) -> dict[str, str]:
    """Return the header that authenticates with a bearer token (no timestamp, nothing signed)."""
    return {"Authorization": f"Bearer {token}"}


class _Envelope(msgspec.Struct):
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    code: Any = None
    message: Any = None
    requestId: Any = None  # noqa: N815  (the API's spelling)


_envelope: Final = msgspec.json.Decoder(_Envelope)


class Reply(msgspec.Struct, frozen=True):
    """A successful answer: the bytes of its ``response`` member and the API's request id."""

    response: bytes
    request_id: str | None


def read(*, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Read a reply; ``headers`` must look names up without regard to case.

    Raises the ApiError that says what can be done about a failure: Throttled, Unreachable and
    TornRead may be retried, Denied ends the run, anything else fails the zone.
    """
    if status == _OK:
        envelope = decode(_envelope, body)
        if envelope.code is None and envelope.response is not msgspec.UNSET:
            return Reply(bytes(envelope.response), _text(envelope.requestId))
        if envelope.code is None:
            raise BadPayload(
                "the reply has neither a response nor an error code",
                code="BAD_PAYLOAD",
                request_id=_text(envelope.requestId),
            )
    else:
        envelope = _error_envelope(body)
    raise _error(status, headers, envelope)


MARK: Final = b'"%s"' % secrets.token_hex(16).encode()
"""What stands for the rows of a reply that were set aside: no reply can hold it by itself."""


def set_aside(body: bytes, name: str) -> tuple[bytes, memoryview] | None:
    """Return a reply with ``MARK`` for its list ``name``, and that list: the rest is small.

    A guess by the bytes. It is right if the rest, parsed, has the mark as that member, and the
    list is one: then the whole would be parsed to the same.
    """
    found = _beginning(name).search(body)
    if found is None:
        return None
    start, end = found.end() - 1, body.rfind(b"]") + 1
    return body[:start] + MARK + body[end:], memoryview(body)[start:end]


@cache
def _beginning(name: str) -> re.Pattern[bytes]:
    """Return what the beginning of a list of that name looks like."""
    return re.compile(rb'"%s"\s*:\s*\[' % re.escape(name.encode()))


def _error_envelope(body: bytes) -> _Envelope:
    """Read the body of a failure; proxies answer in HTML, which is no envelope."""
    try:
        return decode(_envelope, body)
    except ApiError:
        return _Envelope()


def _text(value: Any, most: int = _MAX_MESSAGE) -> str | None:
    """Return the beginning of a text as one line that a log and a terminal can show.

    It is not cut within a word (of ASCII): nobody could tell half a secret for what it is.
    """
    if not isinstance(value, str):
        return None
    whole = value if len(value) <= most else re.sub(r"[!-~]+\Z", "", value[:most])
    line = " ".join(whole.split())
    if line.isprintable():  # as nearly all are
        return line
    return "".join(c if c.isprintable() else "\ufffd" for c in line)


_EXPIRED: Final = "AUTHFAILURE_SIGNATURE_EXPIRED"
_BY_CODE: Final[Mapping[str, type[Refused]]] = {
    "INVALID_ZONE_NOT_FOUND": ZoneNotFound,
    "INVALID_IMAGE_NOT_FOUND": ImageNotFound,
    "OPERATION_FAILED_RESOURCE_NOT_FOUND": ImageNotFound,
}
_RETRYABLE_CODES: Final = frozenset(
    {"INTERNAL_SERVER_ERROR", "SERVICE_TEMPORARY_UNAVAILABLE", "REQUEST_TIMED_OUT"}
)
_RETRYABLE_STATUS: Final = frozenset({500, 502, 503, 504})
_THROTTLED: Final = 429
_BLOCKED: Final = 451
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_REDIRECT: Final = range(300, 400)


def _error(status: int, headers: Mapping[str, str], envelope: _Envelope) -> ApiError:
    code = _text(text(envelope.code), _MAX_CODE) or ""
    said = _text(envelope.message)
    request_id = _text(envelope.requestId)
    named = code or f"HTTP_{status}"
    detail = f"{named} (HTTP {status})" + (f": {said}" if said else "")

    if status == _FORBIDDEN and "challenge" in headers.get("cf-mitigated", "").lower():
        return Challenged(
            "the API's protection layer asks for a browser challenge; wait, lower "
            "SYNCER_MAX_RATE, or ask Zenlayer to allow this address",
            code="SECURITY_CHALLENGE",
            request_id=request_id,
        )
    if status == _BLOCKED:
        return Denied(
            "the API blocked this address by policy (HTTP 451); ask Zenlayer to allow it",
            code="REQUEST_BLOCKED",
            request_id=request_id,
        )
    if status == _THROTTLED or code == "REQUEST_LIMIT_EXCEEDED":
        return Throttled(
            f"the API asks for fewer calls: {detail}",
            code=named,
            request_id=request_id,
            after=retry_after(headers),
        )
    if code == _EXPIRED:
        return SignatureExpired(
            f"the API answered {detail}; set this machine's clock, it differs by minutes",
            code=code,
            request_id=request_id,
            server_time=server_time(headers),
        )
    if code in _BY_CODE:
        return _BY_CODE[code](f"the API answered {detail}", code=code, request_id=request_id)
    if status == _UNAUTHORIZED or code.startswith("AUTHFAILURE"):
        return Denied(
            f"the API refused the credentials: {detail}; check the access key or token",
            code=named,
            request_id=request_id,
        )
    if status in _RETRYABLE_STATUS or code in _RETRYABLE_CODES:
        return Unreachable(
            f"the API failed: {detail}",
            code=named,
            request_id=request_id,
            after=retry_after(headers),
        )
    if status in _REDIRECT:
        return Refused(
            f"the endpoint answered with a redirect (HTTP {status}), which is never followed; "
            "check ZENLAYER_ENDPOINT",
            code=named,
        )
    return Refused(f"the API refused the request: {detail}", code=named, request_id=request_id)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return Retry-After in whole seconds, or None where it is absent or no such number."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else None  # noqa: PLR2004


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the reply's ``Date`` in seconds since 1970, or None."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def read_zones(
    source: Source, *, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[list[ListedZone], int]:
    """Return the zones of a DescribeZones reply, and its rows without an id. Raises ApiError."""
    reply = read(status=status, headers=headers, body=body)
    with _told(reply):
        return source.read_zones(reply.response)


def read_page(
    source: Source,
    known: Known | None,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> Page:
    """Return the page of a DescribeImages reply; ``known`` is what it once held.

    Raises ApiError. Most of a reply are its rows: set aside, they are looked at once, and only
    for their digest where they are the known ones. Whatever is amiss is decided the long way.
    """
    if apart := set_aside(body, source.rows):
        rest, rows = apart
        with contextlib.suppress(ApiError):
            reply = read(status=status, headers=headers, body=rest)
            if page := source.read_images_apart(reply.response, MARK, rows, known):
                return page
    reply = read(status=status, headers=headers, body=body)
    with _told(reply):
        return source.read_images(reply.response, known)


@contextlib.contextmanager
def _told(reply: Reply) -> Iterator[None]:
    """Name the request in an error about what its reply holds."""
    try:
        yield
    except ApiError as error:
        error.request_id = error.request_id or reply.request_id
        raise
