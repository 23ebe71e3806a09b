"""The wire format of Zenlayer Cloud API 2.0: signing a request, reading a reply.

Source: docs.console.zenlayer.com, api-introduction/instruction (sign, request, response).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from syncer.core.errors import (
    BadPayload,
    Denied,
    ImageNotFound,
    Refused,
    SignatureExpired,
    SyncError,
    Throttled,
    TornRead,
    Unreachable,
    ZoneNotFound,
)
from syncer.core.normalise import TOO_DEEP, clean, text

ALGORITHM: Final = "ZC2-HMAC-SHA256"
CONTENT_TYPE: Final = "application/json"
_SIGNED_HEADERS: Final = "content-type;host"
_OK: Final = 200
_MAX_MESSAGE: Final = 500

T = TypeVar("T")


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
    return hmac.new(secret.encode(), to_sign.encode(), sha256).hexdigest()


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


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode JSON that may hold what msgspec refuses (lone surrogates, huge numbers, deep nesting).

    Raises TornRead where it is no JSON at all, BadPayload where it is not of the decoder's shape.
    """
    try:
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise TornRead(f"the reply is not UTF-8 ({error.reason})", code="TORN_READ") from error
    except (RecursionError, msgspec.DecodeError):
        pass
    try:
        return decoder.decode(_repaired(_pruned(body)))
    except msgspec.ValidationError as error:
        raise BadPayload(f"the reply has another shape: {error}", code="BAD_PAYLOAD") from error
    except (ValueError, msgspec.DecodeError) as error:
        raise TornRead(f"the reply is not JSON ({error})", code="TORN_READ") from error


_MAX_DEPTH: Final = 64
_MAX_INTEGER: Final = 300
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def _pruned(body: bytes) -> bytes:
    """Return the JSON with every container deeper than any parser goes replaced by a remark."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        mark = token.group()
        if mark in b"[{":
            depth += 1
            if depth == _MAX_DEPTH:
                kept.append(body[start : token.start()])
        elif mark in b"]}":
            if depth == _MAX_DEPTH:
                kept.append(b'"' + TOO_DEEP.encode() + b'"')
                start = token.end()
            depth -= 1
    if depth >= _MAX_DEPTH:
        raise TornRead("the reply is not JSON (it ends in the middle)", code="TORN_READ")
    kept.append(body[start:])
    return b"".join(kept)


def _repaired(body: bytes) -> bytes:
    """Return the JSON again, as the standard library reads it, in a form that msgspec takes.

    Lone surrogates become U+FFFD; integers longer than msgspec reads become text.
    """
    value = json.loads(
        body.decode("utf-8-sig"),
        parse_float=number,
        parse_int=_integer,
        parse_constant=_refuse_constant,
    )
    return _encoder.encode(_without_surrogates(value))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value


def number(literal: str) -> Decimal | str:
    """Return a number exactly, or its text where its exponent is beyond what Decimal holds."""
    try:
        return Decimal(literal)
    except InvalidOperation:
        return literal


def _integer(literal: str) -> int | str:
    return int(literal) if len(literal) <= _MAX_INTEGER else literal


def _refuse_constant(literal: str) -> Any:
    raise ValueError(f"{literal} is not JSON")


def read(*, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Read a reply; ``headers`` must look names up without regard to case.

    Raises the SyncError that says what can be done about a failure: Throttled, Unreachable and
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


def _error_envelope(body: bytes) -> _Envelope:
    """Read the body of a failure; proxies answer in HTML, which is no envelope."""
    try:
        return decode(_envelope, body)
    except SyncError:
        return _Envelope()


def _text(value: Any) -> str | None:
    return clean(value[:_MAX_MESSAGE]) if isinstance(value, str) else None


_BY_CODE: Final[Mapping[str, type[Refused | Denied]]] = {
    "AUTHFAILURE_SIGNATURE_EXPIRED": SignatureExpired,
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


def _error(status: int, headers: Mapping[str, str], envelope: _Envelope) -> SyncError:
    code = _text(envelope.code) or ("" if envelope.code is None else text(envelope.code) or "")
    said = _text(envelope.message)
    request_id = _text(envelope.requestId)
    named = code or f"HTTP_{status}"
    detail = f"{named} (HTTP {status})" + (f": {said}" if said else "")

    if status == _FORBIDDEN and "challenge" in headers.get("cf-mitigated", "").lower():
        return Denied(
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
