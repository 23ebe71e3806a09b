"""What a source is, and how its replies are read; the API's spellings stop here."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from hashlib import sha256
from operator import itemgetter
from typing import Any, Final

import msgspec

from syncer.core.errors import BadPayload
from syncer.core.jsontext import decode, number
from syncer.core.line import line_of, lines_of
from syncer.core.model import TRACKED, ListedZone, Tracked, ZoneRef
from syncer.core.normalise import canonical, size_key, text
from syncer.core.page import LYING, Known, Page, Rows, Total

MAX_ID_BYTES: Final = 512
"""Longer ids are rejected: they would not fit into an index."""

MAX_JSON: Final = 1 << 24
"""More characters of untracked fields are rejected: jsonb ends at 256 MiB (twelve bytes a digit),
and what it holds must be readable: ``1e99`` all over comes out as 342 MB."""

_ALTERED: Final = "\ufffd"
"""What stands where a character had to be replaced (see ``normalise.clean``)."""

_NUL: Final = b"\\u0000"

_object: Final = msgspec.json.Decoder(dict[str, Any], float_hook=number)
_listing: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_rows: Final = msgspec.json.Decoder(list[Any], float_hook=number)
_scalar: Final = msgspec.json.Decoder(float_hook=number)

_SIZE: Final = 1 + TRACKED.index("image_size")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A service whose images can be crawled, and how its replies are spelt.

    ``fields`` are the API's names of the tracked columns, in the order of ``TRACKED`` (None: the
    service has no such field).
    """

    service: str
    version: str
    rows: str
    total: str | None
    fields: tuple[str | None, ...]
    paged: bool = True
    zoned: bool = True
    max_page_size: int = 1000
    zones_parameters: Mapping[str, str] = {}

    def zones_request(self) -> bytes:
        """Return the body of DescribeZones."""
        return msgspec.json.encode(self.zones_parameters)

    def images_request(
        self,
        zone_id: str,
        *,
        page: int = 1,
        page_size: int | None = None,
        image_ids: tuple[str, ...] = (),
    ) -> bytes:
        """Return the body of DescribeImages for one page of a zone, or for images by id."""
        request: dict[str, Any] = {}
        if self.zoned:
            request["zoneId"] = zone_id
        if image_ids:
            request["imageIds"] = image_ids
        if self.paged:
            request["pageNum"] = page
            request["pageSize"] = page_size or self.max_page_size
        return msgspec.json.encode(request)

    def read_images(self, response: bytes, known: Known | None = None) -> Page:
        """Read the ``response`` member of DescribeImages; ``known`` is what the page once held.

        A row that cannot be kept is counted, not raised. Raises BadPayload where the reply has
        neither rows nor a total, or rows that are no list.
        """
        listing = decode(_listing, response)
        rows = listing.get(self.rows)
        total = listing.get(self.total) if self.total else None
        if rows is None and total is None:
            raise BadPayload(
                f"the reply has neither {self.rows} nor {self.total}", code="BAD_PAYLOAD"
            )
        raw = b"[]" if rows is None or bytes(rows) == b"null" else bytes(rows)
        count = None if total is None else _count(bytes(total))
        digest = sha256(raw).digest()
        if (page := self._quickly(raw, count, digest, known)) is not None:
            return page
        read = self._rows(raw)
        return Page(len(read), count, digest, rows=read, raw=raw, read=self._reread)

    def read_images_apart(
        self, response: bytes, mark: bytes, raw: memoryview, known: Known | None = None
    ) -> Page | None:
        """Read a reply whose rows were set aside as ``raw``, ``mark`` in their place.

        Returns None where that is not so, or the rows are not as documented. Raises BadPayload.
        """
        listing = decode(_listing, response)
        rows = listing.get(self.rows)
        if rows is None or bytes(rows) != mark:
            return None
        total = listing.get(self.total) if self.total else None
        count = None if total is None else _count(bytes(total))
        return self._quickly(raw, count, sha256(raw).digest(), known)

    def _quickly(
        self, given: bytes | memoryview, total: Total, digest: bytes, known: Known | None
    ) -> Page | None:
        """Return the page if it is the known one or all its rows are as documented."""
        if known is not None and digest == known.digest:
            return Page(known.served, total, digest, raw=given, read=self._reread)
        raw = bytes(given)
        rows = self._documented(raw)
        if rows is None:
            return None
        return Page(len(rows), total, digest, rows=rows, raw=raw, read=self._reread)

    def _reread(self, given: bytes | memoryview) -> Rows:
        raw = bytes(given)
        return self._documented(raw) or self._rows(raw)

    def _documented(self, raw: bytes) -> Rows | None:
        """Read rows that all are as the API documents them, or return None.

        Several times as fast as row by row, and the same: other rows, and whatever would have to
        be altered or rejected, are left to ``_rows``.
        """
        escapes = b"\\" in raw
        if escapes and _NUL in raw:
            return None
        try:
            rows = _documented_rows(self.fields).decode(raw)
        except (UnicodeDecodeError, RecursionError, msgspec.DecodeError):
            return None
        ids = [row.image_id for row in rows]
        if not _are_usable(ids):
            return None
        values = list(map(msgspec.structs.astuple, rows))
        if None in self.fields:
            pick = _columns(self.fields)
            values = [pick((*value, None)) for value in values]
        sizes = set(map(itemgetter(_SIZE), values))
        # What a line escapes is escaped in JSON too.
        lines = [line_of(row[0], row[1:]) for row in values] if escapes else lines_of(values)
        return Rows(lines, ids, plain=all(size_key(size) == size for size in sizes))

    def _rows(self, raw: bytes) -> Rows:
        try:
            items = decode(_rows, raw)
        except BadPayload as error:
            raise BadPayload(f"{self.rows} is not a list of images", code="BAD_PAYLOAD") from error
        kept = [row for item in items if (row := self._row(item)) is not None]
        lines = [line_of(*row) for row in kept]
        return Rows(lines, [row[0] for row in kept], rejected=len(items) - len(kept))

    def read_zones(self, response: bytes) -> tuple[list[ListedZone], int]:
        """Read the ``response`` member of DescribeZones: the zones, and the rows without an id."""
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
                ref=ZoneRef(self.service, zone_id), name=name, attributes=attributes
            )
        return list(zones.values()), unusable

    def _row(self, row: Any) -> tuple[str, Tracked, str | None] | None:
        if not isinstance(row, dict):
            return None
        image_id = usable_id(row.pop("imageId", None))
        if image_id is None:
            return None
        pop = row.pop
        tracked: Tracked = tuple([text(pop(name, None)) if name else None for name in self.fields])
        extra = canonical(row) if row else None
        if extra is not None and len(extra) > MAX_JSON:
            return None
        return image_id, tracked, extra


