"""Whatever the API does wrong: nothing living is called gone, and the next good run is right."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncer.simulator import Simulator, World
from tests.support import assert_exact, naming, served, stored

pytestmark = pytest.mark.any_server

ZONE, OTHER = "FRA-A", "HKG-A"
"""Both drift; the faults are of the first, or of everything."""
THREE = (ZONE, "SEL-A", "LAX-A")
"""Of as many zones at once, where each keeps its failure to itself; then these drift too."""

NONE: frozenset[str] = frozenset()
ONE = frozenset({ZONE})
ALL = frozenset(World.generate(seed=1, zones=6, images=0).zones())
APPROVE = """
    insert into syncer_store.approvals (zone_key, max_removals, approved_by)
    select zone_key, count(*), 'test' from syncer_store.missing group by zone_key"""


class Case(NamedTuple):
    """What goes wrong, and what is documented to come of it.

    ``fault`` may be several, each of a zone; ``status`` is that of the scans of faulty zones;
    ``held`` are the zones in which nothing may be removed: every other zone is exactly right after
    the run with the fault.
    """

    fault: str
    exit_code: int
    status: str
    held: frozenset[str] = ONE
    page_size: str = "7"
    timeout: str = "30"


UNREAD = [  # no page of the zone was read
    "status=500",
    "status=503",
    "status=403",  # an API refusal of one zone is that zone's failure
    "status=404",
    "status=403,html",
    "garbage",
    "garbage=html",
    "garbage=array",
    "garbage=empty",
    "error_in_200",
    "error_in_200=INVALID_PARAMETER_VALUE",
    "reset",
    "truncate",
    "redirect",
    "big_body=65",
    "gzip_bomb=65",
]
TORN = [  # pages were read, but they do not make a whole look
    "status=503,page=2",
    "status=403,page=3",
    "garbage,page=2",
    "error_in_200,page=3",
    "truncate,page=2",
    "total=+5",
    "total=-5",
    "total=0",
    "total=1",
    "total=9999999",
    "total=-1,page=3",
    "total=+1,page=2",
    "total=omitted,page=2",
    "total=omitted,page=1",
    "total=null,page=1",
    "empty_listing,page=2",
    "empty_listing=absent,page=3",
    "duplicate=3,changed",
    "duplicate=1,replace,page=2",
]


def together(faults: list[str], status: str) -> Iterator[Case]:
    """A run with three of the faults, each of another zone."""
    for start in range(0, len(faults), len(THREE)):
        zones = dict(zip(THREE, faults[start:], strict=False))
        fault = "; ".join(f"{fault},zone={zone}" for zone, fault in zones.items())
        yield Case(fault, 3, status, frozenset(zones))


CASES = [
    *together(UNREAD, "failed"),
    *together(TORN, "incomplete"),
    Case(f"hang,zone={ZONE}", 3, "failed", timeout="0.5"),
    Case(f"hang,zone={ZONE},page=2", 3, "incomplete", timeout="0.5"),
    # Read to the end, it is whole; the answer by id must have its totalCount all the same.
    Case(f"total=omitted,zone={ZONE}", 3, "changed"),
    Case(f"total=null,zone={ZONE}", 3, "changed"),
    Case(f"total=omitted,zone={ZONE},by_id=false", 0, "changed", NONE),
    # The zone is not there: unknown is not removed, and no failure.
    Case(f"not_found=zone,zone={ZONE}", 0, "gone"),
    Case(f"not_found=zone,zone={ZONE},page=2", 0, "gone"),
    # Not listed, but it answers: it is read as ever.
    Case(f"hide_zone,zone={ZONE}", 0, "changed", NONE),
    # Emptied.
    Case(f"empty_listing,zone={ZONE}", 4, "guarded"),
    Case(f"empty_listing=null,zone={ZONE}", 4, "guarded"),
    Case("empty_listing", 4, "guarded", ALL),
    # Everything at once.
    Case("status=503", 1, "failed", ALL),
    Case("status=403", 1, "failed", ALL),
    Case("status=503,action=DescribeImages", 1, "failed", ALL),
    Case("garbage", 1, "failed", ALL),
    Case("total=+1,by_id=false", 3, "incomplete", ALL),
    # Without a reliable list of zones no zone is gone, and the known are read.
    *(
        Case(f"{fault},action=DescribeZones", 3, "changed", NONE)
        for fault in ("status=500", "status=403", "garbage", "empty_zones", "empty_zones=absent")
    ),
    # Odd, but whole.
    Case("page_cap=7", 0, "changed", NONE, "1000"),
    Case("page_cap=3", 0, "changed", NONE),
    Case("duplicate=2", 0, "changed", NONE),
    Case("total=string", 0, "changed", NONE),
    Case("reorder=page", 0, "changed", NONE),
    Case("status=503,times=2", 0, "changed", NONE),
]
SOME = 8
"""Faults one after the other in one database; of each more are removed, which the guard counts."""


def drift(world: World, held: frozenset[str] = ONE) -> dict[str, dict[str, Any]]:
    """Let one image go, one change and one come in some zones; return what was served before."""
    before = served(world)
    for zone in {ZONE, OTHER, *(held if held != ALL else ())}:
        ids = list(before[zone])
        world.remove_image(zone, ids[2])
        world.change_image(zone, ids[9], imageVersion="changed", imageStatus="UNAVAILABLE")
        world.add_image(zone, imageName="came")
    return before


async def removed(db: Any) -> set[tuple[str, str]]:
    rows = await db.fetch(
        "select zone_id, image_id from syncer.images where removed_at is not null"
    )
    return {tuple(row) for row in rows}


def gone(before: dict[str, dict[str, Any]], world: World) -> set[tuple[str, str]]:
    """Return the images that the world really lost, each with its zone."""
    return {(z, i) for z in before for i in before[z] if i not in world.images(z)}


async def assert_held(
    db: Any,
    world: World,
    before: dict[str, dict[str, Any]],
    held: frozenset[str],
    old: frozenset[tuple[str, str]] = frozenset(),
) -> None:
    """Nothing is removed in the held zones, nothing made up; every other zone is exactly right.

    ``old`` were removed before.
    """
    went = {image for image in gone(before, world) if image[0] not in held}
    assert went | old == await removed(db)
    kept, now = await stored(db, "removed_at is null"), served(world)
    for zone, images in kept.items():
        if zone not in held:
            assert now[zone] == images
            continue
        assert before[zone].keys() <= images.keys()
        for image_id, image in images.items():
            assert image in (before[zone].get(image_id), now[zone].get(image_id))


@pytest.mark.parametrize("first", range(0, len(CASES), SOME), ids=lambda n: CASES[n].fault)
async def test_no_fault_removes_what_lives_and_the_next_good_run_is_right(
    first: int, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """The documented exit code and status; the zones at fault keep all; the others are right."""
    assert 0 == (await sync()).exit_code
    for case in islice(CASES, first, first + SOME):
        with naming(case.fault):
            await one_fault(case, world, simulator, sync, db)


async def one_fault(case: Case, world: World, simulator: Simulator, sync: Any, db: Any) -> None:
    """A drift, a run with a fault, and a good one; what is stored was exact before."""
    before, old = drift(world, case.held), frozenset(await removed(db))
    for fault in case.fault.split("; "):
        simulator.add_fault(fault)

    report = await sync(SYNCER_PAGE_SIZE=case.page_size, SYNCER_REQUEST_TIMEOUT=case.timeout)

    assert case.exit_code == report.exit_code, report
    await assert_held(db, world, before, case.held, old)
    zones = await db.fetch("select zone_id, last_status, gone_at is not null from syncer.zones")
    there = await stored(db)
    for zone in case.held or ONE:
        assert (zone, case.status, case.status == "gone") in {tuple(row) for row in zones}
        if case.status in {"gone", "failed", "incomplete"}:
            assert (case.status == "gone") == (zone not in there)

    simulator.clear_faults()
    report = await sync()
    if case.status == "guarded":  # the latch: what is really gone waits for a person now
        assert (4, len(case.held & {ZONE, OTHER})) == (report.exit_code, report.counts.withheld)
        await db.execute(APPROVE)
        report = await sync()
    assert 0 == report.exit_code
    await assert_exact(db, world)
    assert gone(before, world) | old == await removed(db)


DENIALS = {
    **{f"{fault},zone={ZONE},page=2-": 19 for fault in ("status=401", "challenge", "blocked")},
    f"status=403,code=AUTHFAILURE_INVALID_USER,zone={ZONE},page=2-": 19,
    **{f"{fault},action=DescribeImages": 3 for fault in ("status=401", "blocked")},
}
"""Refusals of us, each with the most calls that such a run makes (19: all)."""


async def test_a_denial_ends_the_run_at_once_and_removes_nothing(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Who is denied is denied everywhere (unlike a plain 403): exit 1, nothing removed at all."""
    assert 0 == (await sync()).exit_code
    for fault, most in DENIALS.items():
        with naming(fault):
            before, old = drift(world), frozenset(await removed(db))
            simulator.reset_stats()
            simulator.add_fault(fault)

            report = await sync(SYNCER_PAGE_SIZE="7", SYNCER_MAX_CONCURRENCY="2")

            assert (1, True) == (report.exit_code, len(simulator.calls) <= most)
            await assert_held(db, world, before, ALL, old)
            simulator.clear_faults()
            assert 0 == (await sync()).exit_code
            await assert_exact(db, world)


