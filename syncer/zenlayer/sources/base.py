"""What a source is: a service of the API as data. Its replies are read by ``zenlayer.rows``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import msgspec

from syncer.core.model import ADDED, ALL_TRACKED, TRACKED
from syncer.core.page import PARSER_VERSION


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A service whose images can be crawled: how it is asked, and how its replies are spelt."""

    service: str
    """The name in the URL and in ``X-ZC-Service``."""
    version: str
    """The version of the service's API, ``X-ZC-Version``."""
    rows: str
    """The member of a DescribeImages response that lists the images."""
    total: str | None
    """The member that counts them all (None: the service sends no count)."""
    fields: Mapping[str, str]
    """The API's name of each tracked column; a column that is left out is null for the service.
    What the API sends beside these is kept in ``extra``."""
    others: tuple[str, ...] = ()
    """Of that, what it is documented to send: pages with it are read as fast as without."""
    paged: bool = True
    """Whether images come page by page."""
    zoned: bool = True
    """Whether images are asked for by zone; else they are all of the zone ``*``."""
    max_page_size: int = 1000
    """The most rows a page may be asked to hold."""
    zones_parameters: Mapping[str, str] = {}
    """The body of DescribeZones."""

    def __post_init__(self) -> None:
        unknown = self.fields.keys() - set(ALL_TRACKED)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no tracked column")
        if len(set(self.fields.values())) < len(self.fields):
            raise ValueError("two tracked columns of one field")

    @property
    def added(self) -> tuple[tuple[str, str], ...]:
        """The columns of ``ADDED`` that the service has, each with the API's name of it."""
        return tuple((name, self.fields[name]) for name in ADDED if name in self.fields)

    @property
    def parser(self) -> int:
        """How images are read and which columns they come to: another number, another reading."""
        spelling = (self.rows, self.total, sorted(self.fields.items()), TRACKED)
        return (PARSER_VERSION << 32) + crc32(msgspec.json.encode(spelling))

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
