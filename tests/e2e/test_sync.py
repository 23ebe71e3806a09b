"""One run after another against the simulator and a real PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncer.core.errors import ConfigError
from syncer.core.model import TRACKED
from syncer.simulator import Simulator, SimulatorOptions, World
from tests.support import (
    assert_exact,
    lose,
    lose_zone,
    naming,
    served,
    statuses_of_runs,
    stored,
)

WRITES = """
    select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
    from pg_stat_user_tables
    where schemaname = 'syncer_store' and relname in ('images', 'image_history')"""


async def test_first_run_stores_every_field_as_served(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """A first run stores every image of every zone with every field, and exits 0."""
    world.add_image("FRA-A", imageName="名字-1", imageDescription="späť", madeUp={"b": 1, "a": [2]})

    report = await sync()

    assert ("succeeded", 0) == (report.status, report.exit_code)
    await assert_exact(db, world)
    assert {"appeared": 121} == dict(
        await db.fetch("select kind, count(*) from syncer.image_changes group by kind")
    )


async def test_large_zones_take_exactly_one_call_a_page(
    environment: Any, sync: Any, db: Any
) -> None:
    """12 zones x 2,345 images at page size 1000: 1 + 36 calls, concurrency never above the cap."""
    world = World.generate(seed=3, zones=12, images=2345)
    async with Simulator(
        world, SimulatorOptions(access_keys={"test-key": "test-secret"}, latency=0.02)
    ) as simulator:
        environment["ZENLAYER_ENDPOINT"] = simulator.endpoint
        report = await sync(SYNCER_MAX_CONCURRENCY="5")

        calls = [(call.action, call.zone, call.page_num) for call in simulator.calls]
        assert 37 == len(calls) == len(set(calls))
        assert 5 == simulator.peak_concurrency
        assert simulator.connections <= 5
    assert (28140, 37, 0) == (report.counts.images, report.counts.calls, report.counts.retries)
    await assert_exact(db, world)


async def test_unchanged_run_writes_no_image_row(sync: Any, db: Any) -> None:
    """A run that finds no change inserts, updates and deletes no row of images or its history."""
    await sync()
    await db.execute("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    before = await db.fetchval(WRITES)

    report = await sync()

    await db.execute("select pg_stat_clear_snapshot()")
    assert before == await db.fetchval(WRITES)
    assert before >= 120
    assert 6 == report.counts.zones_unchanged


async def test_rows_and_pages_in_another_order_are_no_change(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """The order in which a zone lists its images, and of keys in a row, changes nothing."""
    await sync()
    for order, size in (("reorder=zone", "1000"), ("reorder=page", "7")):
        simulator.clear_faults()
        simulator.add_fault(order)

        report = await sync(SYNCER_PAGE_SIZE=size)

        assert (6, 0) == (report.counts.zones_unchanged, report.counts.changed)


async def test_drift_is_seen_field_by_field(world: World, sync: Any, db: Any) -> None:
    """Appeared, changed, removed and returned images are kept apart, with old and new values."""
    await sync()
    ids = sorted(world.images("FRA-A"))
    world.change_image("FRA-A", ids[0], imageVersion="99.1", imageStatus="UNAVAILABLE")
    world.remove_image("FRA-A", ids[1])
    new = world.add_image("HKG-A", imageName="Brand new")

    report = await sync()

    assert (1, 1, 1, 0) == counts(report)
    await assert_exact(db, world)
    rows = await db.fetch("""
        select kind, zone_id, image_id, changed_fields, not_before < changed_at as bounded
        from syncer.image_changes where not_before is not null order by change_id""")
    assert {
        ("changed", "FRA-A", ids[0], ("image_version", "image_status"), True),
        ("removed", "FRA-A", ids[1], (), True),
        ("appeared", "HKG-A", new, (), True),
    } == {(*row[:3], tuple(row[3]), row[4]) for row in rows}
    assert ("99.1", "UNAVAILABLE") == tuple(
        row[0]
        for row in await db.fetch(
            "select new_value from syncer.image_field_changes order by field desc"
        )
    )

    world.restore_image("FRA-A", ids[1])
    report = await sync()

    assert (0, 0, 0, 1) == counts(report)
    await assert_exact(db, world)
    assert 2 == await db.fetchval(
        "select count(*) from syncer.image_versions where image_id = $1", ids[1]
    )


def counts(report: Any) -> tuple[int, int, int, int]:
    c = report.counts
    return c.appeared, c.changed, c.removed, c.returned


async def test_the_history_rebuilds_the_present(world: World, sync: Any, db: Any) -> None:
    """Replaying image_changes in order gives exactly the images that are present."""
    await sync()
    for seed in range(4):
        world.drift(seed, appear=4, change=6, remove=3)
        await sync()

    state: dict[tuple[str, str], Any] = {}
    for row in await db.fetch("select * from syncer.image_changes order by change_id"):
        key = (row["zone_id"], row["image_id"])
        assert (row["before"] is None) == (row["kind"] == "appeared")
        if row["kind"] == "changed":
            assert state[key] == json.loads(row["before"])
        if row["kind"] == "removed":
            del state[key]
        else:
            state[key] = json.loads(row["after"])
    assert state == {
        (row["zone_id"], row["image_id"]): {name: row[name] for name in TRACKED}
        for row in await db.fetch("select * from syncer.images where presence = 'present'")
    }
    await assert_exact(db, world)


async def test_size_is_compared_by_its_number(world: World, sync: Any, db: Any) -> None:
    """30, "30.0" and "30" are one size; the text of the moment a version opened is kept."""
    image = world.add_image("FRA-A", imageSize="30")
    await sync()
    for other in (30, "30.0", 30.0, "3e1"):
        world.change_image("FRA-A", image, imageSize=other)
        assert (0, 0, 0, 0) == counts(await sync())
    row = await db.fetchrow("select * from syncer.images where image_id = $1", image)
    assert ("30", 30) == (row["image_size"], row["image_size_gib"])

    world.change_image("FRA-A", image, imageSize=31)
    assert (0, 1, 0, 0) == counts(await sync())


async def test_extra_is_updated_in_place(world: World, sync: Any, db: Any) -> None:
    """What the API adds beside the tracked fields is stored, and opens no version."""
    ids = sorted(world.images("FRA-A"))
    await sync()
    world.change_image("FRA-A", ids[0], newField=[1, {"x": None}])

    assert (0, 0, 0, 0) == counts(await sync())

    extra = await db.fetchval("select extra from syncer.images where image_id = $1", ids[0])
    assert {"newField": [1, {"x": None}]} == json.loads(extra)
    assert 0 == await db.fetchval("select count(*) from syncer_store.image_history")
    assert ["newField"] == [
        r[0] for r in await db.fetch("select name from syncer_store.extra_names")
    ]


async def test_a_page_cap_is_followed(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """A server that silently caps pages at 7 is read whole, without a re-read."""
    simulator.add_fault("page_cap=7")

    report = await sync()

    assert (0, 0) == (report.exit_code, report.counts.rereads)
    await assert_exact(db, world)


async def test_no_total_count_is_read_to_the_end(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Where totalCount is missing on every page, pages are read until an empty one."""
    simulator.add_fault("total=omitted")

    report = await sync(SYNCER_PAGE_SIZE="7")

    assert 0 == report.exit_code
    assert 1 + 6 * 4 == report.counts.calls
    await assert_exact(db, world)


