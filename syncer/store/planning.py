"""What is stored of a zone, and what seeing images changes in it.

Reads in sets, inside the caller's transaction; the decisions are ``core.diff``'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Final

import asyncpg
import msgspec

from syncer.core.diff import Columns, Diff, Stored, compare, differing, is_edited
from syncer.core.known import Compared, Look
from syncer.core.line import Block, split
from syncer.core.model import TRACKED, ListedZone, ZoneRef
from syncer.core.paging import Snapshot
from syncer.store import looks
from syncer.store.connection import Connection, sql

_AT_ONCE: Final = 10_000
"""Rows fetched at once of what is stored of a zone, which may be too much to be held."""

# By name, in whatever order a statement has its columns.
_known_of: Final = itemgetter(*Stored.__struct_fields__)
_tracked_of: Final = itemgetter(*TRACKED)


class StoredZone(msgspec.Struct, kw_only=True):
    """A zone as it is stored."""

    key: int
    ref: ZoneRef
    name: str | None
    attributes: str
    gone: bool
    present: int
    withheld: int
    last_complete_at: datetime | None
    last_complete_run_id: int | None = None
    """The run of its last whole look."""
    read_last: bool = False
    """That was the run before, which ended well."""
    first_run_id: int | None = None
    """The run whose look was the first to read anything of it."""
    key_digest: bytes | None = None
    """Of the credentials that it was read whole with last (None: a token, or not known)."""
    asked_when_gone: bool = False
    """It is gone, and was asked for once more since it is not listed."""
    listed: bool = True
    """DescribeZones named it when its answer was last reliable."""
    parser: int = 0
    """How the images of its service are read."""
    before: Look | None = None
    """What the last whole look read, where that is what is stored."""
    approved: int | None = None
    """The removals that a pending approval allows at the zone's next whole look, at most."""

    def notes_key(self, digest: bytes | None) -> bool:
        """Whether credentials (None: not known) are not those that it was read whole with last."""
        return digest not in {None, self.key_digest}

    def had_another_key(self, digest: bytes | None) -> bool:
        """Whether it was read whole last with credentials that are known to be others."""
        return self.key_digest is not None and self.notes_key(digest)

    @classmethod
    def unstored(cls, listed: ListedZone) -> StoredZone:
        """Return a zone that is not stored: a dry run writes none."""
        return cls(
            key=0,
            ref=listed.ref,
            name=listed.name,
            attributes=listed.attributes,
            gone=False,
            present=0,
            withheld=0,
            last_complete_at=None,
        )


async def known_zones(
    connection: Connection,
    account: str,
    parsers: Mapping[str, int],
    *,
    run_id: int | None = None,
) -> dict[ZoneRef, StoredZone]:
    """Return every zone of an account as it is stored.

    ``parsers`` says of each service how its images are read: what was read in another way is not
    known. ``run_id`` is the run that asks.
    """
    return {
        ZoneRef(row["service"], row["zone_id"]): StoredZone(
            key=row["zone_key"],
            ref=ZoneRef(row["service"], row["zone_id"]),
            name=row["zone_name"],
            attributes=row["attributes"],
            gone=row["gone"],
            present=row["present"],
            withheld=row["withheld"],
            last_complete_at=row["last_complete_at"],
            last_complete_run_id=row["last_complete_run_id"],
            read_last=row["read_last"],
            first_run_id=row["first_run_id"],
            key_digest=row["key_digest"],
            asked_when_gone=row["asked_when_gone"],
            listed=row["listed"],
            parser=parsers.get(row["service"], 0),
            before=looks.read(row, parsers.get(row["service"])),
            approved=row["approved"],
        )
        for row in await connection.fetch(sql("zone/known"), account, run_id)
    }


def read_with_another_key(zones: Collection[StoredZone], digest: bytes | None) -> int:
    """Return how many zones these credentials are new to, where it is not said yet.

    The first run that reads a zone whole with another key than the run before says it; so it was
    said where the last run that read any zone whole had this key.
    """
    read = [zone for zone in zones if zone.last_complete_run_id is not None]
    last = max((zone.last_complete_run_id or 0 for zone in read), default=0)
    if any(z.key_digest == digest for z in read if z.last_complete_run_id == last):
        return 0
    return sum(zone.had_another_key(digest) and not zone.gone for zone in zones)


