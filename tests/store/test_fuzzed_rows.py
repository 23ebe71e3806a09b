"""What survives the fuzz of the reply reader is stored, and comes back as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from syncer.core.errors import ApiError
from syncer.core.line import Block
from syncer.core.model import TRACKED, Image, ListedZone, ZoneRef
from syncer.core.normalise import same_json
from syncer.store import planning, tables
from syncer.store.connection import Server
from syncer.store.runs import begin
from syncer.zenlayer import wire
from syncer.zenlayer.rows import read_page, read_zones
from syncer.zenlayer.sources import SOURCES
from tests.zenlayer.fuzzing import fuzzed

ZONE = ZoneRef("vm", "FUZZED")
VIEWS = (
    "images",
    "image_versions",
    "image_changes",
    "image_field_changes",
    "image_spread",
    "zones",
)


def survivors(seeds: range) -> tuple[list[Image], dict[ZoneRef, ListedZone], set[str]]:
    """What can be read of the replies of some seeds, and what their errors say."""
    images: list[Image] = []
    zones: dict[ZoneRef, ListedZone] = {}
    said: set[str] = set()
    for seed in seeds:
        reply = fuzzed(seed)._replace(headers={})
        try:
            answer = wire.read(status=reply.status, headers={}, body=reply.body)
        except ApiError as error:
            said |= {error.code, error.message, error.request_id or ""}
            continue
        for source in SOURCES.values():
            with suppress(ApiError):
                zones |= {zone.ref: zone for zone in read_zones(source, answer.response)[0]}
            with suppress(ApiError):
                images += read_page(source, answer.response).rows.images()
    return images, zones, said


@pytest.mark.parametrize("start", [0, 4_000])
async def test_whatever_was_read_is_stored_as_it_was_read(url: str, db: Any, start: int) -> None:
    """Every row, zone and message out of fuzzed replies is stored, and read again unchanged.

    One id stands in many of the replies: each is a look at it, with all that changes between.
    """
    server = Server(url)
    images, zones, said = survivors(range(start, start + 4_000))
    zones[ZONE] = ListedZone(ref=ZONE, name=None, attributes="{}")
    looks: list[dict[str, Image]] = [{}]
    for image in images:
        if image.image_id in looks[-1] and len(looks) < 100:
            looks.append({})
        looks[-1][image.image_id] = image
    last = {image_id: image for look in looks for image_id, image in look.items()}

    async with begin(server, "a", run_timeout=60, selection={}) as (run, _known):
        await tables.describe_zones(db, "a", list(zones.values()), run.timeline.now())
        known = await planning.known_zones(db, "a", {})
        for look in looks:
            async with db.transaction():
                diff = (await planning.plan_images(db, known[ZONE], Block.of(look.values()))).diff
                await tables.write_diff(db, run, known[ZONE], diff, run.timeline.now())
        diff = (await planning.plan_images(db, known[ZONE], Block.of(last.values()))).diff
    assert not diff

    assert zones.keys() == known.keys()
    for ref, zone in zones.items():
        assert zone.name == known[ref].name
        assert same_json(zone.attributes, known[ref].attributes)
    rows = {row["image_id"]: row for row in await db.fetch("select * from syncer_store.images")}
    assert last.keys() == rows.keys()
    for image_id, image in last.items():
        row = rows[image_id]
        stored = tuple(row[name] for name in TRACKED)
        assert image.tracked == (*stored[:2], image.tracked[2], *stored[3:])
        assert same_json(image.extra or "{}", row["extra"] or "{}")
    assert said == set(await db.fetchval("select $1::text[]", sorted(said)))
    await db.execute("update syncer_store.runs set status = 'succeeded', finished_at = now(), "
                     "change_base = 0, changes = 1000000")  # fmt: skip
    for view in VIEWS:
        await db.fetch(f"select v::text from syncer.{view} as v")
    assert await db.fetchval("select count(*) from syncer.image_changes where kind = 'changed'")
