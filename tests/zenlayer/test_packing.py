"""What a body is packed in: its bytes decide, as gateways write Content-Encoding as they like."""

from __future__ import annotations

import functools
import gzip
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.errors import ApiError, Refused, TornRead
from syncer.zenlayer import packing
from syncer.zenlayer.packing import unpack

TEXT = b'{"response":{"totalCount":0}}'
packed = functools.partial(gzip.compress, mtime=0)
"""The same bytes in each process that collects: they name a case."""
PACKED = packed(TEXT)
RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(TEXT) + RAW.flush()
BROTLI = bytes.fromhex("8b0e00") + TEXT + b"\x03"
ZSTD = bytes.fromhex("28b52ffd201de90000") + TEXT


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (TEXT, "gzip"),
        (TEXT, "br"),
        (TEXT, "utf-8"),
        (PACKED, "gzip"),
        (PACKED, "GZIP"),
        (PACKED, "x-gzip"),
        (PACKED, "gzip, identity"),
        (PACKED, "identity,gzip"),
        (PACKED, ""),
        (PACKED, "deflate"),
        (PACKED, "br"),
        (packed(PACKED), "gzip, gzip"),
        (packed(PACKED), "gzip"),
        (packed(TEXT[:9]) + packed(TEXT[9:]), "gzip"),
        (PACKED + bytes(16), "gzip"),
        (PACKED[:-8], "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (DEFLATED, "Deflate"),
        (TEXT, "deflate"),
    ],
)
def test_what_a_gateway_packs_is_unpacked(body: bytes, encoding: str) -> None:
    """Once or twice, in parts, without its end; named in any way, wrongly or not at all."""
    assert TEXT == unpack(body, encoding)


@pytest.mark.parametrize(
    ("body", "encoding", "kind", "words"),
    [
        (BROTLI, "br", Refused, "packed as br, which was not asked for"),
        (ZSTD, "zstd", Refused, "packed as zstd"),
        (ZSTD, "", Refused, "packed as zstd"),
        (BROTLI, "gzip, aws-chunked", Refused, "packed as aws-chunked"),
        (b"\x1f\x8b" + TEXT, "gzip", TornRead, "is damaged"),
        (PACKED[:20] + b"\xff\xff\xff" + PACKED[23:], "gzip", TornRead, "is damaged"),
        (BROTLI, "deflate", TornRead, "is damaged"),
    ],
)
def test_what_cannot_be_unpacked_is_named(
    body: bytes, encoding: str, kind: type[ApiError], words: str
) -> None:
    """What was not asked for is never read by asking again; what is damaged may be."""
    with pytest.raises(ApiError, match=words) as caught:
        unpack(body, encoding)
    assert kind is type(caught.value)


def test_what_is_unpacked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all parts and layers together: a bomb of any make is refused before it is unpacked."""
    monkeypatch.setattr(packing, "MAX_BODY", 1000)
    parts = gzip.compress(bytes(600)) * 2
    for bomb in (gzip.compress(bytes(10**6)), gzip.compress(gzip.compress(bytes(10**6))), parts):
        tracemalloc.start()
        try:
            with pytest.raises(Refused) as caught:
                unpack(bomb)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert "REPLY_TOO_LARGE" == caught.value.code
        assert most < 200_000
    assert bytes(1000) == unpack(gzip.compress(bytes(1000)))


@given(
    st.binary(max_size=60) | st.binary(max_size=30).map(lambda rest: PACKED[:10] + rest),
    st.text(max_size=12) | st.sampled_from(["gzip", "deflate", "br"]),
)
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_unpacked_or_a_named_error(body: bytes, encoding: str) -> None:
    with suppress(Refused, TornRead):
        assert isinstance(unpack(body, encoding), bytes)


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_json_is_never_taken_for_packed(tail: bytes) -> None:
    """Whatever follows, what begins as JSON does is left as it is."""
    for head in (b"{", b"[", b" {", b"\xef\xbb\xbf{", b'"', b"\n\n["):
        assert head + tail == unpack(head + tail, "gzip, deflate, br")
