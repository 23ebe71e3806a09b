"""Random worlds, faults and ends of runs: what holds after every run, whatever happened.

``SYNCER_TEST_WORLDS=300 pytest tests/e2e/test_random_worlds.py`` tries that number of new ones.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from syncer.core.errors import ConfigError, Interrupted
from syncer.core.model import Fault
from syncer.core.paging import LARGE
from syncer.simulator import Simulator, World
from syncer.simulator.calls import CallRecord
from syncer.simulator.faultbook import FaultBook
from syncer.store.approvals import approve
from syncer.sync.stop import Stop
from tests.invariants import WHOLE, Key, Look, Rows, check, present, stored
from tests.support import FIELDS, assert_exact, call_large, empty, tables, until

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
WORLDS = int(os.environ.get("SYNCER_TEST_WORLDS") or 0)
ZONES = ["FRA-A", "HKG-A", "MIA-A", "SIN-A"]

# Faults that let no listing be whole, those that make it wrong but consistent, those that do
# neither. The answer by id may be wrong at the same time, but not as consistently: an image that
# lives, and that the API denies both times while it returns others by id, is removed, and must be.
FATAL = ["status=500", "status=503", "status=403", "reset", "garbage", "garbage=html", "truncate"]
FATAL += ["error_in_200", "not_found=zone", "total=+1"]
WRONG = ["omit=1", "omit=4", "empty_listing", "total=-1", "total=0", "duplicate=2,replace"]
ODD = ["page_cap=3", "page_cap=7", "reorder=zone", "reorder=page", "duplicate=1", "total=string"]
ODD += ["duplicate=2,changed", "total=null", "total=omitted", "hide_zone", "empty_zones"]
ODD += ["status=451", "status=401", "lookup=strict", "lookup=ignored"]
WHEN = ["", "", "", ",times=1", ",times=9", ",page=1", ",page=2-", ",after=2", ",by_id=false"]
DENIALS = ["not_found=image", "not_found=resource", "status=404"]
DENIAL = [f"{kind},by_id=true" for kind in DENIALS]
MUTE = [*DENIALS, "empty_listing", "empty_listing=null", "total=0", "lookup=first"]


class How(NamedTuple):
    """What becomes of the world, and then how one run goes."""

    events: list[tuple[str, str, int, int]]
    faults: list[str]
    end: tuple[str, int]
    slip: tuple[int, str]
    settings: dict[str, str]
    approve: int
    only: tuple[str, ...]
    dry: bool
    late: bool


def fault(kinds: list[str], when: list[str]) -> st.SearchStrategy[str]:
    where = st.sampled_from([*ZONES, "*"])
    return st.builds("{},zone={}{}".format, st.sampled_from(kinds), where, st.sampled_from(when))


def doubtful(drawn: tuple[str, str]) -> list[str]:
    """Living images are left out of the list, and the question by id fails."""
    return [f"omit=4,zone={drawn[0]}", "{1},zone={0},by_id=true".format(*drawn)]


what = st.sampled_from(["appear", "change", "go", "go", "go", "return", "annotate", "zone"])
zones, count = st.sampled_from(ZONES), st.sampled_from([1, 2, 3, 4, 5, 12, 40])
moment = st.integers(1, 15) | st.just(999)
wrong = fault(WRONG, [f"{when},by_id=false" for when in WHEN if "by_id" not in when])
faults = fault(FATAL, [*WHEN, ",by_id=true"]) | wrong | fault(ODD, WHEN)
rounds = st.builds(
    How,
    events=st.lists(st.tuples(what, zones, st.integers(0, 30), count), min_size=1, max_size=6),
    faults=st.one_of(
        *(st.just(list[str]()), st.lists(wrong, min_size=1, max_size=1)),
        *(st.lists(faults, min_size=1, max_size=most) for most in (1, 3)),
        st.lists(fault(DENIAL, [""]), min_size=1, max_size=1),
        *[st.tuples(zones, st.sampled_from([*FATAL, "duplicate=2,replace"])).map(doubtful)] * 2,
        st.tuples(zones, st.sampled_from(MUTE)).map(doubtful),
    ),
    end=st.tuples(st.sampled_from(["", "", "", "", "stop", "cancel", "kill"]), moment),
    slip=st.just((0, "")) | st.tuples(moment, zones),
    settings=st.fixed_dictionaries(
        {
            "SYNCER_PAGE_SIZE": st.sampled_from(["7", "1000"]),
            "SYNCER_MAX_CONCURRENCY": st.sampled_from(["1", "4"]),
        },
        optional={"SYNCER_GUARD_ZONE_COUNT": st.sampled_from(["off", "0"])},
    ),
    approve=st.sampled_from([0, 0, 0, 3, 1000]),
    only=st.sampled_from([(), (), (), (), ("FRA-A",), ("HKG-A",)]),
    dry=st.sampled_from([False] * 6 + [True]),
    late=st.booleans(),
)
several = st.lists(st.sampled_from([1, 5, 16, 30]), min_size=1, max_size=3)
starts = st.tuples(several, st.booleans(), st.sampled_from([LARGE, 4]))
"""Sizes of zones, whether they are known, the most images of a zone that is not large."""
thorough = settings(max_examples=WORLDS or 10, derandomize=not WORLDS, database=None, deadline=None)


@pytest.mark.timeout(120 + 3 * WORLDS)
@settings(thorough, print_blob=True, suppress_health_check=list(HealthCheck))
@given(start=starts, plan=st.lists(rounds, min_size=3, max_size=8))
async def test_what_holds_after_every_run(  # noqa: PLR0917  (fixtures)
    simulator: Simulator,
    sync: Any,
    db: Any,
    monkeypatch: pytest.MonkeyPatch,
    start: tuple[list[int], bool, int],
    plan: list[How],
) -> None:
    """After each run every invariant holds, and two good runs end in exactly the truth."""
    call_large(start[2], monkeypatch)
    await empty(db)
    world = simulator.world = World(seed=1)
    for zone, size in zip(ZONES, start[0], strict=False):
        world.add_zone(zone, images=size)
    looks: dict[Any, Look] = {}
    if start[1]:
        await sync()
    for number, how in enumerate(plan):
        for event in how.events:
            happen(world, number, *event)
        await run(simulator, sync, db, how)
        await check(db, looks)
    simulator.clear_faults()
    for zone in world._zones:
        world.restore_zone(zone)
    for changes_allowed in (True, False):
        await approve_all(db, 10**6)
        before = await known(db)
        assert "succeeded" == (await sync()).status
        assert changes_allowed or before == await known(db)
    await assert_exact(db, world)
    await check(db, looks)


async def known(db: Any) -> dict[Key, dict[str, Any]]:
    """All that is stored of images, but for when they were seen last."""
    return {key: {**row, "observed_at": None} for key, row in (await stored(db)).items()}


def happen(world: World, number: int, what: str, zone: str, *span: int) -> None:
    """Let something become of the world; what cannot happen does not."""
    start, count = span
    if zone not in world._zones:
        world.add_zone(zone, images=count)
    elif what == "zone":
        (world.remove_zone if world.exists(zone) else world.restore_zone)(zone)
    image_ids = list(world.images(zone)) * 2
    for image_id in dict.fromkeys(image_ids[start % (len(image_ids) // 2 or 1) :][:count]):
        if what == "go":
            world.remove_image(zone, image_id)
        elif what == "change":
            world.change_image(zone, image_id, imageVersion=f"v{number}", imageStatus=f"S{start}")
        elif what == "annotate":
            world.change_image(zone, image_id, note=number)
    for image_id in list(world._zone(zone).removed)[:count] * (what == "return"):
        world.restore_image(zone, image_id)
    for _ in range(count * (what == "appear")):
        world.add_image(zone)


def inventory(world: World) -> Rows:
    """What there is, zones that went included: their images are unknown, not gone."""
    return {
        (zone, image_id): tuple(row[name] for name in FIELDS["vm"])
        for zone in world._zones
        for image_id, row in world.images(zone).items()
    }


async def digest(db: Any) -> list[str]:
    text = "select md5(string_agg(t::text, '' order by t::text)) from {} as t"
    return [await db.fetchval(text.format(table)) for table in await tables(db)]


async def approve_all(db: Any, most: int) -> None:
    for zone, *_ in await db.fetch("select zone_id from syncer.zones"):
        await approve(db, account=None, service=None, zone_id=zone, max_removals=most, by="test")


async def run(  # noqa: PLR0915
    simulator: Simulator, sync: Any, db: Any, how: How
) -> None:
    """Do one run with its faults and its end, and check what it did."""
    world, stop, calls = simulator.world, Stop(), 0
    simulator.faults = FaultBook(Random(0), how.faults)  # noqa: S311
    torn, misled = set[str](), set[str]()
    totals = [text for text in how.faults if "total" in text]
    for text, armed in zip(how.faults, simulator.faults, strict=True):
        kind, _, when = text.partition(f",zone={armed.fault.zone}")
        hit = {zone for zone in ZONES if armed.fault.covers_zone(zone)}
        misled |= hit if kind in WRONG else set()
        torn |= hit if kind in FATAL and not when and totals in ([], [text]) else set()
        if [f"duplicate=2,replace,zone={armed.fault.zone},by_id=false"] == how.faults:
            torn |= {z for z in hit if world.exists(z) and len(world.images(z)) > 4}

    async def listed_late() -> None:
        with anyio.move_on_after(0.1):
            await until(lambda: calls > 1)

    def on_call(call: CallRecord) -> Awaitable[None] | None:
        nonlocal calls
        calls += 1
        if how.slip[0] == calls and not any("by_id=true,z" in f for f in how.faults):
            zone = how.slip[1]
            misled.add(zone)
            if world.exists(zone) and (image_ids := list(world.images(zone))):
                world.remove_image(zone, image_ids[0])
                world.add_image(zone)
        if how.end == ("stop", calls):
            stop.now(Fault(code="STOPPED", message="the test said so"))
        elif how.end in {("cancel", calls), ("kill", calls)}:
            scope.cancel()
        # Zones that are known are read before they are listed.
        return listed_late() if how.late and call.action == "DescribeZones" else None

    if how.approve:
        await approve_all(db, how.approve)
    before, start, written = await stored(db), inventory(world), await digest(db)
    last = await db.fetchval("select max(run_id) from syncer_store.runs")
    simulator.on_call = on_call
    with anyio.CancelScope() as scope:
        try:
            await sync(zones=how.only, dry_run=how.dry, stop=stop, **how.settings)
        except ConfigError:  # no such zone is listed now
            assert how.only
        except Interrupted:  # the zones are asked for while the run begins
            assert how.end == ("stop", 1)
    simulator.on_call = None
    if how.dry:
        assert written == await digest(db), "a dry run writes nothing"
        return
    run_id = await db.fetchval("select max(run_id) from syncer_store.runs")
    if run_id == last:  # it was ended before it began, or nothing that is there was selected
        assert how.only or how.end[1] == 1
        assert written == await digest(db), "a run that did not begin writes nothing"
        return
    of_run = "select zone_id, {} from syncer.{} where run_id = $1".format
    scans = dict(await db.fetch(of_run("status", "zone_scans"), run_id))
    feed = await db.fetch(of_run("image_id, kind", "image_changes"), run_id)
    removed = {(zone, image_id) for zone, image_id, kind in feed if kind == "removed"}
    approved = dict(await db.fetch(of_run("outcome", "approvals"), run_id))
    after, end = await stored(db), inventory(world)
    note(f"{scans} removed {removed}")
    listed = dict(await db.fetch(of_run("images", "zone_scans"), run_id))
    # An empty list has no control: where a person approved, the API is believed as it is.
    mute = any(text.split(",")[0] in MUTE and "by_id=true" in text for text in how.faults)
    applied = {zone for zone, outcome in approved.items() if outcome == "applied" and mute}
    blind = {zone for zone in applied if not listed[zone]}
    living = {key for key in start.keys() & end.keys() if key[0] not in blind}
    nothing_living_goes(living, before, after, removed)
    nothing_half_read_removes(scans, removed, torn)
    calm = not how.faults and not how.end[0]
    whole_is_true(end, after, {z for z in scans if scans[z] in WHOLE} - misled, calm=calm)
    guarded(before, {key for key in removed if approved.get(key[0]) != "applied"}, how.settings)
    if how.end[0] == "kill":  # what a process leaves that was killed before it could end its run
        await db.execute("""
            update syncer_store.runs set (status, finished_at, change_base, changes)
            = ('running', null, null, 0) where run_id = (select max(run_id) from syncer.runs)""")


def nothing_living_goes(living: set[Key], before: Rows, after: Rows, removed: set[Key]) -> None:
    """No image that was in the world all through the run was removed."""
    assert not removed & living
    assert not (present(before).keys() - present(after).keys()) & living


def nothing_half_read_removes(scans: dict[str, str], removed: set[Key], torn: set[str]) -> None:
    """Only a whole look removes, and where no listing could be whole none is called so."""
    assert {scans.get(zone) for zone, _ in removed} <= {"changed"}
    assert not torn & {zone for zone, status in scans.items() if status in WHOLE}


def whole_is_true(world: Rows, after: Rows, honest: set[str], *, calm: bool) -> None:
    """What is there is stored as it is; what is not there is at most withheld."""
    there = {key: values for key, values in world.items() if key[0] in honest}
    found = {key: values for key, values in present(after).items() if key[0] in honest}
    assert there == {key: values for key, values in found.items() if key in there}
    withheld = {key for key, row in after.items() if row["withheld_since"]}
    assert not calm or found.keys() - withheld <= there.keys()


def guarded(before: Rows, removed: set[Key], given: dict[str, str]) -> None:
    """Unless a person approved, what is withheld stays, and not many go at once."""
    assert not {key for key in removed if key in before and before[key]["withheld_since"]}
    for zone in ZONES if "SYNCER_GUARD_ZONE_COUNT" not in given else ():
        known = [key for key in present(before) if key[0] == zone]
        assert sum(key[0] == zone for key in removed) <= max(10, len(known) / 4)