async def test_unanswered_candidates_are_judged_again(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Where the question by id fails nothing is removed (exit 3); the next run asks again."""
    await sync()
    gone = sorted(world.images("FRA-A"))[0]
    world.remove_image("FRA-A", gone)
    for answer in ("status=500", "status=403", "total=+1", "garbage"):
        with naming(answer):
            simulator.add_fault(f"{answer},by_id=true")

            report = await sync()

            assert (3, 0) == (report.exit_code, report.counts.removed)
            assert "unknown" == await db.fetchval(
                "select presence from syncer.images where image_id = $1", gone
            )
            simulator.clear_faults()
    report = await sync()
    assert (0, 1) == (report.exit_code, report.counts.removed)
    await assert_exact(db, world)
    row = await db.fetchrow("""
        select c.not_before, first.observed_at from syncer.image_changes as c,
            (select observed_at from syncer.zone_scans where zone_id = 'FRA-A'
             order by run_id limit 1) as first where c.kind = 'removed'""")
    assert row["observed_at"] == row["not_before"]  # the last look that still listed it


@pytest.mark.parametrize("kind", ["image", "resource"])
async def test_not_found_for_whatever_is_asked_by_id_removes_nothing(
    kind: str, world: World, sync: Any, db: Any, simulator: Simulator
) -> None:
    """An API that does not find what it has just listed is believed of no other image."""
    await sync()
    gone = lose(world, "FRA-A", 3)
    simulator.add_fault(f"not_found={kind},by_id=true")

    report = await sync()

    assert (3, 0) == (report.exit_code, report.counts.removed)
    assert {*gone} <= (await stored(db, "removed_at is null"))["FRA-A"].keys()
    simulator.clear_faults()
    assert 3 == (await sync()).counts.removed
    await assert_exact(db, world)


async def test_a_batch_refused_by_id_is_asked_one_by_one(
    world: World, sync: Any, db: Any, simulator: Simulator
) -> None:
    """Where the API answers unknown ids with an error, single answers decide."""
    await sync()
    lose(world, "FRA-A", 3)
    simulator.add_fault("lookup=strict")
    simulator.add_fault("omit=2,zone=FRA-A")

    report = await sync()

    assert (0, 3) == (report.exit_code, report.counts.removed)
    await assert_exact(db, world)


async def test_a_zone_that_empties_is_withheld(
    world: World, sync: Any, simulator: Simulator
) -> None:
    """A zone that had images and comes back empty is withheld, however few they were."""
    world.add_zone("MIA-Z", images=1)
    await sync()
    simulator.add_fault("empty_listing,zone=MIA-Z")

    report = await sync()

    assert (4, 1, 0) == (report.exit_code, report.counts.withheld, report.counts.removed)


async def test_a_zone_that_goes_makes_its_images_unknown(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Gone from DescribeZones or not found: unknown, not removed, exit 0; it may come back."""
    await sync()
    for faults in (
        ["hide_zone,zone=FRA-A", "not_found=zone,zone=FRA-A,action=DescribeImages"],
        ["hide_zone,zone=FRA-A", "empty_listing,zone=FRA-A"],
        ["not_found,zone=FRA-A"],
    ):
        for fault in faults:
            simulator.add_fault(fault)
        report = await sync()
        assert (0, 1) == (report.exit_code, report.counts.zones_gone)
        assert {("FRA-A", "unknown")} == {
            tuple(row)
            for row in await db.fetch(
                "select zone_id, presence from syncer.images where presence <> 'present'"
            )
        }
        assert 20 == await db.fetchval("select count(*) from syncer.images where zone_id = 'FRA-A'")

        calls = len(simulator.calls)
        found_gone = (report := await sync()).counts.zones_gone
        assert (0, len(faults) == 1) == (report.exit_code, found_gone)
        asked = {call.zone for call in simulator.calls[calls:]}
        assert ("FRA-A" in asked) == (len(faults) == 1), "a gone zone is asked where it is listed"
        simulator.clear_faults()
        assert 0 == (await sync()).exit_code
        await assert_exact(db, world)


async def listed(db: Any) -> dict[str, bool]:
    return dict(map(tuple, await db.fetch("select zone_id, listed from syncer.zones")))


async def test_a_zone_that_is_no_longer_listed_is_asked_for_once_more(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """It answers with images: it is read as any, run after run, and is counted."""
    await sync()
    simulator.add_fault("hide_zone,zone=FRA-A")
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    first, second = await sync(), await sync()
    assert [(0, 1, 1, 1), (0, 1, 0, 0)] == [
        (r.exit_code, r.counts.zones_unlisted, r.counts.zones_lost, r.counts.removed)
        for r in (first, second)
    ]
    await assert_exact(db, world)
    assert ["FRA-A"] == [zone for zone, yes in (await listed(db)).items() if not yes]
    simulator.clear_faults()
    assert 0 == (await sync()).counts.zones_unlisted
    assert all((await listed(db)).values())


async def test_a_zone_that_is_not_listed_and_refuses_fails_alone(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Its failure, exit 3, in every run; the others are read, and it is not gone."""
    await sync()
    present = "select count(*) from syncer.images where presence = 'present'"
    for status in (401, 403, 500, 503):
        with naming(status):
            simulator.add_fault("hide_zone,zone=FRA-A")
            simulator.add_fault(f"status={status},zone=FRA-A,action=DescribeImages")
            for _ in range(2):
                report = await sync()
                assert (3, 1, 0) == (
                    report.exit_code,
                    report.counts.zones_failed,
                    report.counts.zones_gone,
                )
                assert 5 == report.counts.zones_unchanged
            assert 120 == await db.fetchval(present)
            simulator.clear_faults()
            simulator.add_fault(f"status={status},zone=FRA-A,action=DescribeImages")
            expected = 1 if status == 401 else 3  # a listed one is another thing
            assert expected == (await sync()).exit_code
            simulator.clear_faults()


async def test_a_block_of_us_ends_the_run_in_a_zone_that_is_not_listed_too(
    world: World, simulator: Simulator, sync: Any
) -> None:
    """Neither is about the zone."""
    await sync()
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    for fault in ("challenge", "blocked"):
        for which in ("", ",by_id=true"):
            with naming(fault + which):
                simulator.add_fault("hide_zone,zone=FRA-A")
                simulator.add_fault(f"{fault},zone=FRA-A{which}")
                assert 1 == (await sync()).exit_code
                simulator.clear_faults()


async def test_an_empty_zone_that_is_no_longer_listed_is_gone(
    world: World, simulator: Simulator, sync: Any
) -> None:
    """It lists nothing, as ever: gone, and not asked again."""
    world.add_zone("MIA-Z", images=0)
    await sync()
    await sync()
    simulator.add_fault("hide_zone,zone=MIA-Z")
    assert [1, 0] == [(await sync()).counts.zones_gone, (await sync()).counts.zones_gone]
    assert 2 + 1 == sum(call.zone == "MIA-Z" for call in simulator.calls)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_zone_that_is_not_listed_and_refuses_a_question_by_id_fails_alone(
    status: int, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """It lists its images and refuses to be asked for one: exit 3, and nothing is removed."""
    await sync()
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    world.remove_image("HKG-A", min(world.images("HKG-A")))
    simulator.add_fault("hide_zone,zone=FRA-A")
    simulator.add_fault(f"status={status},zone=FRA-A,by_id=true")
    report = await sync()
    assert (3, 1) == (report.exit_code, report.counts.removed)
    simulator.clear_faults()
    assert (0, 1) == ((report := await sync()).exit_code, report.counts.removed)
    await assert_exact(db, world)
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    simulator.add_fault(f"status={status},zone=FRA-A,by_id=true")
    assert (1 if status == 401 else 3) == (await sync()).exit_code, "a listed one is another thing"


@pytest.mark.parametrize("fault", ["empty_zones", "status=500,action=DescribeZones"])
async def test_no_zone_goes_where_the_list_of_zones_is_not_reliable(
    fault: str, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """DescribeZones fails or names none: known zones are read, exit 3, and stay listed."""
    await sync()
    simulator.add_fault(fault)
    report = await sync()
    assert (3, 6, 0, 0) == (
        report.exit_code,
        report.counts.zones_unchanged,
        report.counts.zones_unlisted,
        report.counts.zones_lost,
    )
    assert all((await listed(db)).values())
    await assert_exact(db, world)


@pytest.mark.parametrize("how", ["hide_zone", "not_found=zone,action=DescribeImages"])
@pytest.mark.parametrize(("zones", "exit_code"), [("A", 3), ("A|HKG-A", 0)])
async def test_many_zones_that_are_lost_at_once_are_no_success(
    how: str, zones: str, exit_code: int, simulator: Simulator, sync: Any
) -> None:
    """More than two and more than a quarter of those known: exit 3, in that run only."""
    await sync()
    glob = "FRA-A|HKG-A|SIN-E" if zones == "A" else "FRA-A|HKG-A"
    simulator.add_fault(f"{how},zone={glob}")
    assert exit_code == (await sync(dry_run=True)).exit_code
    report = await sync()
    assert exit_code == report.exit_code
    assert len(glob.split("|")) == report.counts.zones_lost
    if exit_code:
        assert report.fault.code == "ZONES_LOST"
        assert report.fault.message.startswith("3 of 6 known zones are gone or no longer listed")
    assert (0, 0) == ((report := await sync()).exit_code, report.counts.zones_lost)


async def test_zones_are_lost_of_those_that_were_known(
    world: World, simulator: Simulator, sync: Any
) -> None:
    """New ones neither hide that many are lost, nor are lost themselves if they are not there."""
    await sync()
    for number in range(8):
        world.add_zone(f"NEW-{number}", images=1)
    simulator.add_fault("not_found=zone,zone=NEW-0|NEW-1|NEW-2|NEW-3,action=DescribeImages")
    assert [0, 0] == [(await sync(dry_run=dry)).exit_code for dry in (True, False)]
    simulator.clear_faults()
    for number in range(8):
        world.add_zone(f"NEWER-{number}", images=1)
    simulator.add_fault("hide_zone,zone=FRA-A|HKG-A|SIN-E|LAX-A")
    report = await sync()
    assert (3, 4) == (report.exit_code, report.counts.zones_lost)
    assert report.fault.message.startswith("4 of 10 known zones")


async def test_zones_that_go_when_they_are_asked_by_id_are_lost_too(
    world: World, simulator: Simulator, sync: Any
) -> None:
    """Three of six have no zone for a question by id: gone at once, and exit 3."""
    await sync()
    for zone in ("FRA-A", "HKG-A", "SIN-E"):
        world.remove_image(zone, min(world.images(zone)))
    simulator.add_fault("not_found=zone,by_id=true")
    report = await sync()
    assert (3, 3, 3, 0) == (
        report.exit_code,
        report.counts.zones_gone,
        report.counts.zones_lost,
        report.counts.removed,
    )


@pytest.mark.parametrize("fault", ["status=503", "status=403", "reset", "garbage"])
async def test_nothing_read_is_a_failed_run(
    fault: str, simulator: Simulator, sync: Any, db: Any
) -> None:
    """When no zone could be read at all the run failed: exit 1."""
    simulator.add_fault(fault)

    report = await sync()

    assert ("failed", 1) == (report.status, report.exit_code)
    assert ["failed"] == await statuses_of_runs(db)


async def test_a_challenge_pauses_the_run_once(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """A Cloudflare challenge that is over after a pause does no harm; a second one ends the run."""
    simulator.add_fault("challenge,action=DescribeImages,times=2")
    assert 0 == (await sync(SYNCER_MAX_CONCURRENCY="2")).exit_code
    await assert_exact(db, world)

    simulator.reset_stats()
    simulator.add_fault("challenge,action=DescribeImages")
    report = await sync(SYNCER_MAX_CONCURRENCY="2")
    assert (1, "SECURITY_CHALLENGE") == (report.exit_code, report.fault.code)
    assert len(simulator.calls) <= 1 + 2 + 2  # the zones, those before the pause, those after


@pytest.mark.parametrize(
    "selection",
    [
        {"zones": ("FRA-*",)},
        {"zones": ("FRA-*", "H*"), "not_zones": ("HKG-*",)},
        {"not_zones": ("[!F]*",)},
    ],
)
async def test_a_selected_run_touches_nothing_else(
    selection: dict[str, Any], world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """A run over a selection writes no row of a zone outside it, nor of another account.

    PostgreSQL names the transaction that wrote each row; zones drift, are lost, have images
    withheld or waiting, and are of another service.
    """
    await sync()
    await sync(SYNCER_ACCOUNT="other")
    await db.execute("""
        insert into syncer_store.zones (account, service, zone_id)
        select account, 'zec', zone_id from syncer_store.zones""")
    lose(world, "LAX-A", 20)
    assert 4 == (await sync()).exit_code
    world.drift(3, appear=6, change=6, remove=6)
    lose_zone(simulator, "HKG-A")
    (chosen,) = await db.fetchrow("""
        select zone_key from syncer_store.zones
        where (account, service, zone_id) = ('default', 'vm', 'FRA-A')""")
    before = await rows_outside(db, chosen)

    report = await sync(**selection)

    assert (0, 1) == (report.exit_code, report.counts.zones)
    present = await stored(db, "account = 'default' and presence = 'present'")
    assert served(world)["FRA-A"] == present["FRA-A"]
    assert before == await rows_outside(db, chosen)


async def rows_outside(db: Any, chosen: int) -> dict[str, list[Any]]:
    """Every row of every zone but one: where it stands, and which transaction wrote it."""
    names = await db.fetch("""
        select table_name from information_schema.columns join information_schema.tables
            using (table_schema, table_name)
        where table_schema = 'syncer_store' and column_name = 'zone_key'
            and table_type = 'BASE TABLE'""")
    found = {
        name: [
            tuple(row)
            for row in await db.fetch(
                f"select zone_key, ctid::text, xmin::text from syncer_store.{name} "
                "where zone_key <> $1 order by 1, 2",
                chosen,
            )
        ]
        for (name,) in names
    }
    assert all(found[name] for name in ("zones", "zone_scans", "images", "missing"))
    return found


async def test_a_glob_that_matches_nothing_is_refused_before_anything_is_read(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """One misspelt among others, of either kind, is exit 2; one of a zone that is gone is known."""
    for selection in (
        {"zones": ("FRA-A", "NOPE-*")},
        {"not_zones": ("NOPE-*",)},
        {"zones": ("FRA-A",), "not_zones": ("FRA-*",)},
    ):
        with pytest.raises(
            ConfigError, match=r"no zone (matches NOPE-\*: see|is left: --not-zone)"
        ):
            await sync(**selection)
    assert {"DescribeZones"} == {call.action for call in simulator.calls}
    await sync()
    lose_zone(simulator, "FRA-A")
    await sync()
    assert 0 == (await sync(not_zones=("FRA-A",))).exit_code
    assert 0 == (await sync(zones=("FRA-A", "HKG-A"))).exit_code


async def test_a_dry_run_writes_nothing_and_says_what_would_change(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """--dry-run exits as the real run would, names each change, and changes no row at all."""
    before = await everything(db)
    empty = await sync(dry_run=True)
    assert (0, 120) == (empty.exit_code, empty.counts.appeared)
    assert before == await everything(db)
    await sync()
    world.drift(3, appear=2, change=3, remove=1)
    before = await everything(db)

    report = await sync(dry_run=True)

    assert (2, 3, 1, 0) == counts(report)
    assert before == await everything(db)
    assert (2, 3, 1, 0) == counts(await sync())


async def everything(db: Any) -> list[str]:
    tables = ("runs", "zones", "zone_scans", "images", "image_history")
    return [
        await db.fetchval(
            f"select md5(coalesce(string_agg(t::text, '' order by t::text), '')) "
            f"from syncer_store.{table} as t"
        )
        for table in tables
    ]


async def test_a_token_works_as_a_key_pair_does(sync: Any, world: World, db: Any) -> None:
    """A bearer token is enough, and wins over a key pair."""
    report = await sync(ZENLAYER_TOKEN="test-token", ZENLAYER_ACCESS_KEY_SECRET="wrong")

    assert 0 == report.exit_code
    await assert_exact(db, world)


@pytest.mark.parametrize("fault", ["total=omitted", "total=null"])
async def test_an_answer_by_id_that_does_not_count_removes_nothing(
    fault: str, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """A reply by id without its totalCount says nothing: no image is removed, exit 3."""
    await sync()
    before = (await stored(db))["FRA-A"].keys()
    world.remove_image("FRA-A", min(before))
    simulator.add_fault("omit=2,zone=FRA-A")
    simulator.add_fault(f"{fault},by_id=true")

    report = await sync()

    assert (3, 0) == (report.exit_code, report.counts.removed)
    assert before == (await stored(db, "removed_at is null"))["FRA-A"].keys()


async def test_a_zone_that_goes_before_the_question_by_id_is_gone(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """INVALID_ZONE_NOT_FOUND by id: the zone went; nothing is removed, and it is no failure."""
    await sync()
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    simulator.add_fault("not_found=zone,by_id=true,zone=FRA-A")

    report = await sync()

    assert (0, 1, 0) == (report.exit_code, report.counts.zones_gone, report.counts.removed)
    row = await db.fetchrow(
        "select last_status, gone_at is not null, present_images from syncer.zones "
        "where zone_id = 'FRA-A'"
    )
    assert ("gone", True, 0) == tuple(row)
    simulator.clear_faults()
    assert 1 == (await sync()).counts.removed
    await assert_exact(db, world)


async def test_a_latched_zone_that_goes_is_still_exit_4(
    world: World, simulator: Simulator, sync: Any
) -> None:
    """The latch does not open because the zone is not offered any more."""
    await sync()
    lose(world, "FRA-A", 15)
    assert 4 == (await sync()).exit_code
    lose_zone(simulator, "FRA-A")
    assert [4, 4] == [(await sync()).exit_code, (await sync()).exit_code]
    assert 0 == (await sync(zones=("HKG-A",))).exit_code


async def test_odd_attributes_of_a_zone_are_stored_once(world: World, sync: Any, db: Any) -> None:
    """Numbers beyond a float, NUL and surrogates in a zone's attributes: stored, and stable."""
    world.change_zone("FRA-A", zoneName="a\0b", w=10**400, x="\ud800", y=[1.50, True])
    for _ in range(2):
        assert 0 == (await sync()).exit_code
    before = await db.fetchval("select xmin::text from syncer_store.zones where zone_id = 'FRA-A'")
    assert 0 == (await sync(dry_run=True)).exit_code
    assert 0 == (await sync()).exit_code
    assert before == await db.fetchval(
        "select xmin::text from syncer_store.zones where zone_id = 'FRA-A'"
    )


async def test_an_absurd_total_is_not_followed(simulator: Simulator, sync: Any) -> None:
    """Twenty rows and a totalCount of ten million: no call is made for half a million pages."""
    simulator.add_fault("total=9999999,zone=FRA-A,by_id=false")

    report = await sync()

    assert 3 == report.exit_code
    assert report.counts.calls < 20


async def test_only_the_first_look_that_read_anything_is_a_first_look(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Though it was read in part; what appears later is new, and nothing was known before it."""
    news = []
    for fault in ("status=503", "total=+1", "total=+1", None):
        simulator.clear_faults()
        if fault:
            simulator.add_fault(f"{fault},zone=FRA-A")
        if fault != "status=503":
            news.append(world.add_image("FRA-A", imageName="new"))
        await sync()
    rows = await db.fetch("""
        select image_id, first_look, not_before is null as never_whole from syncer.image_changes
        where kind = 'appeared' and zone_id = 'FRA-A'""")
    found = {row["image_id"]: (row["first_look"], row["never_whole"]) for row in rows}
    assert [(True, True), (False, True), (False, True)] == [found[image_id] for image_id in news]
    assert (True, True) == found[min(world.images("FRA-A"))]


async def test_what_a_look_in_part_saw_is_evidence(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Of the state that it opened, and of an image that it saw again; of no other."""
    opened, again, other = sorted(world.images("FRA-A"))[:3]
    await sync()
    world.remove_image("FRA-A", again)
    simulator.add_fault("status=500,by_id=true")
    await sync()
    world.restore_image("FRA-A", again)
    world.change_image("FRA-A", opened, imageVersion="77")
    simulator.add_fault("total=+1,zone=FRA-A,by_id=false")
    assert 1 == (await sync()).counts.zones_incomplete
    looks = await db.fetch("""
        select observed_at from syncer.zone_scans where zone_id = 'FRA-A' order by run_id""")
    whole, part = (row["observed_at"] for row in looks[1:])
    evidence = {opened: part, again: part, other: whole}
    for question in ("syncer.images", "syncer.images_asof(clock_timestamp())"):
        rows = await db.fetch(f"select image_id, observed_at from {question}")
        assert evidence == {i: at for i, at in rows if i in evidence}

    simulator.clear_faults()
    for image_id in evidence:
        world.change_image("FRA-A", image_id, imageVersion="78")
    assert 3 == (await sync()).counts.changed
    rows = await db.fetch("""
        select image_id, not_before from syncer.image_changes where after ->> 'image_version' = '78'
    """)
    assert evidence == dict(map(tuple, rows))
    await assert_exact(db, world)


async def test_a_change_after_an_unlisted_look_is_bounded_by_the_look_that_listed(
    world: World, sync: Any, db: Any
) -> None:
    """not_before is the last whole look that still saw the old state, not just the last look."""
    await sync()
    victims = sorted(world.images("FRA-A"))[:15]
    for image_id in victims:
        world.remove_image("FRA-A", image_id)
    assert 4 == (await sync()).exit_code
    world.restore_image("FRA-A", victims[0])
    world.change_image("FRA-A", victims[0], imageVersion="77")
    await sync()
    first = await db.fetchval(
        "select observed_at from syncer.zone_scans where zone_id = 'FRA-A' order by run_id limit 1"
    )
    assert first == await db.fetchval(
        "select not_before from syncer.image_changes where kind = 'changed'"
    )
