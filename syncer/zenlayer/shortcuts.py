"""Reading a page of images faster than row by row, or not at all: it comes out the same.

The plain way is ``rows.read_page``. Most of a reply are its rows, and most pages of most days hold
what they held before, or rows as the API documents them. So ``read_page`` tries, from the cheapest:

1. The rows are cut out of the body by a guess at where they begin and end, and only the rest is
   parsed. The guess is right if the rest is a reply with the placeholder as its list of rows.
2. If their bytes are those of the last whole look, they are read only when they are needed.
3. If the zone had a whole look, they are split into JSON values and read only when they are needed:
   ``core.known`` says, once all pages are there, which of them are new.
4. If all are as documented (an id, text or null for each of the first columns, and no field that
   the source does not name), they are decoded in one go into structs, several times as fast as row
   by row. Fields of later columns and of ``extra`` are cut out as bytes: few differ within a page.
5. Anything else (other rows, text to be altered, an error) is left to ``rows`` with the whole body.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cache, partial
from operator import add, itemgetter
from typing import Any, Final

import msgspec

from syncer.core import digests
from syncer.core.errors import ApiError
from syncer.core.jsontext import number
from syncer.core.line import line_of, lines_of, tail_of
from syncer.core.model import TRACKED
from syncer.core.normalise import size_key
from syncer.core.page import KnownPage, Page, Rows, split_rows
from syncer.zenlayer import rows, wire
from syncer.zenlayer.sources import Source

PLACEHOLDER: Final = b'"%s"' % secrets.token_hex(16).encode()
"""What stands in the place of rows that were cut out: no reply can hold it by chance."""

_value: Final = msgspec.json.Decoder(float_hook=number)
_NUL: Final = b"\\u0000"
_MOST: Final = 1024
"""Bytes of such a field, at most: no value is so deep that reading it alone makes a difference."""
_SIZE: Final = 1 + TRACKED.index("image_size")


def read_page(
    source: Source,
    known: KnownPage | None,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> Page:
    """Read a reply to DescribeImages; ``known`` is what the page held before. Raises ApiError."""
    page = _shortest(source, known, status=status, headers=headers, body=body)
    if page is not None:
        return page
    read = partial(rows.read_page, source)
    return wire.read_response(read, status=status, headers=headers, body=body)


def _shortest(
    source: Source,
    known: KnownPage | None,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> Page | None:
    """Return the page by the shortest way that is safe; None leaves it to the plain one."""
    if (cut := cut_out_rows(body, source.rows)) is None:
        return None
    rest, raw = cut
    try:
        reply = wire.read(status=status, headers=headers, body=rest)
        listed, total = rows.read_members(source, reply.response)
    except ApiError:
        return None
    if listed != PLACEHOLDER:
        return None
    digest = digests.of_page(raw)
    read = partial(_read_rows, source)
    if known is not None and digest == known.digest:
        return Page(known.served, total, digest, raw=raw, read=read)
    given = bytes(raw)
    if known is not None and (raws := split_rows(given)) is not None:
        return Page(len(raws), total, digest, raw=given, raws=raws, read=read)
    documented = read_documented(source, given)
    if documented is None:
        return None
    return Page(len(documented), total, digest, rows=documented, raw=given, read=read)


def cut_out_rows(body: bytes, name: str) -> tuple[bytes, memoryview] | None:
    """Return a reply with ``PLACEHOLDER`` for its list ``name``, and that list.

    A guess by the bytes, to be checked: it is right if the rest, parsed, has the placeholder as
    that member, and the list is one. Then the whole would be parsed to the same.
    """
    found = _list_start(name).search(body)
    if found is None:
        return None
    start, end = found.end() - 1, body.rfind(b"]") + 1
    return body[:start] + PLACEHOLDER + body[end:], memoryview(body)[start:end]


@cache
def _list_start(name: str) -> re.Pattern[bytes]:
    return re.compile(rb'"%s"\s*:\s*\[' % re.escape(name.encode()))


def _read_rows(source: Source, raw: bytes | memoryview) -> Rows:
    given = bytes(raw)
    documented = read_documented(source, given)
    return rows.read_rows(source, given) if documented is None else documented


def read_documented(source: Source, raw: bytes) -> Rows | None:
    """Read rows that are all as documented and need no alteration; return None for any others."""
    escapes = b"\\" in raw
    if escapes and _NUL in raw:
        return None
    names, others = rows.field_names(source), _others(source)
    try:
        read = _decoder(names, others).decode(raw)
        values = list(map(msgspec.structs.astuple, read))
        tails = _tails(source, [value[-len(others) :] for value in values]) if others else []
    except (UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        return None
    ids = [row.image_id for row in read]
    if tails is None or not _are_usable(ids):
        return None
    if others:
        values = [value[: -len(others)] for value in values]
    if None in names:
        pick = _columns(names)
        values = [pick((*value, None)) for value in values]
    sizes = set(map(itemgetter(_SIZE), values))
    # What a line escapes is escaped in JSON too.
    lines = [line_of(row[0], row[1:]) for row in values] if escapes else lines_of(values)
    plain = not any(tails) and all(size_key(size) == size for size in sizes)
    if tails:
        lines = list(map(add, lines, tails))
    return Rows(lines, ids, plain=plain)


def _others(source: Source) -> tuple[str, ...]:
    """Return the names of the fields that may be anything: later columns, and what is ``extra``."""
    return (*(name for _, name in source.added), *source.others)


def _tails(source: Source, rests: Sequence[tuple[msgspec.Raw, ...]]) -> list[str] | None:
    """Return what rows hold in such fields, as the end of their lines; None: it is too much."""
    known = dict[tuple[bytes, ...], str]()
    tails = []
    for rest in rests:
        key = tuple(map(bytes, rest))
        if (tail := known.get(key)) is None:
            if max(map(len, key)) > _MOST:
                return None
            item = {
                name: _value.decode(value)
                for name, value in zip(_others(source), key, strict=True)
                if value
            }
            read = rows.read_rest(source.added, item)
            if read is None:
                return None
            tail = known[key] = tail_of(*read)
        tails.append(tail)
    return tails


@cache
def _decoder(
    names: tuple[str | None, ...], others: tuple[str, ...]
) -> msgspec.json.Decoder[list[Any]]:
    """Return a decoder of rows: id, a text for each field that has a name, the others as bytes.

    What is not sent is null, or no bytes.
    """
    columns: list[tuple[str, Any, Any]] = [
        (f"field_{n}", str | None, msgspec.field(default=None, name=name))
        for n, name in enumerate(names)
        if name
    ]
    columns += [
        (f"other_{n}", msgspec.Raw, msgspec.field(default=msgspec.Raw(b""), name=name))
        for n, name in enumerate(others)
    ]
    row = msgspec.defstruct(
        "Row",
        [("image_id", str, msgspec.field(name="imageId")), *columns],
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]


@cache
def _columns(names: tuple[str | None, ...]) -> itemgetter[Any]:
    """Return what picks id and tracked columns from a documented row that ends with None."""
    sent = iter(range(1, len(names) + 1))
    return itemgetter(0, *(next(sent) if name else -1 for name in names))


def _are_usable(ids: list[str]) -> bool:
    """Return whether all ids can be stored as they are; of ASCII, this is quickly known."""
    if "".join(ids).isascii():
        return all(map(str.strip, ids)) and max(map(len, ids), default=0) <= rows.MAX_ID_BYTES
    return all(rows.usable_id(image_id) == image_id for image_id in ids)
