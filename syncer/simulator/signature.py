"""Check of the API's authentication: ZC2-HMAC-SHA256 and bearer tokens.

This is the simulator's own reading of the documentation, apart from the client's, so that an
error in one of the two shows.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping

from syncer.simulator.replies import ErrorReply

METHOD = "ZC2-HMAC-SHA256"
TOLERANCE = 300
"""Seconds by which the client's clock and the server's may differ."""

_MANDATORY = frozenset({"content-type", "host"})
_AUTHORIZATION = re.compile(
    METHOD + r" +Credential=(?P<key>[^,\s]+)\s*,\s*SignedHeaders=(?P<names>[^,\s]+)"
    r"\s*,\s*Signature=(?P<signature>[^,\s]+)\s*"
)
_BEARER = re.compile(r"[Bb]earer +(?P<token>\S+)\s*")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def verify(
    *,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    access_keys: Mapping[str, str],
    tokens: Collection[str],
    now: float,
) -> str:
    """Return who asks (an access key id, or ``token`` and its number), or raise ``ErrorReply``.

    ``headers`` must be case-insensitive or have lower-case names. Which code the API gives for an
    unknown key id or token is not documented; here they get that of a wrong signature and that of
    a malformed header.
    """
    authorization = headers.get("authorization", "")
    if bearer := _BEARER.fullmatch(authorization):
        return _token(bearer["token"], tokens)
    found = _AUTHORIZATION.fullmatch(authorization)
    if found is None:
        raise _malformed(f"Authorization is missing or not of the form of {METHOD} or Bearer")
    if headers.get("x-zc-signature-method", "").strip() != METHOD:
        raise _malformed(f"X-ZC-Signature-Method must be {METHOD}")
    timestamp = headers.get("x-zc-timestamp", "").strip()
    if not _TIMESTAMP.fullmatch(timestamp):
        raise _malformed("X-ZC-Timestamp must be UNIX seconds as a decimal number")
    if abs(int(timestamp) - now) > TOLERANCE:
        raise ErrorReply(
            401,
            "AUTHFAILURE_SIGNATURE_EXPIRED",
            f"X-ZC-Timestamp differs from the server's time by more than {TOLERANCE} seconds",
        )
    names = sorted({name.strip().lower() for name in found["names"].split(";")})
    request = canonical_request(method=method, headers=headers, names=names, body=body)
    secret = access_keys.get(found["key"])
    if secret is None or found["signature"] != sign(secret, string_to_sign(timestamp, request)):
        raise ErrorReply(
            401, "AUTHFAILURE_SIGNATURE_FAILURE", "The signature is not the one the server made"
        )
    return found["key"]


def canonical_request(
    *, method: str, headers: Mapping[str, str], names: list[str], body: bytes
) -> str:
    """Return what is hashed; path and query are constants (the posted path is not signed)."""
    if missing := _MANDATORY - set(names):
        raise _malformed(f"SignedHeaders must name {' and '.join(sorted(missing))}")
    if unsent := [name for name in names if name not in headers]:
        raise _malformed(f"SignedHeaders names {unsent[0]}, which was not sent")
    lines = "".join(f"{name}:{headers[name].strip().lower()}\n" for name in names)
    return "\n".join((method, "/", "", lines, ";".join(names), hashlib.sha256(body).hexdigest()))


def string_to_sign(timestamp: str, request: str) -> str:
    """Return what is signed for a canonical request."""
    return "\n".join((METHOD, timestamp, hashlib.sha256(_raw(request)).hexdigest()))


def sign(secret: str, text: str) -> str:
    """Return the signature as lower-case hexadecimal digits."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _token(given: str, tokens: Collection[str]) -> str:
    if given not in tokens:
        raise _malformed("The token is unknown or has expired")
    return f"token {sorted(tokens).index(given)}"


def _raw(text: str) -> bytes:
    # Header bytes that are no UTF-8 arrive as surrogates.
    return text.encode(errors="surrogateescape")


def _malformed(message: str) -> ErrorReply:
    return ErrorReply(401, "AUTHFAILURE_INVALID_AUTHORIZATION", message)
