"""The wire format of Zenlayer Cloud API 2.0: signing a request, reading a reply.

Source: docs.console.zenlayer.com, api-introduction/instruction (sign, request, response).
"""

from __future__ import annotations

import contextlib
import hmac
import html
import re
from collections.abc import Callable, Container, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    ImageNotFound,
    NetworkDenied,
    Refused,
    Retryable,
    SignatureExpired,
    Throttled,
    TornRead,
    Unreachable,
    ZoneNotFound,
)
from syncer.core.jsontext import decode
from syncer.core.normalise import printable, text
from syncer.secrets import redacted

T = TypeVar("T")
ALGORITHM: Final = "ZC2-HMAC-SHA256"
CONTENT_TYPE: Final = "application/json"
BLOCKED: Final = "REQUEST_BLOCKED"
"""The code of a refusal by policy (HTTP 451), whatever is asked for."""
LONGEST_PAUSE: Final = 1e6
"""The most seconds that a Retry-After is taken to ask for: more than any run may take."""
LOGIN_ASKED: Final = 407
"""The status by which a proxy asks for a login, or for another."""
PROXY_LOGIN: Final = "PROXY_LOGIN"
"""The code of such a refusal: repetition locks accounts."""
_SIGNED_HEADERS: Final = "content-type;host"
_OK: Final = frozenset({200, 203})
"""203 is a 200 that a gateway changed (RFC 9110, 15.3.4)."""
_PAGE: Final = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<", re.DOTALL)
_TITLE: Final = re.compile(rb"<title[^>]*+>([^<]*+)<", re.IGNORECASE)
_MAX_MESSAGE: Final = 500
_MAX_CODE: Final = 100
_MAX_TITLE: Final = 100
_MAX_PAGE: Final = 64 * 1024
"""The bytes of a page in which its title is looked for."""


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
    with error_context():
        envelope = _success(body) if status in _OK else _error_envelope(body)
    request_id = _text(envelope.requestId)
    with error_context(request_id):
        if status not in _OK or envelope.code is not None:
            code = _text(text(envelope.code), _MAX_CODE) or ""
            message = _text(envelope.message) or _page(body)
            raise _error(_Failure(status=status, headers=headers, code=code, message=message))
        if envelope.response is msgspec.UNSET:
            raise BadPayload(
                "the reply has neither a response nor an error code", code="BAD_PAYLOAD"
            )
    return Reply(bytes(envelope.response), request_id)


def read_response(
    read_content: Callable[[bytes], T], *, status: int, headers: Mapping[str, str], body: bytes
) -> T:
    """Read a reply, and its ``response`` member with ``read_content``. Raises ApiError."""
    reply = read(status=status, headers=headers, body=body)
    with error_context(reply.request_id):
        return read_content(reply.response)


@contextlib.contextmanager
def error_context(request_id: str | None = None) -> Iterator[None]:
    """Complete errors about a reply: with the request's id, and without our secrets.

    The API may repeat in its words what it was sent.
    """
    try:
        yield
    except ApiError as error:
        error.code, error.message = redacted(error.code), redacted(error.message)
        request_id = error.request_id or request_id
        error.request_id = request_id and redacted(request_id)
        error.args = (error.message,)
        raise


def _success(body: bytes) -> _Envelope:
    """Read the body of a success; networks put pages of their own in its place."""
    if not body or body.isspace():
        raise TornRead("the reply is empty", code="TORN_READ")
    try:
        return decode(_envelope, body)
    except TornRead:
        if (page := _page(body)) is None:
            raise
        raise TornRead(
            f"the reply is not the API's but {page}: a portal, proxy or gateway of the network "
            "sends it, or ZENLAYER_ENDPOINT is wrong",
            code="HTML_REPLY",
        ) from None


def _page(body: bytes) -> str | None:
    """Return what a page of HTML (or XML) shows as its title; None where the body is none."""
    if not _PAGE.match(body):
        return None
    title = _TITLE.search(body, 0, _MAX_PAGE)
    said = _text(html.unescape(title[1].decode(errors="replace")), _MAX_TITLE) if title else None
    return f'a page of HTML, "{said}"' if said else "a page of HTML"


def _error_envelope(body: bytes) -> _Envelope:
    """Read the body of a failure; proxies answer in HTML, which is no envelope."""
    try:
        return decode(_envelope, body)
    except ApiError:
        return _Envelope()


