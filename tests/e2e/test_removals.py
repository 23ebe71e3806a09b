"""What many removals wait for: the guard, a person's approval, and the API's answer by id."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from syncer.simulator import Simulator, World
from tests.support import assert_exact, lose, naming, result, stored
from tests.test_queries import QUESTIONS

A, B = "FRA-A", "HKG-A"


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """Two zones of a hundred images, unless a test asks for other sizes."""
    sizes = getattr(request, "param", {A: 100, B: 100})
    return World.generate(seed=5, zones=0, sizes=sizes)


async def approve(db: Any, zone: str, most: int) -> None:
    await db.execute(
        "insert into syncer_store.approvals (zone_key, max_removals, approved_by) "
        "select zone_key, $2, 'test' from syncer_store.zones where zone_id = $1",
        zone,
        most,
    )


async def outcomes(db: Any) -> list[tuple[str, int | None]]:
    """What came of each approval, and of how many candidates."""
    rows = await db.fetch("select outcome, candidates from syncer.approvals order by approval_id")
    return [tuple(row) for row in rows]


async def states(db: Any, zone: str = A) -> tuple[int, int, str]:
    """Present and withheld images of a zone, as counted and as they are, and its last status."""
    row = await db.fetchrow(
        "select present_images, withheld_removals, last_status from syncer.zones "
        "where zone_id = $1",
        zone,
    )
    counted = await db.fetchrow(
        "select count(*) filter (where presence = 'present'), count(withheld_since) "
        "from syncer.images where zone_id = $1",
        zone,
    )
    assert tuple(row)[:2] == tuple(counted)
    return tuple(row)


async def test_many_removals_wait_for_a_person(
    world: World, simulator: Simulator, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """60 of 100 images gone: withheld and said once; an approval lets them through, once."""
    await sync()
    lose(world, A, 60)
    assert [(4, 60, 0)] * 2 == [result(await sync()), result(await sync())]
    for number in range(200):
        world.add_image(A, imageName=f"new {number}")
    assert (4, 60, 0) == result(await sync())
    assert ["removals.withheld"] == [entry["event"] for entry in warnings]
    assert (A, 60) == (warnings[0]["zone"], warnings[0]["images"])
    assert (240, 60, "guarded") == await states(db)

    await approve(db, A, 10)
    assert [(4, 60, 0)] * 2 == [result(await sync()), result(await sync())]
    assert [("exceeded", 60)] == await outcomes(db)
    await approve(db, A, 59)
    assert (4, 60, 0) == result(await sync())
    assert all(call.image_ids is None for call in simulator.calls)

    await approve(db, A, 60)
    assert (0, 0, 60) == result(await sync())
    assert ("applied", 60) == (await outcomes(db))[-1]
    await assert_exact(db, world)
    report = await sync()
    assert ((0, 0, 0), 2) == (result(report), report.counts.zones_unchanged)
    assert 1 == sum(entry["event"] == "removals.withheld" for entry in warnings)


async def test_further_removals_join_the_withheld_until_all_are_seen_again(
    world: World, sync: Any, db: Any
) -> None:
    """One more gone in a latched zone is withheld too, one in another zone is removed."""
    await sync()
    ids = sorted(world.images(A))
    gone = [*lose(world, A, 60), ids[70]]
    assert (4, 60, 0) == result(await sync())
    world.remove_image(A, ids[70])
    lose(world, B, 1)
    assert (4, 61, 1) == result(await sync())
    assert (39, 61, "guarded") == await states(db)

    for image_id in gone:
        world.restore_image(A, image_id)
    assert (0, 0, 0) == result(await sync())
    await assert_exact(db, world)


async def test_an_approval_is_used_up_by_one_look(world: World, sync: Any, db: Any) -> None:
    """What goes after an approval was applied is judged anew."""
    await sync()
    lose(world, A, 60)
    await approve(db, A, 1000)  # in advance: nothing was withheld yet
    assert (0, 0, 60) == result(await sync())
    lose(world, A, 20)
    assert (4, 20, 0) == result(await sync())
    assert [("applied", 60)] == await outcomes(db)


async def test_an_approval_that_was_not_needed_is_used_up(world: World, sync: Any, db: Any) -> None:
    """In advance, but nothing had gone at the next look: the one after is judged as ever."""
    await sync()
    await approve(db, A, 60)
    assert (0, 0, 0) == result(await sync())
    assert [("not_needed", 0)] == await outcomes(db)
    lose(world, A, 60)
    assert (4, 60, 0) == result(await sync())


async def test_only_a_whole_look_uses_an_approval_up(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Neither a zone that failed, nor one that was incomplete or gone, nor a dry run uses it."""
    await sync()
    lose(world, A, 60)
    await approve(db, A, 60)
    assert (0, 0, 60) == result(await sync(dry_run=True))
    assert (0, 0, 0) == result(await sync(zones=(B,)))
    for fault in ("total=+1", "status=500", "status=500,page=2", "not_found=zone"):
        with naming(fault):
            simulator.add_fault(f"{fault},zone={A}")
            report = await sync(SYNCER_PAGE_SIZE="9")
            assert (0, 0) == (report.counts.withheld, report.counts.removed)
            assert [("pending", None)] == await outcomes(db)
            simulator.clear_faults()

    assert (0, 0, 60) == result(await sync())
    await assert_exact(db, world)


