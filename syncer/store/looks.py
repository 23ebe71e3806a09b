"""What is kept of the last whole look at a zone, in ``zone_digests``: see ``core.known``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, Final

from syncer.core.known import KeptRows, Look
from syncer.core.page import KnownPage
from syncer.core.paging import Snapshot
from syncer.store.connection import Connection, sql

_PAGE: Final = Struct(">32sI")
"""A page: the digest of its bytes, and how many rows it held."""


def read(row: Mapping[str, Any], parser: int | None) -> Look | None:
    """Return the look of a row of ``zone/known``, if it has one that was read in the same way."""
    if row["pages"] is None or row["parser"] != parser:
        return None
    return Look(
        asked=row["asked"],
        total=row["total"],
        images=row["images"],
        pages=tuple(
            KnownPage(digest, served) for digest, served in _PAGE.iter_unpack(row["pages"])
        ),
        content=row["content"] or None,
        hash=row["hash"],
        unordered=row["unordered"],
        has_rows=row["has_rows"],
        names=tuple(row["names"] or ()),
    )


async def keep(
    connection: Connection,
    zone_key: int,
    snapshot: Snapshot | None,
    *,
    parser: int = 0,
    before: Look | None = None,
) -> None:
    """Keep what a whole look read, and forget the one ``before``.

    Of the rows that one left behind what is still of use stays. None: nothing is to be skipped.
    """
    if snapshot is None:
        await connection.execute(sql("zone/look_forget"), zone_key)
        return
    look, rows = snapshot.look, snapshot.rows
    base_of = before if rows is not None and rows.is_stored else None
    await connection.execute(
        sql("zone/look_keep"),
        zone_key,
        parser,
        look.asked,
        look.total,
        look.images,
        _packed(look),
        look.content or b"",  # not known
        look.hash,
        look.unordered,
        None if rows is None or base_of is not None else rows.base.packed(),
        list(look.names),
        None if rows is None else rows.packed(),
        None if base_of is None else _packed(base_of),
    )


async def keep_respelt(
    connection: Connection, looks: Sequence[tuple[int, Look | None, Look]]
) -> None:
    """Keep the digests of rows that are what they were, in another order or spelling.

    ``looks`` has the zone, the look before, and the one that takes its place.
    """
    await connection.execute(
        sql("zone/looks_respelt"),
        [zone_key for zone_key, _, _ in looks],
        [_packed(look) for _, _, look in looks],
        [look.hash for _, _, look in looks],
        [look.unordered for _, _, look in looks],
        ["\t".join(look.names) for _, _, look in looks],
        [None if before is None else _packed(before) for _, before, _ in looks],
    )


async def kept_rows(connection: Connection, zone_key: int, before: Look) -> KeptRows | None:
    """Return what is kept of the rows of a zone's last whole look."""
    row = await connection.fetchrow(sql("zone/look_rows"), zone_key, _packed(before))
    if row is None or row["rows"] is None:
        return None
    return KeptRows.unpacked(row["rows"], row["amended"], before.images)


async def is_kept(connection: Connection, zone_key: int, before: Look) -> bool:
    """Whether a zone's last whole look is kept still: what it listed is what is stored."""
    kept: bool = await connection.fetchval(sql("zone/look_is_kept"), zone_key, _packed(before))
    return kept


def _packed(look: Look) -> bytes:
    return b"".join(_PAGE.pack(page.digest, page.served) for page in look.pages)
