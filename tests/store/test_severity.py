"""Breaking or cosmetic: what a change means to who uses the image."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.core.model import TRACKED
from syncer.simulator import World
from tests.support import rows

BREAKING = {"image_status", "image_size", "os_type", "image_version"}
ZONE = "FRA-A"


@pytest.fixture
def world() -> World:
    return World.generate(zones=1, images=6)


async def test_every_tracked_column_has_a_class(db: Any) -> None:
    """Each column is breaking or cosmetic; one breaking column makes a change breaking."""
    of = "select syncer_store.severity($1)"
    for column in (*TRACKED, "nic_network_type", "min_disk_size", "image_source"):
        found = await db.fetchval(of, [column])
        wanted = column in {*BREAKING, "nic_network_type", "min_disk_size"}
        assert found == ("breaking" if wanted else "cosmetic"), column
        assert "breaking" == await db.fetchval(of, [column, "os_type"])
    assert None is await db.fetchval(of, [])


async def test_a_change_says_what_it_means(world: World, sync: Any, syncer: Any, db: Any) -> None:
    """By its fields; what is removed breaks who pinned it; what appears breaks nobody."""
    renamed, rebuilt, gone, back = sorted(world.images(ZONE))[:4]
    world.remove_image(ZONE, back)
    await sync()
    world.change_image(ZONE, renamed, imageName="other")
    world.change_image(ZONE, rebuilt, imageDescription="new", imageVersion="9")
    world.remove_image(ZONE, gone)
    world.restore_image(ZONE, back)
    await sync()

    changes = rows(await syncer("changes"))
    assert {
        renamed: "cosmetic",
        rebuilt: "breaking",
        gone: "breaking",
        back: None,
    } == {change["image_id"]: change["severity"] for change in changes}
    fields = await db.fetch("select field, severity from syncer.image_field_changes order by 1")
    assert [
        ("image_description", "cosmetic"),
        ("image_name", "cosmetic"),
        ("image_version", "breaking"),
    ] == [tuple(row) for row in fields]