async def stored_ids(connection: Connection, zone: StoredZone) -> frozenset[str]:
    """Return the ids of a zone's images that are stored as present."""
    rows = await connection.fetch(sql("image/ids_present"), zone.key)
    return frozenset(row["image_id"] for row in rows)


class Plan(msgspec.Struct, frozen=True):
    """What a look at a zone changes, or a part of it, and what it was compared with.

    ``seen_again`` were missed by the last whole look and are seen now. ``unseen`` counts stored
    images, listed and present, that were not looked into.
    """

    stored: Mapping[str, Stored]
    diff: Diff = Diff()
    seen_again: tuple[str, ...] = ()
    unseen: int = 0


async def plan_snapshot(
    connection: Connection, zone: StoredZone, snapshot: Snapshot, *, full: bool
) -> AsyncIterator[Plan]:
    """Yield what a whole look at a zone changes, part by part: each is to be written at once.

    Together they hold every stored image that is present and not listed. ``full`` trusts no digest
    that is stored.
    """
    compared = snapshot.compared
    if (
        not full
        and compared is not None
        and zone.before is not None
        and await looks.is_kept(connection, zone.key, zone.before)
    ):
        async for part in _plan_compared(connection, zone, compared):
            yield part
        return
    offered = snapshot.offered
    held = await connection.fetchrow(sql("image/stored_digests"), zone.key)
    assert held is not None  # noqa: S101  (aggregates)
    known = frozenset() if full else split(held["plain"], 1) | split(held["extended"], 2)
    fresh = present = 0
    for block in offered.blocks(known):
        part = Plan({}, Diff(block))
        if held["rows"]:
            part = await plan_images(connection, zone, block, full=full)
        fresh += len(block)
        present += sum(image.present for image in part.stored.values())
        yield part
    unseen = len(offered) - fresh
    if held["present"] != unseen + present:  # not all that is stored as present is listed
        ids = offered.ids
        rows = connection.cursor(sql("image/stored_present"), zone.key, prefetch=_AT_ONCE)
        found = [row async for row in rows if row["image_id"] not in ids]
        yield Plan(_stored(found))
    yield Plan({}, unseen=unseen)


async def _plan_compared(
    connection: Connection, zone: StoredZone, compared: Compared
) -> AsyncIterator[Plan]:
    """Yield what a look changes whose new rows alone were read: the others are as stored."""
    fresh = compared.fresh
    yield await plan_images(connection, zone, Block(fresh.lines, fresh.digests()).sorted())
    if compared.missing:
        yield Plan(await stored_images(connection, zone, sorted(compared.missing)))
    yield Plan({}, unseen=len(compared) - len(fresh))


async def plan_images(
    connection: Connection, zone: StoredZone, block: Block, *, full: bool = False
) -> Plan:
    """Return what seeing images of a zone changes."""
    ids = block.ids()
    rows = await _stored_rows(connection, zone, ids)
    stored = _stored(rows)
    held = [n for n, image_id in enumerate(ids) if image_id in stored]
    images = {image.image_id: image for image in block.pick(held)}
    changed = frozenset(differing(images, stored))
    columns = {}
    for row in rows:
        image_id = row["image_id"]
        if image_id in changed or full:
            held_columns = Columns(_tracked_of(row), row["added"])
            if image_id in changed or is_edited(images[image_id], held_columns, row["extra"]):
                columns[image_id] = held_columns
    appeared = block.pick([n for n, image_id in enumerate(ids) if image_id not in stored])
    again = tuple(image_id for image_id in images if stored[image_id].unlisted)
    return Plan(stored, compare(images, stored, columns) + Diff(appeared), again)


async def stored_images(
    connection: Connection, zone: StoredZone, ids: Iterable[str]
) -> dict[str, Stored]:
    """Return what is stored of some images of a zone, by id."""
    return _stored(await _stored_rows(connection, zone, ids))


async def _stored_rows(
    connection: Connection, zone: StoredZone, ids: Iterable[str]
) -> list[asyncpg.Record]:
    return await connection.fetch(sql("image/stored_by_id"), zone.key, list(ids))


def _stored(rows: Iterable[asyncpg.Record]) -> dict[str, Stored]:
    return {row["image_id"]: Stored(*_known_of(row)) for row in rows}