@pytest.mark.parametrize("world", [{A: 40}], indirect=True)
async def test_few_removals_need_no_person(
    world: World, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """1 of 40 passes; so do 9 of the 39 that remain; one more within a day does not."""
    await sync()
    for count in (1, 9):
        lose(world, A, count)
        assert (0, 0, count) == result(await sync())
        await assert_exact(db, world)
    assert [] == warnings
    lose(world, A, 1)
    assert (4, 1, 0) == result(await sync())


TWENTY = dict.fromkeys(World.generate(seed=5, zones=20, images=0).zones(), 10)


@pytest.mark.parametrize("world", [TWENTY], indirect=True)
async def test_many_zones_that_lose_a_few_are_withheld_by_the_run(
    world: World, sync: Any, db: Any
) -> None:
    """6 of 10 gone in each of 20 zones: the run's guard trips, but not for who is approved."""
    await sync()
    for zone in world.zones():
        lose(world, zone, 6)
    await approve(db, A, 6)
    assert [(4, 114, 6), (4, 114, 0)] == [result(await sync()), result(await sync())]
    for zone in world.zones():
        await approve(db, zone, 6)
    assert (0, 0, 114) == result(await sync())
    await assert_exact(db, world)


async def test_an_approval_is_of_its_zone_alone(world: World, sync: Any, db: Any) -> None:
    """60 of 100 gone in two zones, one of them approved: the other's wait."""
    await sync()
    lose(world, A, 60)
    lose(world, B, 60)
    await approve(db, B, 200)
    assert (4, 60, 60) == result(await sync())
    assert (40, 60, "guarded") == await states(db, A)
    assert (40, 0, "changed") == await states(db, B)


@pytest.mark.parametrize("world", [{A: 100, B: 30}], indirect=True)
async def test_approved_removals_do_not_count_in_the_runs_share(
    world: World, sync: Any, db: Any
) -> None:
    """A zone that emptied, approved: all three guards are lifted, and none trips elsewhere."""
    await sync()
    lose(world, A, 100)
    lose(world, B, 10)
    await approve(db, A, 100)
    assert (0, 0, 110) == result(await sync())
    await assert_exact(db, world)


async def test_approved_but_unanswered_images_stay_and_are_judged_again(
    world: World, simulator: Simulator, sync: Any, db: Any, warnings: list[Any]
) -> None:
    """The question by id fails: not removed, and the approval stays for the next look."""
    await sync()
    lose(world, A, 60)
    assert (4, 60, 0) == result(await sync())
    await approve(db, A, 60)
    for fault in ("status=500", "total=+1", "garbage", "total=omitted"):
        with naming(fault):
            simulator.add_fault(f"{fault},by_id=true")
            assert (3, 60, 0) == result(await sync())
            assert [("pending", None)] == await outcomes(db)
            assert (40, 60, "guarded") == await states(db)
            simulator.clear_faults()

    assert (0, 0, 60) == result(await sync())
    assert [("applied", 60)] == await outcomes(db)
    assert 1 == sum(entry["event"] == "removals.withheld" for entry in warnings)
    await assert_exact(db, world)


async def test_an_approval_stays_for_as_many_as_were_not_removed(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """59 of 60 are removed, one got no answer: one more that goes is more than was approved.

    Whoever asks is given who let those 59 through, before it is used up and after.
    """

    async def let_through() -> Counter[Any]:
        return Counter(
            (r["ended_by"], r["approved_by"], r["rule"]) for r in await db.fetch(QUESTIONS[19])
        )

    await sync()
    lost = lose(world, A, 60)
    assert (4, 60, 0) == result(await sync())
    await approve(db, A, 60)
    simulator.add_fault(f"refuse_id=400,ids={lost[7]}")
    assert (3, 1, 59) == result(await sync())
    simulator.clear_faults()
    assert [("pending", None)] == await outcomes(db)
    removed = ("removed", "test", "many")
    assert {removed: 59, (None, None, "many"): 1} == await let_through()
    lose(world, A, 1)
    assert (4, 2, 0) == result(await sync())
    assert [("exceeded", 2)] == await outcomes(db)
    assert 59 == (await let_through())[removed]


@pytest.mark.parametrize("cap", [None, "page_cap=7,by_id=true", "page_cap=7"])
@pytest.mark.parametrize("world", [{A: 160, B: 20}], indirect=True)
async def test_images_that_a_listing_leaves_out_stay(
    cap: str | None, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Left out consistently, but alive by id: not removed, whoever lets them pass the guard."""
    await sync()
    if cap:
        simulator.add_fault(cap)
    few = simulator.add_fault(f"omit=9,zone={A}")
    assert (0, 0, 0) == result(await sync())
    await assert_exact(db, world)

    simulator.remove_fault(few)
    simulator.add_fault(f"omit=120,zone={A}")
    assert (4, 120, 0) == result(await sync())
    assert (40, 120, "guarded") == await states(db)
    await approve(db, A, 120)
    assert (0, 0, 0) == result(await sync())
    await assert_exact(db, world)

    unlisted = {i for call in simulator.calls for i in (call.image_ids or ())[:-1]}
    world.remove_image(A, min(unlisted))  # one of them really goes
    assert (4, 120, 0) == result(await sync())
    await approve(db, A, 120)
    assert (0, 0, 1) == result(await sync())
    await assert_exact(db, world)


@pytest.mark.parametrize("fault", ["total=+1", "status=500,page=2-"])
async def test_what_an_incomplete_look_stored_is_put_right_by_the_next_whole_one(
    fault: str, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Though that one reads the very bytes of the whole look before, it is no unchanged zone."""
    await sync(SYNCER_PAGE_SIZE="9")
    first = next(iter(world.images(A)))
    name = world.images(A)[first]["imageName"]
    world.change_image(A, first, imageName="for a moment")
    simulator.add_fault(f"{fault},zone={A}")
    assert 3 == (await sync(SYNCER_PAGE_SIZE="9")).exit_code
    assert "for a moment" == (await stored(db))[A][first]["imageName"]

    world.change_image(A, first, imageName=name)
    simulator.clear_faults()
    report = await sync(SYNCER_PAGE_SIZE="9")
    assert (0, 1) == (report.exit_code, report.counts.changed)
    await assert_exact(db, world)
    assert 3 == await db.fetchval(
        "select count(*) from syncer.image_versions where image_id = $1", first
    )


async def test_unchanged_bytes_are_judged_again(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Unconfirmed and withheld are judged on every run, though the listing is the same."""
    await sync()
    lose(world, A, 5)
    lose(world, B, 30)
    simulator.add_fault("status=500,by_id=true")
    assert [(3, 30, 0)] * 2 == [result(await sync()), result(await sync())]
    assert ((95, 0), (70, 30)) == ((await states(db))[:2], (await states(db, B))[:2])
    simulator.clear_faults()
    assert [(4, 30, 5), (4, 30, 0)] == [result(await sync()), result(await sync())]
    await approve(db, B, 30)
    assert (0, 0, 30) == result(await sync())
    await assert_exact(db, world)


@pytest.mark.parametrize("fault", ["hide_zone", "not_found=zone", "not_found=zone,by_id=true"])
async def test_the_latch_is_seen_while_its_zone_is_gone_and_no_longer(
    fault: str, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """However the zone goes, every run is exit 4 until the latch opens, and then 0 at once."""
    await sync()
    lost = lose(world, A, 60)
    assert 4 == (await sync()).exit_code
    if "by_id" in fault:
        await approve(db, A, 60)
    simulator.add_fault(f"{fault},zone={A}")
    if fault == "hide_zone":
        simulator.add_fault(f"not_found=zone,zone={A},action=DescribeImages")
    assert 4 == (await sync()).exit_code
    assert (0, 60, "gone") == await states(db)

    simulator.clear_faults()
    for image_id in lost:
        world.restore_image(A, image_id)
    assert (0, 0, 0) == result(await sync())
    await assert_exact(db, world)


THREE = {A: 30, B: 30, "MIA-A": 30}
BROKEN = [
    *("empty_listing", "empty_listing=null", "empty_listing=absent", "not_found=image"),
    *("not_found=resource", "lookup=ignored", "total=omitted", "total=+1", "status=500"),
    *("status=403", "garbage"),
]


def asked(simulator: Simulator, zone: str = A) -> list[tuple[str, ...]]:
    """The ids of each call by id about a zone, so far."""
    return [call.image_ids for call in simulator.calls if call.zone == zone and call.image_ids]


@pytest.mark.parametrize(
    ("world", "faults"),
    # Who is throttled goes slow, as long as there is something to ask.
    [(THREE, BROKEN[:6]), (THREE, BROKEN[6:]), ({A: 30}, ["throttle"])],
    indirect=["world"],
)
async def test_an_api_that_answers_no_question_by_id_as_it_should_removes_nothing(
    faults: list[str], world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """5 of 30 are left out of each list and one went: all stay, and it is said."""
    await sync()
    for fault in faults:
        with naming(fault):
            await one_broken(fault, world, simulator, sync, db)


UNGUARDED = {"SYNCER_GUARD_ZONE_COUNT": "off", "SYNCER_GUARD_RUN_PERCENT": "off"}
"""The guard counts what each fault before had removed in the end."""


async def one_broken(fault: str, world: World, simulator: Simulator, sync: Any, db: Any) -> None:
    there = {key: set(images) for key, images in (await stored(db)).items()}
    lost = {zone: lose(world, zone, 1) for zone in there}
    simulator.add_fault("omit=5")
    simulator.add_fault(f"{fault},by_id=true")
    before = len(simulator.calls)
    report = await sync(**UNGUARDED)
    assert (3, 0, 0) == result(report)
    kept = await stored(db, "removed_at is null")
    assert there == {key: set(images) for key, images in kept.items()}
    made = [call for call in simulator.calls[before:] if call.by_id]
    assert len(made) <= 3 * 2 * 7  # two questions a zone, each tried seven times; or five, once
    faults = {removal.zone.ref.zone_id: removal.fault for removal in report.removals}
    assert set(there) == set(faults)
    for zone, why in faults.items():
        assert why is not None
        assert why.message.startswith(f"vm/{zone}: what it no longer lists (img-")
        assert lost[zone][0] in why.message
        assert "; the next run asks again" in why.message
    assert report.fault in faults.values()

    simulator.clear_faults()
    assert (0, 0, len(there)) == result(await sync(**UNGUARDED))
    await assert_exact(db, world)


@pytest.mark.parametrize("world", [{A: 300, B: 20}], indirect=True)
async def test_each_question_holds_an_image_that_was_just_listed(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """At most 100 ids a call, the last of them listed; another one in another run."""
    await sync()
    lost = lose(world, A, 150)
    await approve(db, A, 150)
    assert (0, 0, 150) == result(await sync(dry_run=True))
    first = asked(simulator)
    assert (0, 0, 150) == result(await sync())
    second = asked(simulator)[len(first) :]
    assert [100, 52] == [len(ids) for ids in first] == [len(ids) for ids in second]
    for ids in (*first, *second):
        assert ids[-1] in world.images(A)
        assert set(ids[:-1]) <= set(lost)
    lose(world, A, 1)
    await sync()
    controls = {ids[-1] for ids in asked(simulator)}
    assert len(controls) > 1
    assert all(call.page_size == 100 for call in simulator.calls if call.by_id)
    await assert_exact(db, world)


async def test_the_control_is_of_the_type_of_what_is_missing(
    world: World, simulator: Simulator, sync: Any
) -> None:
    """A key that may not see custom images by id is found out by a custom image."""
    custom = [world.add_image(A, imageType="CUSTOM_IMAGE", imageStatus="CREATING") for _ in "ab"]
    usable = world.add_image(A, imageType="CUSTOM_IMAGE", imageStatus="AVAILABLE")
    for image_id, row in world.images(A).items():
        if row["imageType"] == "CUSTOM_IMAGE" and image_id not in {*custom, usable}:
            world.remove_image(A, image_id)
    await sync()
    world.remove_image(A, custom[0])
    await sync()
    assert [(custom[0], usable)] == asked(simulator)


@pytest.mark.parametrize("world", [{A: 7, B: 20}], indirect=True)
async def test_an_id_that_comes_back_in_another_case_keeps_no_other(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """IMG-ABC of 8 becomes img-abc, three others go: those are removed, that one is named."""
    world.add_image(A, imageId="IMG-ABC")
    await sync()
    world.remove_image(A, "IMG-ABC")
    world.add_image(A, imageId="img-abc", imageStatus="CREATING")
    lost = sorted(i for i in world.images(A) if i != "img-abc")[:3]
    for image_id in lost:
        world.remove_image(A, image_id)
    simulator.add_fault("lookup=folded")
    report = await sync()
    assert (3, 0, 3) == result(report)
    assert not {*lost} & (await stored(db))[A].keys()
    assert {"IMG-ABC", "img-abc"} <= (await stored(db, "removed_at is null"))[A].keys()
    assert report.fault is not None
    assert "vm/FRA-A: what it no longer lists (IMG-ABC) got no answer" in report.fault.message
    assert "not asked for (img-abc)" in report.fault.message
    assert (3, 0, 0) == result(await sync())

    simulator.clear_faults()
    assert (0, 0, 1) == result(await sync())
    await assert_exact(db, world)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_an_id_that_the_api_refuses_keeps_no_other(
    status: int, world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Of 20 that went one is refused, or breaks the server, in whatever company: 19 are removed."""
    await sync()
    lost = lose(world, A, 20)
    simulator.add_fault(f"refuse_id={status},ids={lost[7]}")
    report = await sync()
    if status == 404:  # not found, alone, beside a control that is found: that is the answer
        assert (0, 0, 20) == result(report)
        return
    assert (3, 0, 19) == result(report)
    assert lost[7] in (await stored(db, "removed_at is null"))[A]
    assert report.fault is not None
    assert f"({lost[7]})" in report.fault.message
    simulator.clear_faults()
    assert (0, 0, 1) == result(await sync())
    await assert_exact(db, world)


async def test_a_server_that_looks_at_the_first_ids_only_is_found_out(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Asked for 60 at once it forgets 40 living ones and the control; in halves it is right."""
    await sync()
    simulator.add_fault(f"omit=60,zone={A}")
    simulator.add_fault("lookup=first")
    await approve(db, A, 60)
    assert (0, 0, 0) == result(await sync())
    await assert_exact(db, world)


async def test_a_control_that_goes_at_that_very_moment_is_replaced(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Listed, removed before the question: another stands in, and the next run removes it."""
    await sync()
    lose(world, A, 3)

    def on_call(call: Any) -> None:
        if call.image_ids and call.image_ids[-1] in world.images(A):
            world.remove_image(A, call.image_ids[-1])
            simulator.on_call = None

    simulator.on_call = on_call
    assert (0, 0, 3) == result(await sync())
    assert (0, 0, 1) == result(await sync())
    await assert_exact(db, world)


async def test_a_list_that_the_question_contradicts_is_said(
    world: World, simulator: Simulator, sync: Any, warnings: list[Any]
) -> None:
    """Missing in the list and returned by id: they are seen, and a warning names them."""
    await sync()
    simulator.add_fault(f"omit=7,zone={A}")
    assert (0, 0, 0) == result(await sync())
    [entry] = warnings
    assert ("listing.contradicted", "vm", A, 7) == tuple(
        entry[name] for name in ("event", "service", "zone", "images")
    )
    assert entry["image_ids"].endswith(" and 2 more")
    assert "1 of the last 10" == entry["runs"]

    simulator.clear_faults()
    await sync()
    simulator.add_fault(f"omit=3,zone={A}")
    await sync()
    assert "2 of the last 10" == warnings[-1]["runs"]
