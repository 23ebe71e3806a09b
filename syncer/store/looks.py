"""What the last whole look at a zone read, kept in digests: the same again is not looked into."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from syncer.core.page import PARSER, Known
from syncer.core.paging import Look
from syncer.store.connection import Connection, sql

_PAGE: Final = Struct(">32sI")
"""A page in ``zone_digests``: the digest of its bytes, and how many rows it held."""


def read(row: Mapping[str, Any]) -> Look | None:
    """Return the look of a row of ``zones_known``, if it has one."""
    if row["pages"] is None:
        return None
    return Look(
        asked=row["asked"],
        total=row["total"],
        images=row["images"],
        pages=tuple(Known(digest, served) for digest, served in _PAGE.iter_unpack(row["pages"])),
        content=row["content"],
    )


async def keep(
    connection: Connection, zone_key: int, before: Look | None, look: Look | None
) -> None:
    """Keep what a whole look read; forget the one ``before`` (None: nothing is to be skipped)."""
    if look is None:
        await connection.execute(sql("zone/look_forget"), zone_key)
    elif look != before:
        pages = b"".join(_PAGE.pack(page.digest, page.served) for page in look.pages)
        await connection.execute(
            sql("zone/look_keep"),
            zone_key,
            PARSER,
            look.asked,
            look.total,
            look.images,
            pages,
            look.content,
        )
