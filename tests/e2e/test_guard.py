"""The removal guard with its memory: rules of a zone and of a run, and what a person may say."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import anyio
import pytest

from syncer.simulator import Simulator, SimulatorOptions, World
from tests.support import assert_exact, lose, result, rows, until

A, B = "FRA-A", "HKG-A"


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    sizes = getattr(request, "param", {A: 40, B: 40})
    return World.generate(seed=5, zones=0, sizes=sizes)


async def rules(db: Any) -> dict[str | None, int]:
    """By which rule images that are missing are withheld."""
    found = await db.fetch("""
        select rule, count(*) from syncer.image_gaps where gap_to is null group by rule""")
    return dict(map(tuple, found))


@pytest.mark.parametrize("world", [{A: 8, B: 10, "MIA-A": 100}], indirect=True)
async def test_a_zone_that_answers_with_anothers_images_keeps_its_own(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Nothing that was listed is listed any more: withheld, however few there were."""
    await sync()
    mine = dict(world.images(A))
    for image_id in lose(world, A, 8):
        assert image_id in mine
    for image in list(world.images(B).values()):
        world.add_image(A, **image)
    assert (4, 8, 0) == result(await sync())
    assert {"turned_over": 8} == await rules(db)


@pytest.mark.parametrize("world", [{A: 14, B: 100}], indirect=True)
async def test_a_republished_zone_is_withheld_and_named_so(
    world: World, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """All but one under new ids and the same names: the warning and the view say what it is."""
    names = [image["imageName"] for image in world.images(A).values()]
    world.add_image(A, imageName=names[0])  # of that name before: it has not appeared now
    await sync()
    lose(world, A, 15)
    for name in names[1:]:
        world.add_image(A, imageName=name)
    assert (4, 15, 0) == result(await sync())
    [warning] = warnings
    assert "13 of 15 under new ids" == warning["republished"]
    pairs = await db.fetch("""
        select o.image_name = n.image_name from syncer.image_gaps as g
        join syncer.images as o using (account, service, zone_id, image_id)
        join syncer.images as n using (account, service, zone_id)
        where n.image_id = g.namesake_id""")
    assert [True] * 13 == [same for (same,) in pairs]


@pytest.mark.parametrize("world", [{A: 60, B: 60}], indirect=True)
async def test_a_slow_bleed_is_seen_as_what_it_is(world: World, sync: Any, db: Any) -> None:
    """Nine fewer in every run: what was removed within a day is remembered."""
    await sync()
    removed = 0
    for _ in range(6):
        lose(world, A, 9)
        removed += (await sync()).counts.removed
    assert removed == 9
    assert 4 == (await sync()).exit_code


@pytest.mark.parametrize("world", [{A: 60, B: 60}], indirect=True)
async def test_a_day_later_the_guard_has_forgotten(world: World, sync: Any, db: Any) -> None:
    """What was removed more than 24 hours ago, by the clock, or was approved, counts no more."""
    await sync()
    for _ in range(3):
        lose(world, A, 9)
        assert (0, 0, 9) == result(await sync())
        await db.execute("""
            update syncer_store.runs set clock_at = clock_at - interval '25 hours',
                started_at = started_at - interval '25 hours',
                finished_at = finished_at - interval '25 hours'""")


KINDS = {A: 40, B: 40, "MIA-A": 40}


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("world", [KINDS], indirect=True)
async def test_a_key_that_may_no_longer_see_custom_images(
    left: int, world: World, sync: Any, db: Any, syncer: Any
) -> None:
    """All of one kind gone, in every zone: those are withheld as a run's, and approved as such."""
    for zone in KINDS:
        for image_id in sorted(world.images(zone))[:5]:
            world.change_image(zone, image_id, imageType="RARE_IMAGE")
    await sync()
    for zone in KINDS:
        lose(world, zone, 5 if zone != A else 5 - left)
    ordinary = sorted(world.images(B))[-1]
    world.remove_image(B, ordinary)
    would = await sync(dry_run=True)
    report = await sync()
    assert result(would) == result(report)
    if left:
        assert (0, 0, 15) == result(report)
        return
    assert (4, 15, 1) == result(report)
    assert {"kind": 15} == await rules(db)
    lose(world, A, 1)  # joins the latch, and is none of that run's
    assert (4, 16, 0) == result(await sync())

    for most, code in ((14, 1), (15, 0), (15, 1)):
        done = await syncer("approve", "--run", str(report.run_id), "--max", str(most))
        assert code == done.code, done.err
    assert (4, 1, 15) == result(await sync())
    outcomes = await db.fetch("select outcome, removed, of_run_id from syncer.approvals")
    assert {("applied", 5, report.run_id)} == {tuple(row) for row in outcomes}


async def test_what_a_run_withholds_in_all_zones(
    world: World, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """10 of 40 in each of two zones pass the zones' limits and not the run's."""
    await sync()
    lose(world, A, 10)
    lose(world, B, 10)
    assert (4, 20, 0) == result(await sync())
    assert (4, 20, 0) == result(await sync())
    (said,) = [e for e in warnings if e["event"] == "removals.withheld"]
    assert (2, 20, "run") == (said["zones"], said["images"], said["rule"])
    assert {A, B} == {zone.removeprefix("vm/") for zone in said["named"].split(", ")}
    assert "syncer approve --run 2 --max 20" in said["advice"]
    assert {"run": 20} == await rules(db)
    assert {"guarded"} == {
        status for (status,) in await db.fetch("select last_status from syncer.zones")
    }


async def test_a_zone_without_a_key_adopts_one_in_silence(
    world: World, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """Read with a token, which has none, then with a key, then with a token again."""
    token = {"ZENLAYER_TOKEN": "test-token"}
    await sync(**token)
    for env in ({}, token, {}):
        lose(world, A, 1)
        assert (0, 0, 1) == result(await sync(**env))
    assert [] == warnings


async def test_another_key_removes_nothing_at_its_first_look(
    world: World, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """A new key sees what it may see: what it does not list waits for a second look, unlatched."""
    keys = {"test-key": "test-secret", "second": "test-secret"}
    async with Simulator(world, SimulatorOptions(access_keys=keys)) as simulator:
        one = {"ZENLAYER_ENDPOINT": simulator.endpoint}
        other = one | {"ZENLAYER_ACCESS_KEY_ID": "second"}
        await sync(**one)
        lose(world, A, 2)
        assert (0, 0, 0) == result(await sync(**other))
        assert {"another_key": 2} == await rules(db)
        assert (0, 0, 2) == result(await sync(**other))
        lose(world, A, 1)
        assert (0, 0, 1) == result(await sync(**other))
        assert (0, 0, 0) == result(await sync(**one)), "a look that finds nothing new will do"
        lose(world, A, 1)
        assert (0, 0, 1) == result(await sync(**one))
    assert ["credentials.changed"] * 2 == [entry["event"] for entry in warnings]
    await assert_exact(db, world)
    stored = await db.fetch("select key_digest, zone_id from syncer_store.zones")
    assert b"second" not in b"".join(digest for digest, _ in stored)


@pytest.mark.parametrize("world", [{A: 3, B: 3, "MIA-A": 3}], indirect=True)
async def test_another_key_is_said_once(world: World, sync: Any, warnings: list[Any]) -> None:
    """At the first whole look with it: where nothing was read, later; where zones wait, not again.

    The key before is another one again, also where this one read a single zone.
    """
    keys = {"test-key": "test-secret", "second": "test-secret"}
    async with Simulator(world, SimulatorOptions(access_keys=keys)) as simulator:
        one = {"ZENLAYER_ENDPOINT": simulator.endpoint}
        other = one | {"ZENLAYER_ACCESS_KEY_ID": "second"}

        async def zones_said(env: dict[str, str], *zones: str, **how: bool) -> list[int]:
            warnings.clear()
            await sync(zones=zones, **how, **env)
            return [e["zones"] for e in warnings if e["event"] == "credentials.changed"]

        assert [] == await zones_said(one)
        simulator.add_fault("status=500,action=DescribeImages")
        assert [] == await zones_said(other, A)
        simulator.clear_faults()
        assert [3] == await zones_said(other, A, dry_run=True)
        assert [3] == await zones_said(other, A)
        assert [] == await zones_said(other, A)
        assert [] == await zones_said(other, B)
        assert [2] == await zones_said(one)
        lose(world, A, 1)
        assert [] == await zones_said(one)
        assert [3] == await zones_said(other, "MIA-A")
        assert [] == await zones_said(other)
        assert [] == await zones_said(other)


@pytest.mark.parametrize("looks", [2, 3])
async def test_an_image_is_removed_after_as_many_looks_as_are_asked_for(
    looks: int, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Until then it is unknown and not asked for; being seen again begins the count anew."""
    env = {"SYNCER_REMOVAL_LOOKS": str(looks)}
    await sync(**env)
    gone, back = lose(world, A, 2)
    assert (0, 0, 0) == result(await sync(**env))
    world.restore_image(A, back)
    for _ in range(looks - 2):
        assert (0, 0, 0) == result(await sync(**env))
    assert not [call for call in simulator.calls if call.by_id]
    row = await db.fetchrow(
        """select presence, syncer.image_presence(account, service, zone_id, image_id, now())
           from syncer.images where image_id = $1""",
        gone,
    )
    assert ("unknown", "unknown") == tuple(row)
    assert (0, 0, 1) == result(await sync(**env))
    await assert_exact(db, world)


@pytest.mark.parametrize("world", [{A: 100, B: 40}], indirect=True)
async def test_an_approval_that_waits_lets_nothing_pass_unjudged(
    world: World, sync: Any, db: Any, syncer: Any
) -> None:
    """Ten are approved in advance, sixty go: withheld at the first look, and at the second too."""
    env = {"SYNCER_REMOVAL_LOOKS": "2"}
    await sync(**env)
    assert 0 == (await syncer("approve", A, "--max", "10")).code
    compared = (
        "select zone_id from syncer_store.zones join syncer_store.zone_digests using (zone_key)"
    )
    assert [B] == [zone for (zone,) in await db.fetch(compared)], "the next look is compared"
    lose(world, A, 60)
    assert (4, 60, 0) == result(await sync(**env))
    assert ["pending"] == [row[0] for row in await db.fetch("select outcome from syncer.approvals")]
    assert [(4, 60, 0)] * 2 == [result(await sync(**env)), result(await sync(**env))]
    assert 0 == (await syncer("approve", A, "--max", "60")).code
    lose(world, A, 12)  # missed for the first time: not what was approved
    would = await sync(dry_run=True, **env)
    assert (4, 12, 60) == result(would) == result(await sync(**env))
    assert (4, 12, 0) == result(await sync(**env))


@pytest.mark.parametrize("world", [{A: 14, B: 14}], indirect=True)
async def test_what_a_run_withheld_and_a_person_approved_is_seen_again_or_left(
    world: World, sync: Any, db: Any, syncer: Any
) -> None:
    """An approval ends where nothing of it is missing; a dry run counts what stays withheld."""
    await sync()
    lost = {zone: lose(world, zone, 7) for zone in (A, B)}
    run_id = (await sync()).run_id
    assert {"run": 14} == await rules(db)
    lose(world, A, 1)
    report = await sync()
    assert (4, 15, 0) == result(report)
    done = await syncer("approve", "--run", str(report.run_id), "--max", "99")
    assert (1, True) == (done.code, "nothing is withheld that run" in done.err), "it joined a latch"
    assert 0 == (await syncer("approve", "--run", str(run_id), "--max", "14")).code
    for image_id in lost[B]:
        world.restore_image(B, image_id)
    assert (4, 1, 7) == result(await sync(dry_run=True)) == result(await sync())
    outcomes = await db.fetch("select zone_id, outcome, removed from syncer.approvals")
    assert {(A, "applied", 7), (B, "not_needed", 0)} == {tuple(row) for row in outcomes}


@pytest.mark.parametrize("world", [{A: 12, B: 100}], indirect=True)
@pytest.mark.parametrize("case", ["unjudged", "new since", "back now"])
async def test_a_zone_is_turned_over_against_its_last_judged_look(
    case: str, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Not against a look whose misses nobody judged; what is seen again now was not listed by it.

    Half of twelve images are missing and stay so; then the other half is too.
    """
    await sync()
    simulator.add_fault("status=500,by_id=true")
    first = lose(world, A, 3)
    count = 3 if case == "new since" else 0
    new = {world.add_image(A, imageName=f"new {number}") for number in range(count)}
    assert (3, 0, 0) == result(await sync())
    if case != "back now":  # as where the run was killed before the guard spoke
        await db.execute("update syncer_store.missing set judged_run_id = null")
        await db.execute("delete from syncer_store.zone_digests")
    for image_id in {*world.images(A)} - new:
        world.remove_image(A, image_id)
    if case == "back now":
        world.restore_image(A, first[0])
    elif case == "unjudged":
        world.add_image(A, imageName="another")
    report = await sync()
    assert 4 == report.exit_code
    assert {"turned_over": report.counts.withheld} == await rules(db)


@pytest.mark.parametrize("world", [{A: 4, B: 100}], indirect=True)
@pytest.mark.parametrize("changes", [False, True])
async def test_what_a_look_in_part_saw_was_not_listed_by_the_last_whole_one(
    changes: bool, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """A zone is republished; new images are seen by a torn look first, and perhaps change since."""
    await sync()
    new = [world.add_image(A, imageName=f"new {number}") for number in range(4)]
    for image_id in {*world.images(A)} - {*new}:
        world.remove_image(A, image_id)
    torn = simulator.add_fault(f"total=+1,zone={A},by_id=false")
    assert (3, 0, 0) == result(await sync())
    if changes:
        for image_id in new:
            world.change_image(A, image_id, imageVersion="2")
        assert (3, 0, 0) == result(await sync())
    simulator.remove_fault(torn)
    assert (4, 4, 0) == result(await sync())
    assert {"turned_over": 4} == await rules(db)


@pytest.mark.parametrize("world", [{A: 30, B: 33}], indirect=True)
async def test_what_was_withheld_before_counts_among_no_images_though_it_is_back(
    world: World, sync: Any, db: Any
) -> None:
    """11 of 63 are less than 20 %; of the 51 that were not withheld they are more."""
    await sync()
    lost = lose(world, A, 12)
    assert (4, 12, 0) == result(await sync())
    for image_id in lost:
        world.restore_image(A, image_id)
    lose(world, B, 11)
    env = {"SYNCER_GUARD_ZONE_PERCENT": "50"}
    assert (4, 11, 0) == result(await sync(dry_run=True, **env)) == result(await sync(**env))
    assert {"run": 11} == await rules(db)


async def test_a_run_that_is_killed_before_the_guard_spoke_leaves_all_to_the_next(
    world: World, simulator: Simulator, sync: Any, environment: dict[str, str], db: Any
) -> None:
    """Looks are stored, the verdict of the run is not: the next judges all of it as new."""
    await sync()
    lose(world, A, 10)
    lose(world, B, 10)
    await db.execute("""
        create function stop() returns trigger language plpgsql as
            $$ begin perform pg_sleep(60); return null; end $$;
        create trigger stop after update of judged_run_id on syncer_store.missing
            for each statement execute function stop()""")
    running = await anyio.open_process(
        [sys.executable, "-m", "syncer", "sync"], env={**os.environ, **environment}
    )
    sleeps = """
        select exists (select from pg_stat_activity
                       where datname = current_database() and wait_event = 'PgSleep')"""
    await until(lambda: db.fetchval(sleeps))
    running.send_signal(signal.SIGKILL)
    await running.aclose()
    await db.execute("""
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event = 'PgSleep'""")
    await db.execute("drop trigger stop on syncer_store.missing")
    assert 20 == await db.fetchval(
        "select count(*) from syncer_store.missing where judged_run_id is null"
    )
    assert not [call for call in simulator.calls if call.by_id]
    assert (4, 20, 0) == result(await sync())
    assert {"run": 20} == await rules(db)


async def test_a_retired_zone_is_unknown_until_it_is_listed(
    world: World, simulator: Simulator, sync: Any, syncer: Any, db: Any
) -> None:
    """A person's word: not asked for again, unknown from then on, also when it is asked as of."""
    await sync()
    simulator.add_fault(f"hide_zone,zone={A}")
    simulator.add_fault(f"status=403,zone={A},action=DescribeImages")
    assert 3 == (await sync()).exit_code
    before = await db.fetchval("select clock_timestamp()")
    done = await syncer("retire", A)
    assert (0, True) == (done.code, "Retired: vm/FRA-A of account default" in done.out)
    assert "was retired before" in (await syncer("retire", A)).out
    calls = len(simulator.calls)
    assert 0 == (await sync()).exit_code
    assert A not in {call.zone for call in simulator.calls[calls:]}
    retired = await db.fetchval("select clock_timestamp()")
    assert {"unknown"} == {
        row["presence"] for row in rows(await syncer("images", "--zone", A, "-o", "ndjson"))
    }
    retired_by = "select retired_by is not null from syncer.zones where zone_id = $1"
    assert await db.fetchval(retired_by, A)
    simulator.clear_faults()
    assert 0 == (await sync()).exit_code
    back = await db.fetchval("select clock_timestamp()")
    assert not await db.fetchval(retired_by, A)
    await assert_exact(db, world)
    answers = await db.fetch(
        """select distinct t, syncer.image_presence(account, service, zone_id, image_id, t)
           from syncer.images, unnest($1::timestamptz[]) as t where zone_id = $2""",
        [before, retired, back],
        A,
    )
    assert {(before, "present"), (retired, "unknown"), (back, "present")} == {
        tuple(row) for row in answers
    }
    assert 2 == (await syncer("retire", "NO-WHERE")).code
