"""What the body of a reply is packed in: what its bytes show, whatever its headers say.

We ask for gzip. Gateways write ``GZIP``, ``x-gzip`` or ``gzip, identity``, pack what is packed,
unpack and leave the header as it was, or pack and add none. Neither JSON nor HTML begins as packed
data does, so the bytes decide; the header does where they cannot (deflate), and it names what we
did not ask for.
"""

from __future__ import annotations

import zlib
from typing import Final

from syncer.core.errors import Refused, TornRead

ACCEPTED: Final = "gzip"
"""The Accept-Encoding of our requests."""
MAX_BODY: Final = 64 * 1024 * 1024
"""The most bytes that one reply may hold, as it is sent and as it is unpacked."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MOST_LAYERS: Final = 4
_TEXT: Final = b'{["<'
"""How JSON and HTML begin."""
_READ: Final = frozenset({"", "gzip", "x-gzip", "deflate", "identity"})
_AS_GZIP, _AS_ZLIB, _AS_DEFLATE = 31, 15, -15  # zlib's wbits


def unpack(body: bytes, encoding: str = "") -> bytes:
    """Return a body as it was before it was packed; ``encoding`` is its Content-Encoding.

    Raises Refused where it is packed as was not asked for, or larger than MAX_BODY; TornRead where
    it is damaged. Of one that was cut off, what there is of it is returned.
    """
    named = [name.strip() for name in encoding.lower().split(",")]
    for _ in range(_MOST_LAYERS):
        if not body.startswith(_GZIP):
            break
        body = _unpacked(body, _AS_GZIP)
    if not body or body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in _TEXT:
        return body
    if "deflate" in named:
        try:
            return _unpacked(body, _AS_ZLIB)
        except TornRead:  # some leave the wrapping out
            return _unpacked(body, _AS_DEFLATE)
    foreign = [name for name in named if name not in _READ]
    if body.startswith(_ZSTD) or foreign:
        raise Refused(
            f"the reply is packed as {foreign[0][:40] if foreign else 'zstd'}, which was not asked "
            "for; a proxy or gateway between must send it as it is, or as gzip",
            code="UNKNOWN_ENCODING",
        )
    return body


def require_size(size: int) -> None:
    """Raise Refused where a body is larger than it may be."""
    if size > MAX_BODY:
        raise Refused(f"the reply is larger than {MAX_BODY >> 20} MiB", code="REPLY_TOO_LARGE")


def _unpacked(body: bytes, form: int) -> bytes:
    """Unpack one layer, which may consist of several parts."""
    parts: list[bytes] = []
    size = 0
    while not parts or body.startswith(_GZIP):
        unpacker = zlib.decompressobj(form)
        try:
            part = unpacker.decompress(body, MAX_BODY + 1 - size)
        except zlib.error as error:
            raise TornRead(f"the reply is damaged ({error})", code="TORN_READ") from error
        parts.append(part)
        size += len(part)
        require_size(size)
        body = unpacker.unused_data
    return b"".join(parts)
