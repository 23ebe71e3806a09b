"""Answers as nobody documented them: stored, normalised or rejected; no traceback, no lost zone."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from syncer.core.model import Learnt
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.connection import Server
from syncer.store.runs import begin_dry_run
from tests.invariants import check
from tests.support import assert_exact, empty, naming, rows, stored

pytestmark = pytest.mark.any_server

ZONE, OTHER = "FRA-A", "HKG-A"
KEPT = {"nul", "surrogate", "huge", "numbers", "booleans", "lists", "unknown", "missing", "sql"}
KEPT |= {"nesting", "deep", "escapes", "number_id"}
SOME = 5
"""Odd rows one after the other in one database, which is emptied between them."""
REJECTED = {"no_id": 1, "null_id": 1, "empty_id": 1, "long_id": 1, "not_objects": 5}
REJECTED |= {"repeated_id": 2}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def world() -> World:
    """Three zones of twenty images."""
    return World.generate(seed=1, zones=3, images=20)


def first(world: World) -> tuple[str, dict[str, Any]]:
    """The row that a fault spoils."""
    return next(iter(world.images(ZONE).items()))


@pytest.mark.parametrize("first", range(0, len(KEPT), SOME), ids=lambda n: sorted(KEPT)[n])
async def test_an_odd_row_is_kept_as_text_and_json(
    first: int, simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """What PostgreSQL can hold is stored, whatever its type; the zone is whole, exit 0."""
    for what in sorted(KEPT)[first : first + SOME]:
        with naming(what):
            await empty(db)
            await one_odd_row(what, simulator, world, sync, db)


async def one_odd_row(what: str, simulator: Simulator, world: World, sync: Any, db: Any) -> None:
    simulator.add_fault(f"hostile={what},zone={ZONE}")

    report = await sync()

    assert (0, 60, 0) == (report.exit_code, report.counts.images, report.counts.rejected)
    image_id, row = first(world)
    kept = (await stored(db))[ZONE]["17" if what == "number_id" else image_id]
    name = row["imageName"]
    expected = {
        "nul": f"\ufffd{name}\ufffd",
        "surrogate": f"{name}\ufffd",
        "numbers": str(len(name) / 2),
        "booleans": json.dumps(len(name) % 2 == 0),
        "lists": json.dumps([name, {"in": name}], separators=(",", ":")),
        "missing": None,
        "sql": f"{name}'); drop schema syncer_store cascade; --",
        "escapes": f"\x1b[31m\x1b]0;owned\x07{name}\u202e\u2028\r\n\x9b",
    }
    assert expected.get(what, name) == kept["imageName"]
    if what == "huge":
        assert 5_000_000 == len(kept["imageDescription"])
    if what == "unknown":
        assert ("HIBERNATING", "plan9") == (kept["imageStatus"], kept["osType"])
        assert [1, 2.5, {"unit": "GiB"}] == kept["sizes"]
        assert "\ufffd" == kept["\ufffd \ufffd key"]
    assert 0 == (await sync()).counts.changed  # it is the same the next time
    await check(db, {})
    simulator.clear_faults()
    assert (await sync()).exit_code == 0
    await check(db, {})


@pytest.mark.parametrize("what", sorted(REJECTED))
async def test_a_row_that_cannot_be_kept_is_rejected_alone(  # noqa: PLR0917
    what: str, simulator: Simulator, world: World, sync: Any, db: Any, syncer: Any
) -> None:
    """It is counted, the rest of its zone is stored, nothing is removed, and the next run heals."""
    assert 0 == (await sync()).exit_code
    gone = sorted(world.images(ZONE))[-1]
    world.remove_image(ZONE, gone)
    world.add_image(ZONE, imageId="img-new")
    world.remove_image(OTHER, sorted(world.images(OTHER))[0])
    simulator.add_fault(f"hostile={what},zone={ZONE}")

    report = await sync()

    counts = report.counts
    assert (3, 1, 1) == (report.exit_code, counts.zones_incomplete, counts.removed)
    assert REJECTED[what] == counts.rejected
    zone = (await stored(db))[ZONE]
    assert {gone, "img-new", first(world)[0]} <= zone.keys()
    await check(db, {})
    done = await syncer("sync", SYNCER_LOG_LEVEL="")
    assert (3, 1) == (done.code, rows(done)[0]["zones_incomplete"])
    assert "Traceback" not in done.err
    simulator.clear_faults()
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


async def test_everything_at_once_harms_no_zone(
    simulator: Simulator, world: World, sync: Any, db: Any, syncer: Any
) -> None:
    """All odd rows in all zones: what can be kept is, and no command writes raw control codes."""
    simulator.add_fault("hostile=all,action=DescribeImages")

    report = await sync()

    assert (3, 3) == (report.exit_code, report.counts.zones_incomplete)
    await check(db, {})
    for command in ("images", "changes", "spread", "zones"):
        extra = ("--initial",) if command == "changes" else ()
        table = await syncer(command, *extra, "-o", "table")
        assert (0, command == "zones") == (table.code, "3 zones (" in table.err)
        assert not CONTROL.search(table.err.rstrip("\n")), command
        assert not CONTROL.search(table.out), command
        data = await syncer(command, *extra, "-o", "json")
        assert isinstance(json.loads(data.out), list)
    simulator.clear_faults()
    await sync(SYNCER_GUARD_ZONE_COUNT="off", SYNCER_GUARD_RUN_PERCENT="off")
    await assert_exact(db, world)


@pytest.mark.parametrize("what", ["no_id", "null_id", "long_id", "not_objects", "escapes", "nul"])
async def test_an_odd_zone_is_no_zone_gone(  # noqa: PLR0917
    what: str, simulator: Simulator, world: World, sync: Any, db: Any, syncer: Any
) -> None:
    """Where a zone's row is unusable no zone is gone; where only its text is odd, it is stored."""
    assert 0 == (await sync()).exit_code
    simulator.add_fault(f"hostile={what},action=DescribeZones")

    report = await sync()

    assert (0 if what in {"escapes", "nul"} else 3) == report.exit_code
    assert [] == await db.fetch("select from syncer.zones where gone_at is not null")
    await assert_exact(db, world)
    assert not CONTROL.search((await syncer("zones", "-o", "table")).out)