async def test_a_row_without_an_id_keeps_its_zone_from_removing_though_no_total_is_sent(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Such a row may be any image: exit 3, the zone is incomplete and keeps all it had."""
    assert 0 == (await sync()).exit_code
    before = drift(world)
    world.add_row(ZONE, 7, key="odd")
    simulator.add_fault(f"total=omitted,zone={ZONE},by_id=false")

    report = await sync(SYNCER_PAGE_SIZE="7")

    world.remove_image(ZONE, "odd")
    assert (3, 1, 1) == (report.exit_code, report.counts.rejected, report.counts.zones_incomplete)
    await assert_held(db, world, before, ONE)
    assert served(world)[ZONE].items() <= (await stored(db))[ZONE].items()
    assert 0 == (await sync(SYNCER_PAGE_SIZE="7")).exit_code
    await assert_exact(db, world)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    page=st.integers(1, 4),
    places=st.lists(st.integers(0, 19), min_size=1, max_size=3, unique=True),
    at_once=st.sampled_from(["1", "4"]),
)
async def test_images_that_go_and_come_between_two_pages(
    *,
    page: int,
    places: list[int],
    at_once: str,
    world: World,
    simulator: Simulator,
    sync: Any,
    db: Any,
) -> None:
    """Rows slip past the reader while totalCount stays: right after that run and the next."""
    few = {"SYNCER_PAGE_SIZE": "5", "SYNCER_MAX_CONCURRENCY": at_once}
    few["SYNCER_GUARD_ZONE_COUNT"] = "off"  # it remembers what the examples before removed
    simulator.on_call = None
    assert 0 == (await sync(**few)).exit_code
    before = await stored(db)
    ids = list(world.images(ZONE))

    def shift(call: Any) -> None:
        if call.zone == ZONE and call.page_num == page and ids[places[0]] in world.images(ZONE):
            for place in places:
                world.remove_image(ZONE, ids[place])
                world.add_image(ZONE, imageName="came between two pages")

    simulator.on_call = shift
    assert 0 == (await sync(**few)).exit_code
    present = await stored(db)
    assert before[ZONE].keys() & world.images(ZONE).keys() <= present[ZONE].keys()
    assert served(world).keys() == present.keys()

    assert 0 == (await sync(**few)).exit_code
    await assert_exact(db, world)
