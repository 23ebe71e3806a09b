"""A database with a history: a year of runs, scans and changes, made in sets by PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from syncer.store.connection import Connection

_SEED: Final = Path(__file__).with_name("seed.sql").read_text()
_TABLES: Final = "runs", "zones", "zone_scans", "images", "image_history"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much history; ``images`` and ``changes`` are met within some per cent.

    Changes are those after the first look. Runs come ``every`` so often, of two accounts, and
    record a scan for every zone. Fewer than six zones leave out what ends badly: with six or more
    there is a zone that is gone, one that fails, one that is guarded and one that is torn.
    """

    zones: int
    images: int
    changes: int
    days: int
    every: timedelta = timedelta(minutes=15)


YEAR: Final = Size(zones=60, images=100_000, changes=500_000, days=365)
"""A year of many images."""
WEEKS: Final = Size(zones=12, images=3_000, changes=20_000, days=28)
"""Four weeks, which are made in a second or two."""
USUAL_YEAR: Final = Size(zones=60, images=12_000, changes=500_000, days=365)
"""A year of a usual account's images, of forty versions each."""
MILLION: Final = Size(zones=60, images=100_000, changes=900_000, days=365)
"""A million versions of 100,000 images."""


async def seed(connection: Connection, size: Size, upto: datetime | None = None) -> None:
    """Fill an empty, migrated database with a history that ends now, or ``upto`` an instant.

    The connection is its owner's.
    """
    async with connection.transaction():
        await connection.execute(_SEED)
        await connection.execute(
            "select pg_temp.seed($1, $2, $3, $4, $5, coalesce($6, now()))",
            size.zones,
            size.images,
            size.changes,
            size.days,
            size.every,
            upto,
        )
    for table in _TABLES:  # as autovacuum would have done it
        await connection.execute(f"vacuum analyze syncer_store.{table}")