@cache
def _documented_rows(fields: tuple[str | None, ...]) -> msgspec.json.Decoder[list[Any]]:
    """Return a decoder of rows of text: the id, then a value for each field."""
    columns = [
        (f"field_{n}", str | None, msgspec.field(default=None, name=name))
        for n, name in enumerate(fields)
        if name
    ]
    row = msgspec.defstruct(
        "Row",
        [("image_id", str, msgspec.field(name="imageId")), *columns],
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]


@cache
def _columns(fields: tuple[str | None, ...]) -> itemgetter[Any]:
    """Return what picks id and tracked columns from a documented row that ends with None."""
    sent = iter(range(1, len(fields) + 1))
    return itemgetter(0, *(next(sent) if name else -1 for name in fields))


def _are_usable(ids: list[str]) -> bool:
    """Return whether all ids are usable as they are; for most pages this is quickly said."""
    if "".join(ids).isascii():
        return all(map(str.strip, ids)) and max(map(len, ids), default=0) <= MAX_ID_BYTES
    return all(usable_id(image_id) == image_id for image_id in ids)


def usable_id(value: Any) -> str | None:
    """Return an id that can be stored and asked for again, or None.

    An id that would have to be altered to be stored is unusable: asked for by its altered form,
    the API would say that a living image does not exist.
    """
    if isinstance(value, dict | list | bool):
        return None
    name = text(value)
    if name is None or _ALTERED in name or not name.strip() or len(name.encode()) > MAX_ID_BYTES:
        return None
    return name


def _count(raw: bytes) -> Total:
    value = decode(_scalar, raw)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:  # noqa: PLR2004
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value) if value.adjusted() < 16 else LYING  # noqa: PLR2004
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**16:
        return None if value is None else LYING
    return value