async def test_a_server_that_repeats_our_secret_is_not_repeated(
    simulator: Simulator, syncer: Any, db: Any
) -> None:
    """A secret in the API's own words reaches neither a log nor the database."""
    simulator.add_fault("status=400,code=NO_test-secret_HERE")
    done = await syncer("sync", SYNCER_LOG_LEVEL="")
    assert (1, False) == (done.code, "test-secret" in done.out + done.err)
    assert "NO_***_HERE" in done.err
    assert "NO_***_HERE" in await db.fetchval("select error_message from syncer.runs")


async def test_another_content_type_does_not_matter(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """What counts is whether the body can be read."""
    simulator.add_fault("content_type=text/html")
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


@pytest.mark.parametrize("fault", ["hang", "stall", "drip=0.3"])
async def test_a_zone_that_does_not_end_holds_up_no_other(
    fault: str, simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """The others are done; the slow one costs its own time and is a failure, exit 3."""
    simulator.add_fault(f"{fault},zone={ZONE}")
    report = await sync(SYNCER_REQUEST_TIMEOUT="0.3", SYNCER_MAX_CONCURRENCY="2")
    failed = {w.zone.ref.zone_id for w in report.zones if w.status == "failed"}
    assert (3, {ZONE}, 2) == (report.exit_code, failed, report.counts.zones_changed)
    last = report.zones[-1].zone.ref.zone_id
    assert ZONE == last
    simulator.clear_faults()
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


FAULTS = {
    "5xx": ["status=503,probability=20%"],
    "resets": ["reset,probability=10%"],
    "truncated": ["truncate,probability=10%"],
    "html": ["status=502,html,probability=10%"],
    "garbage": ["garbage=html,probability=10%"],
    "all": [
        "status=503,probability=20%",
        "reset,probability=10%",
        "truncate=0.7,reset,probability=10%",
        "status=502,html,probability=10%",
    ],
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_many_failures_at_random_are_retried(
    kind: str, environment: dict[str, str], sync: Any, db: Any
) -> None:
    """A part of the calls fails; all is retried within the budget: exit 0, all is stored."""
    world = World.generate(seed=5, zones=15, images=20)
    keys = {"test-key": "test-secret"}
    async with Simulator(
        world, SimulatorOptions(access_keys=keys, faults=FAULTS[kind], seed=1)
    ) as simulator:
        environment["ZENLAYER_ENDPOINT"] = simulator.endpoint
        report = await sync(SYNCER_PAGE_SIZE="7", SYNCER_MAX_CONCURRENCY="1")
    assert (0, 15) == (report.exit_code, report.counts.zones_changed)
    assert report.counts.retries > 5
    await assert_exact(db, world)


async def test_what_is_learnt_of_a_rate_limit_is_kept(
    environment: dict[str, str], sync: Any, db: Any
) -> None:
    """An API that refuses some calls shows its limit by that; the next run begins with it."""
    world = World.generate(seed=5, zones=30, images=2)
    assert 0 == (await sync()).exit_code
    assert [] == await db.fetch("select * from syncer.rate_limits")  # nothing was refused
    keys = {"test-key": "test-secret"}
    async with Simulator(world, SimulatorOptions(access_keys=keys, rate=50, burst=5)) as simulator:
        environment["ZENLAYER_ENDPOINT"] = simulator.endpoint
        report = await sync(SYNCER_ACCOUNT="limited")
        refused = sum(call.status == 429 for call in simulator.calls)
    assert (0, refused) == (report.exit_code, report.counts.retries)
    assert 0 < refused < 30
    (limit,) = await db.fetch("select * from syncer.rate_limits")
    assert report.run_id == limit["run_id"]
    assert 2 < limit["calls_per_second"] < 200
    server = Server(environment["SYNCER_DATABASE_URL"])
    known = await begin_dry_run(server, "limited")
    assert known.learnt == Learnt(rate=limit["calls_per_second"])
