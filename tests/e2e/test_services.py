"""All services of one account in one run, from one simulator that offers them side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncer.simulator import Simulator, SimulatorOptions, World
from tests.support import assert_exact, rows

SHARED = "FRA-A"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Small worlds of vm, zec and bmc; one zone id occurs in two of them."""
    worlds = [World.generate(zones=2, images=24, service=name) for name in ("vm", "zec", "bmc")]
    worlds[1].add_zone(SHARED, images=24)
    options = SimulatorOptions(access_keys={"test-key": "test-secret"}, tokens={"test-token"})
    async with Simulator(worlds, options) as running:
        yield running


def calls(simulator: Simulator) -> Counter[tuple[str, str]]:
    """How often each action of each service was called."""
    return Counter((call.service, call.action) for call in simulator.calls)


async def test_each_service_is_stored_under_its_own_key(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """A run over all: every field as served, zones and ids of two services kept apart.

    bmc is asked once, in its one language, and its zones are not asked for at all.
    """
    worlds = [*simulator.worlds.values()]
    twin = min(worlds[0].images(SHARED))
    worlds[1].add_image(SHARED, imageId=twin, imageName="another of that id")

    report = await sync(SYNCER_SERVICES="all")

    assert ("succeeded", 0) == (report.status, report.exit_code)
    await assert_exact(db, *worlds)
    assert {
        ("vm", "DescribeZones"): 1,
        ("vm", "DescribeImages"): 2,
        ("zec", "DescribeZones"): 1,
        ("zec", "DescribeImages"): 3,
        ("bmc", "DescribeImages"): 1,
    } == calls(simulator)
    both = "select service from syncer.images where zone_id = $1 and image_id = $2 order by 1"
    assert ["vm", "zec"] == [row[0] for row in await db.fetch(both, SHARED, twin)]
    zone = "select zone_id, listed, present_images from syncer.zones where service = 'bmc'"
    assert [("*", True, 24)] == [tuple(row) for row in await db.fetch(zone)]


async def test_each_service_drifts_by_itself(simulator: Simulator, sync: Any, db: Any) -> None:
    """What changes, comes and goes in one service is exactly what is stored; others stay."""
    worlds = [*simulator.worlds.values()]
    await sync(SYNCER_SERVICES="all")
    for seed, world in enumerate(worlds):
        world.drift(seed, appear=2, change=3, remove=2)

    report = await sync(SYNCER_SERVICES="all")

    assert (0, 6) == (report.exit_code, report.counts.removed)
    await assert_exact(db, *worlds)
    simulator.reset_stats()
    report = await sync(SYNCER_SERVICES="all")
    assert 1 == calls(simulator)["bmc", "DescribeImages"]
    assert {"unchanged"} == {written.status for written in report.zones}


async def test_a_copy_gets_its_size_when_it_is_available(
    simulator: Simulator, sync: Any, syncer: Any
) -> None:
    """A custom image of zec is copied: SYNCING without a size, then AVAILABLE with one."""
    image_id = simulator.worlds["zec"].add_image(
        SHARED, imageType="CUSTOM_IMAGE", imageStatus="SYNCING", imageSize=None
    )
    await sync(SYNCER_SERVICES="zec")
    simulator.worlds["zec"].change_image(SHARED, image_id, imageStatus="AVAILABLE", imageSize="40")
    await sync(SYNCER_SERVICES="zec")

    change = rows(await syncer("changes", "--image", image_id))[-1]
    assert ["image_size", "image_status"] == sorted(change["changed_fields"])
    assert (None, "40") == (change["before"]["image_size"], change["after"]["image_size"])