def _text(value: Any, most: int = _MAX_MESSAGE) -> str | None:
    """Return the beginning of a text as one line that a log and a terminal can show.

    It is not cut within a word (of ASCII): half a secret would not be recognised and masked.
    """
    if not isinstance(value, str):
        return None
    whole = value if len(value) <= most else re.sub(r"[!-~]+\Z", "", value[:most])
    return printable(" ".join(whole.split()))


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply says of a failed call, fit to be shown."""

    status: int
    headers: Mapping[str, str]
    code: str
    message: str | None

    @property
    def name(self) -> str:
        """The API's code, or the status where a proxy answered."""
        return self.code or f"HTTP_{self.status}"

    @property
    def place(self) -> str:
        """Where a redirect leads: its host only, as the rest may be anything."""
        with contextlib.suppress(ValueError):
            if host := urlsplit(self.headers.get("Location", "")).hostname:
                return f" to {printable(host)[:100]}"
        return ""

    @property
    def detail(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"{self.name} (HTTP {self.status}){said}"


class _Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a status or a code means. ``text`` is the message; ``code`` replaces the API's."""

    error: type[ApiError]
    text: str
    statuses: Container[int] = ()
    codes: Container[str] = ()
    prefix: str | None = None
    """Codes that begin so mean the same."""
    challenge: bool = False
    """Only where the protection layer (Cloudflare) says so in a header."""
    code: str | None = None

    def applies(self, failure: _Failure) -> bool:
        if self.challenge and not _is_challenge(failure.headers):
            return False
        return (
            failure.status in self.statuses
            or failure.code in self.codes
            or (self.prefix is not None and failure.code.startswith(self.prefix))
        )


_RULES: Final = (
    _Rule(
        error=Challenged,
        statuses={403},
        challenge=True,
        code="SECURITY_CHALLENGE",
        text="the API's protection layer asks for a browser challenge; wait, lower "
        "SYNCER_MAX_RATE, or ask Zenlayer to allow this address",
    ),
    _Rule(
        error=NetworkDenied,
        statuses={LOGIN_ASKED},
        code=PROXY_LOGIN,
        text="a proxy between asks for a login (HTTP {status}): write "
        "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    ),
    _Rule(
        error=NetworkDenied,
        statuses={511},
        code="NETWORK_LOGIN",
        text="the network asks for a login first (HTTP {status}): open any page in a browser there",
    ),
    _Rule(
        error=TornRead,
        statuses={204, 205},
        text="the reply is empty (HTTP {status})",
    ),
    _Rule(
        error=Denied,
        statuses={451},
        code=BLOCKED,
        text="the API blocked this address by policy (HTTP 451); ask Zenlayer to allow it",
    ),
    _Rule(
        error=Throttled,
        statuses={429},
        codes={"REQUEST_LIMIT_EXCEEDED"},
        text="the API asks for fewer calls: {detail}",
    ),
    _Rule(
        error=SignatureExpired,
        codes={"AUTHFAILURE_SIGNATURE_EXPIRED"},
        text="the API answered {detail}; set this machine's clock, it differs by minutes",
    ),
    _Rule(
        error=ZoneNotFound,
        codes={"INVALID_ZONE_NOT_FOUND", "INVALID_REGION_NOT_FOUND"},
        text="the API answered {detail}",
    ),
    _Rule(
        error=ImageNotFound,
        codes={"INVALID_IMAGE_NOT_FOUND", "OPERATION_FAILED_RESOURCE_NOT_FOUND"},
        text="the API answered {detail}",
    ),
    _Rule(
        error=Denied,
        statuses={401},
        prefix="AUTHFAILURE",
        text="the API refused the credentials: {detail}; check the access key or token",
    ),
    _Rule(
        error=Unreachable,
        statuses={500, 502, 503, 504},
        codes={"INTERNAL_SERVER_ERROR", "SERVICE_TEMPORARY_UNAVAILABLE", "REQUEST_TIMED_OUT"},
        text="the API failed: {detail}",
    ),
    _Rule(
        error=Refused,
        statuses=range(300, 400),
        text="the endpoint answered with a redirect (HTTP {status}{place}), which is never "
        "followed; check ZENLAYER_ENDPOINT, and whether the network asks for a login first",
    ),
)
"""What each failure means. The order matters: the first rule that applies decides."""

_ANY_OTHER: Final = _Rule(error=Refused, text="the API refused the request: {detail}")


def _error(failure: _Failure) -> ApiError:
    """Return the error that says what can be done about a failure."""
    rule = next((rule for rule in _RULES if rule.applies(failure)), _ANY_OTHER)
    text = rule.text.format(detail=failure.detail, status=failure.status, place=failure.place)
    error = rule.error(text, code=rule.code or failure.name)
    if isinstance(error, Retryable):
        error.after = retry_after(failure.headers)
    elif isinstance(error, SignatureExpired):
        error.server_time = server_time(failure.headers)
    return error


def _is_challenge(headers: Mapping[str, str]) -> bool:
    return "challenge" in headers.get("cf-mitigated", "").lower()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, at most LONGEST_PAUSE; None where it does not.

    A moment is counted from the reply's own ``Date``: which of the two clocks is right matters not.
    Source: RFC 9110, 10.2.3 and 5.6.7.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_PAUSE)
    until, now = _moment(value), server_time(headers)
    return None if until is None or now is None else min(max(until - now, 0.0), LONGEST_PAUSE)


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the reply's ``Date`` in seconds since 1970, or None."""
    return _moment(headers.get("Date", ""))


def _moment(value: str) -> float | None:
    """Return a moment of HTTP, in any of its three forms, in seconds since 1970; None: it is none.

    That of ``asctime`` names no zone: it is UTC, as all of them are.
    """
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
