"""From a reply to rows, the plain way: what a page of images is, and a list of zones.

A row of DescribeImages is an object with an ``imageId``. Its tracked fields become text, whatever
type they came in; everything else becomes ``extra``. A row that cannot be kept is counted, not
raised: its zone is incomplete, and the rows beside it are stored. The API's spellings end here.

``shortcuts`` reads the same pages faster where it can; what it reads is what this module says.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec

from syncer.core import digests
from syncer.core.added import text_of, value_of
from syncer.core.errors import BadPayload
from syncer.core.jsontext import decode, number
from syncer.core.line import line_of
from syncer.core.model import TRACKED, ListedZone, Tracked, ZoneRef
from syncer.core.normalise import REPLACEMENT, canonical, text
from syncer.core.page import INVALID_TOTAL, Page, Rows, Total
from syncer.zenlayer.sources import Source

MAX_ID_BYTES: Final = 512
"""Longer ids are rejected: they would not fit into an index."""

MAX_JSON: Final = 1 << 24
"""More characters of untracked fields are rejected: jsonb ends at 256 MiB (twelve bytes a digit),
and what it holds must be readable: ``1e99`` all over comes out as 342 MB."""

_TOTAL_DIGITS: Final = 16
"""A totalCount of more digits is no count; as text, of as many."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list: Final = msgspec.json.Decoder(list[Any], float_hook=number)
_object: Final = msgspec.json.Decoder(dict[str, Any], float_hook=number)
_scalar: Final = msgspec.json.Decoder(float_hook=number)


def read_page(source: Source, response: bytes) -> Page:
    """Read the ``response`` member of DescribeImages. Raises BadPayload."""
    raw, total = read_members(source, response)
    rows = read_rows(source, raw)
    digest = digests.of_page(raw)
    return Page(len(rows), total, digest, rows=rows, raw=raw, read=partial(read_rows, source))


def read_members(source: Source, response: bytes) -> tuple[bytes, Total]:
    """Return the JSON of a response's rows, and its total.

    Raises BadPayload where it has neither: an empty zone may have no rows, but has a total.
    """
    members = decode(_members, response)
    rows = members.get(source.rows)
    total = members.get(source.total) if source.total else None
    if rows is None and total is None:
        raise BadPayload(
            f"the reply has neither {source.rows} nor {source.total}", code="BAD_PAYLOAD"
        )
    raw = b"[]" if rows is None or bytes(rows) == b"null" else bytes(rows)
    return raw, None if total is None else _count(bytes(total))


def read_rows(source: Source, raw: bytes | memoryview) -> Rows:
    """Read the JSON of rows. Raises BadPayload where it is no list."""
    try:
        items = decode(_list, bytes(raw))
    except BadPayload as error:
        raise BadPayload(f"{source.rows} is not a list of images", code="BAD_PAYLOAD") from error
    names, added = field_names(source), source.added
    kept = [row for item in items if (row := _row(names, added, item)) is not None]
    lines = [line_of(*row) for row in kept]
    return Rows(lines, [row[0] for row in kept], rejected=len(items) - len(kept))


def field_names(source: Source) -> tuple[str | None, ...]:
    """Return the API's names of ``TRACKED``, in that order (None: the service has none)."""
    return tuple(map(source.fields.get, TRACKED))


def _row(
    names: Sequence[str | None], added: Sequence[tuple[str, str]], item: object
) -> tuple[str, Tracked, str | None, str | None] | None:
    """Return id, tracked values, ``extra`` and ``added`` of a row; None if it cannot be kept."""
    if not isinstance(item, dict):
        return None
    image_id = usable_id(item.pop("imageId", None))
    if image_id is None:
        return None
    pop = item.pop
    tracked = tuple([text(pop(name, None)) if name else None for name in names])
    rest = read_rest(added, item)
    return None if rest is None else (image_id, tracked, *rest)


def read_rest(
    added: Sequence[tuple[str, str]], item: dict[str, Any]
) -> tuple[str | None, str | None] | None:
    """Return ``extra`` and ``added`` of what a row holds beside id and first columns.

    Empties ``item`` of what is tracked. None: it is more than can be kept.
    """
    later = {column: value_of(item.pop(name)) for column, name in added if name in item}
    extra = canonical(item) if item else None
    if extra is not None and len(extra) > MAX_JSON:
        return None
    return extra, text_of(later)


def usable_id(value: object) -> str | None:
    """Return an id that can be stored and asked for again, or None.

    An id that would have to be altered to be stored is unusable: asked for by its altered form,
    the API would say that a living image does not exist.
    """
    if isinstance(value, dict | list | bool):
        return None
    name = text(value)
    if name is None or REPLACEMENT in name or not name.strip():
        return None
    return name if len(name.encode()) <= MAX_ID_BYTES else None


def _count(raw: bytes) -> Total:
    """Read a total: a whole number in any spelling, null, or invalid."""
    value = decode(_scalar, raw)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < _TOTAL_DIGITS else INVALID_TOTAL
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value) if value.adjusted() < _TOTAL_DIGITS else INVALID_TOTAL
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**_TOTAL_DIGITS:
        return None if value is None else INVALID_TOTAL
    return value


def read_zones(source: Source, response: bytes) -> tuple[list[ListedZone], int]:
    """Read the ``response`` member of DescribeZones: the zones, and how many rows are unusable.

    Raises BadPayload.
    """
    rows = decode(_object, response).get("zoneSet")
    if not isinstance(rows, list):
        raise BadPayload("the reply has no zoneSet", code="BAD_PAYLOAD")
    zones: dict[str, ListedZone] = {}
    unusable = 0
    for row in rows:
        zone_id = usable_id(row.pop("zoneId", None)) if isinstance(row, dict) else None
        if zone_id is None:
            unusable += 1
            continue
        name = text(row.pop("zoneName", None))
        attributes = canonical(row)
        if len(attributes) > MAX_JSON:
            unusable += 1
            continue
        zones[zone_id] = ListedZone(
            ref=ZoneRef(source.service, zone_id), name=name, attributes=attributes
        )
    return list(zones.values()), unusable
