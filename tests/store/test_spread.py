"""image_spread against a plain reading of what it says, over random offers."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

ZONES = ("A", "B", "C", "D")
NAMES = tuple(f"name-{n}" for n in range(60))
VERSIONS = (None, "1", "2", "")
SIZES = (None, "30", "30.0", "3e1", "31", "huge")
STATUSES = ("AVAILABLE", "UNAVAILABLE")
OFFER = ("zone_id", "image_id", "image_version", "image_size", "image_status")
Row = tuple[int, str, str, str | None, str | None, str]
UNSURE = "unsure"
"""In the id of an image that the last whole look did not list, and that is not confirmed absent."""


def offers(draw: random.Random) -> Iterator[Row]:
    """Yield images: mostly alike everywhere, some missing, some twice in a zone, some different."""
    for name in NAMES:
        alike = draw.choice(VERSIONS), draw.choice(SIZES), draw.choice(STATUSES)
        odd = draw.choice((0.0, 0.0, 0.3))
        for zone in range(1, len(ZONES) + 1):
            for n in range(0 if draw.random() < odd else draw.choice((1, 1, 1, 2, 3))):
                values = alike
                if draw.random() < odd:
                    values = draw.choice(VERSIONS), draw.choice(SIZES), draw.choice(STATUSES)
                sure = "" if draw.random() > odd / 3 else UNSURE
                yield zone, f"img-{zone}-{name}-{n}{sure}", name, *values


def plain(size: str | None) -> str | None:
    """Return a size by its number, as the view shows it."""
    return size if size in {None, "huge"} else format(Decimal(str(size)).normalize(), "f")


def last_is_none(values: set[str | None]) -> list[str | None]:
    return sorted(values, key=lambda value: (value is None, value or ""))


def expected(rows: list[Row], whole: set[str]) -> dict[str, Any]:
    """Return what the view says of each name that zones do not offer alike."""
    found: dict[str, Any] = {}
    for name in NAMES:
        mine = [row for row in rows if row[2] == name and UNSURE not in row[1]]
        unsure = {ZONES[row[0] - 1] for row in rows if row[2] == name and UNSURE in row[1]}
        sets: dict[str, dict[str, set[str | None]]] = defaultdict(lambda: defaultdict(set))
        for zone, _, _, version, size, status in mine:
            for column, value in zip(
                ("image_version", "image_size", "image_status"),
                (version, plain(size), status),
                strict=True,
            ):
                sets[column][ZONES[zone - 1]].add(value)
        zones = sorted({ZONES[row[0] - 1] for row in mine})
        missing = sorted(whole - set(zones) - unsure)
        differs = ["zones"] * bool(missing) + [
            column
            for column, by_zone in sets.items()
            if len({frozenset(values) for values in by_zone.values()}) > 1
        ]
        if zones and differs:
            found[name] = (
                differs,
                zones,
                missing,
                *(last_is_none(set().union(*by_zone.values())) for by_zone in sets.values()),
                sorted(row[1] for row in mine),
                sorted((ZONES[row[0] - 1], row[1], *row[3:]) for row in mine),
                len(zones),
                len(missing),
            )
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_the_spread_says_what_differs_between_zones(seed: int, db: Any) -> None:
    """Missing, versions, sizes by number, statuses: as sets, whatever a zone offers twice.

    What is unknown is neither offered nor missing.
    """
    rows = list(offers(random.Random(seed)))  # noqa: S311  (a seeded draw)
    whole = {"A", "B", "C"}  # of D no whole look ended: what it lacks is not known
    await db.execute("""
        insert into syncer_store.zones (account, service, zone_id)
        select 'a', 'vm', z from unnest('{A,B,C,D}'::text[]) as z""")
    await db.execute("""
        insert into syncer_store.zones (account, service, zone_id, gone_at)
        values ('a', 'vm', 'E', now()), ('b', 'vm', 'A', null), ('a', 'zec', 'A', null)""")
    await db.execute("""
        insert into syncer_store.zone_scans
            (zone_key, run_id, started_at, observed_at, status, listed)
        select zone_key, 1, now(), now(),
               case when (account, zone_id) = ('a', 'D') then 'incomplete' else 'changed' end, true
        from syncer_store.zones""")
    await db.executemany(
        """insert into syncer_store.images (zone_key, image_id, image_name, image_version,
               image_size, image_status, fingerprint, opened_run_id, opened_ordinal)
           values ($1, $2, $3, $4, $5, $6, '', 1, 1)""",
        [*rows, (5, "img-gone", NAMES[0], "9", "9", "GONE"), (6, "img-b", "only", None, "1", "X")],
    )
    await db.execute(
        "insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, "
        "last_run_id) select zone_key, image_id, now(), 1, 1 from syncer_store.images "
        "where image_id like '%' || $1",
        UNSURE,
    )

    answer = {
        row["image_name"]: (
            row["differs"],
            row["zones"],
            row["missing_zones"],
            row["image_versions"],
            row["image_sizes"],
            row["image_statuses"],
            row["image_ids"],
            [tuple(offer[key] for key in OFFER) for offer in json.loads(row["offers"])],
            row["zone_count"],
            row["missing_count"],
        )
        for row in await db.fetch("select * from syncer.image_spread")
    }
    assert expected(rows, whole) == answer
