"""The one list of bmc: it has no count, so what it lacks is proven before anything is removed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from syncer.simulator import Simulator, SimulatorOptions, World
from tests.support import Done, assert_exact, lose, result, rows

ZONE = "*"
ENV = {"SYNCER_SERVICES": "bmc"}
CUT = "omit=3,times=%d"
"""Three images are left out of that number of lists."""


@pytest.fixture
def world() -> World:
    """Twenty-four images, of no zone."""
    return World.generate(zones=3, images=24, service="bmc")


@pytest.fixture
async def simulator(world: World) -> AsyncIterator[Simulator]:
    options = SimulatorOptions(access_keys={"test-key": "test-secret"})
    async with Simulator(world, options) as running:
        yield running


def calls(simulator: Simulator) -> dict[str, int]:
    """How many lists were read, and how many questions by id were asked, since asked last."""
    found = Counter("by id" if call.by_id else call.action for call in simulator.calls)
    simulator.reset_stats()
    return dict(found)


def lists(number: int, questions: int = 0) -> dict[str, int]:
    return {"DescribeImages": number} | ({"by id": questions} if questions else {})


async def test_a_run_without_change_makes_one_call(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """One call reads all there is, the first time and when nothing changed; no zone is asked for.

    So it is where every stored image is listed, though others changed or came.
    """
    assert (0, 0, 0) == result(await sync(**ENV))
    assert lists(1) == calls(simulator)
    await sync(**ENV)
    assert lists(1) == calls(simulator)
    world.drift(1, appear=2, change=4, remove=0)
    await sync(**ENV)
    assert lists(1) == calls(simulator)
    await assert_exact(db, world)


@pytest.mark.parametrize(
    ("fault", "gone", "read", "asked", "removed"),
    [
        pytest.param(None, 0, 1, 0, 0, id="cut in neither"),
        pytest.param(CUT % 1, 0, 2, 0, 0, id="cut in one"),
        pytest.param(CUT % 2, 0, 2, 1, 0, id="cut in both"),
        pytest.param(None, 2, 2, 1, 2, id="gone for real"),
        pytest.param(CUT % 1, 2, 3, 1, 2, id="gone for real and cut in one"),
        pytest.param(CUT % 2, 2, 2, 1, 2, id="gone for real and cut in both"),
    ],
)
async def test_only_what_is_gone_is_removed(
    world: World,
    simulator: Simulator,
    sync: Any,
    db: Any,
    *,
    fault: str | None,
    gone: int,
    read: int,
    asked: int,
    removed: int,
) -> None:
    """However the list is cut, what the API still has by id stays; what is gone is removed."""
    await sync(**ENV)
    lose(world, ZONE, gone)
    simulator.reset_stats()
    if fault:
        simulator.add_fault(fault)

    assert (0, 0, removed) == result(await sync(**ENV))

    assert lists(read, asked) == calls(simulator)
    await assert_exact(db, world)
    simulator.clear_faults()
    await sync(**ENV)
    assert lists(1) == calls(simulator)


async def test_lists_that_differ_each_time_prove_nothing(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Three readings of three lists, all cut: incomplete, nothing is asked for or removed."""
    await sync(**ENV)
    ids = sorted(world.images(ZONE))
    for number in range(3):
        simulator.add_fault(f"omit,ids={ids[number]},after={number},times=1")
    simulator.reset_stats()

    report = await sync(**ENV)

    assert (3, 0, 0) == result(report)
    assert ["incomplete"] == [written.status for written in report.zones]
    assert lists(3) == calls(simulator)
    await assert_exact(db, world)


@pytest.mark.parametrize(
    "fault",
    ["not_found=image,by_id=true", "not_found=zone,by_id=true", "status=400,by_id=true"],
)
async def test_a_refused_control_removes_nothing(
    world: World, simulator: Simulator, sync: Any, db: Any, fault: str
) -> None:
    """Where the API refuses an image that it has just listed, its answers say nothing.

    "No such zone" is no more than that: there is no zone that could be gone.
    """
    await sync(**ENV)
    lost = lose(world, ZONE, 2)
    simulator.add_fault(fault)

    assert (3, 0, 0) == result(await sync(**ENV))

    there = "select presence from syncer.images where image_id = any($1)"
    assert ["unknown"] * 2 == [row[0] for row in await db.fetch(there, lost)]
    assert None is await db.fetchval("select gone_at from syncer.zones")
    simulator.clear_faults()
    assert (0, 0, 2) == result(await sync(**ENV))
    await assert_exact(db, world)


async def test_no_such_zone_is_a_failure(simulator: Simulator, sync: Any, db: Any) -> None:
    """The zone of no zone is never gone."""
    await sync(**ENV)
    simulator.add_fault("not_found=zone")

    report = await sync(**ENV)

    assert ["failed"] == [written.status for written in report.zones]
    known = "select gone_at, listed, present_images from syncer.zones"
    assert [(None, True, 24)] == [tuple(row) for row in await db.fetch(known)]


async def test_an_empty_list_waits_for_a_person(
    world: World, simulator: Simulator, sync: Any, syncer: Callable[..., Any], db: Any
) -> None:
    """Nothing is listed, twice: all is withheld, until it is seen again or a person approves."""
    await sync(**ENV)
    ids = sorted(world.images(ZONE))
    simulator.add_fault("empty_listing,by_id=false")
    simulator.reset_stats()
    assert (4, 24, 0) == result(await sync(**ENV))
    assert lists(2) == calls(simulator)
    rules = "select distinct rule from syncer.image_gaps"
    assert ["emptied"] == [row[0] for row in await db.fetch(rules)]
    simulator.clear_faults()
    assert (0, 0, 0) == result(await sync(**ENV))

    for image_id in ids:
        world.remove_image(ZONE, image_id)
    assert (4, 24, 0) == result(await sync(**ENV))
    approved: Done = await syncer("approve", "--service", "bmc", ZONE, "--max", "24")
    assert 0 == approved.code, approved.err
    assert (0, 0, 24) == result(await sync(**ENV))


async def test_a_dry_run_says_what_a_run_would_do(
    world: World, simulator: Simulator, sync: Any, syncer: Callable[..., Any]
) -> None:
    """It reads as often as a run, and names what would be removed."""
    await sync(**ENV)
    lost = lose(world, ZONE, 1)
    simulator.reset_stats()
    done: Done = await syncer("sync", "--dry-run", "--service", "bmc", "-o", "json")
    assert 0 == done.code, done.err
    assert lost[0] in done.out
    assert lists(2, 1) == calls(simulator)
    assert json.loads(done.out)
    assert rows(await syncer("images", "--service", "bmc", "--presence", "present"))
