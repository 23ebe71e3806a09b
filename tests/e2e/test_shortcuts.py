"""What a zone is known to hold is not looked into again; no change is missed for it.

All digests are warm here: every zone was read whole, and is stored as it was read.

``SYNCER_TEST_SHORTCUTS=1 pytest tests/e2e/test_shortcuts.py`` reads in each way what is documented,
and with a note, and zones before or after they are listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import anyio
import asyncpg
import msgspec
import pytest

from syncer.core import digests
from syncer.core.guard import Limits
from syncer.core.model import TRACKED, ListedZone, ZoneRef
from syncer.core.paging import Snapshot, Unchanged, Walk
from syncer.simulator import Simulator, World
from syncer.store.approvals import approve
from syncer.store.connection import Server
from syncer.store.planning import StoredZone
from syncer.store.runs import begin
from syncer.store.writer import Writer
from syncer.zenlayer.rows import read_page
from syncer.zenlayer.sources import SOURCES
from tests.support import FIELDS, assert_exact, call_large, looked

pytestmark = pytest.mark.any_server

A, B = "FRA-A", "HKG-A"
REF = ZoneRef("vm", A)
# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
READ = [("1000", False), ("6", True)]
if os.environ.get("SYNCER_TEST_SHORTCUTS"):
    READ = list(itertools.product(("1000", "6"), (False, True)))
"""The page size, and whether images have a field that is not documented."""
LATE = [True, False] if os.environ.get("SYNCER_TEST_SHORTCUTS") else [True]
"""Whether the list of zones comes late, so that known zones are read before it has come."""
Change = tuple[str, str, str, tuple[str, ...]]
"""Zone, image, kind, changed fields."""


@pytest.fixture
def world() -> World:
    """Three zones of twenty images."""
    return World.generate(seed=1, zones=3, images=20)


@pytest.fixture(autouse=True, params=LATE)
def _late_list(request: pytest.FixtureRequest, simulator: Simulator) -> None:
    if request.param:
        simulator.on_call = lambda call: anyio.sleep(0.03 * (call.action == "DescribeZones"))


async def warm(db: Any) -> set[str]:
    """The zones that need not be looked into if they read the same."""
    rows = await db.fetch("""
        select zone_id from syncer_store.zone_digests join syncer_store.zones using (zone_key)""")
    return {row[0] for row in rows}


async def recorded(db: Any, run_id: int | None) -> list[Change]:
    rows = await db.fetch(
        "select zone_id, image_id, kind, changed_fields from syncer.image_changes "
        "where run_id = $1 order by change_id",
        run_id,
    )
    return [(*row[:3], tuple(row[3] or ())) for row in rows]


@pytest.mark.parametrize(("page_size", "note"), READ)
async def test_exactly_the_change_is_found_and_recorded(
    page_size: str, note: bool, world: World, sync: Any, db: Any
) -> None:
    """One field after the other, an extra one, one image more, less, back: that, and no more."""
    if note:
        for image_id in world.images(A):
            world.change_image(A, image_id, note=1)
    first, second, third, *_, last = world.images(A)
    await sync(SYNCER_PAGE_SIZE=page_size)

    async def check(*expected: Change) -> None:
        assert set(world.zones()) == await warm(db)
        report = await sync(SYNCER_PAGE_SIZE=page_size)
        assert sorted(expected) == sorted(await recorded(db, report.run_id))
        assert (0, 3) == (report.exit_code, report.counts.zones)
        await assert_exact(db, world)
        if any(kind == "removed" for _, _, kind, _ in expected):
            await sync(SYNCER_PAGE_SIZE=page_size)

    await check()
    for api, column in FIELDS["vm"].items():
        world.change_image(A, second, **{str(api): f"other {column}"})
        await check((A, second, "changed", (column,)))
    world.change_image(A, last, imageVersion=None, osType="x")
    await check((A, last, "changed", ("image_version", "os_type")))
    for value in ("new", ["new"], None, 1.5):
        world.change_image(A, third, extraField=value)
        await check()
    names = [world.images(A)[image_id]["imageName"] for image_id in (first, last)]
    world.change_image(A, first, imageName=names[1])
    world.change_image(A, last, imageName=names[0])
    await check(*((A, image_id, "changed", ("image_name",)) for image_id in (first, last)))
    new = world.add_image(A)
    await check((A, new, "appeared", ()))
    row = world.images(A)[new]
    world.remove_image(A, new)
    world.add_row(A, {**row, "imageId": "img-in-its-place"}, key="img-in-its-place")
    await check((A, new, "removed", ()), (A, "img-in-its-place", "appeared", ()))
    world.restore_image(A, new)
    await check((A, new, "returned", ()))
    world.remove_image(A, first)
    world.restore_image(A, first)
    await check()


async def test_another_page_size_is_compared_in_full(world: World, sync: Any, db: Any) -> None:
    """Where pages are cut in another way nothing is known of them, and nothing changes."""
    await sync()
    world.change_image(A, min(world.images(A)), imageVersion="7")
    for page_size, changes in (("7", 1), ("7", 0), ("1000", 0)):
        report = await sync(SYNCER_PAGE_SIZE=page_size)
        assert changes == len(await recorded(db, report.run_id))
        assert set(world.zones()) == await warm(db)
    await assert_exact(db, world)


async def edit(db: Any, values: str, image_id: str) -> None:
    await db.execute(f"update syncer_store.images set {values} where image_id = $1", image_id)


@pytest.mark.parametrize("large", [False, True])
async def test_only_a_full_sync_sees_what_was_edited_by_hand(
    large: bool, world: World, sync: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain sync does not look into a zone that reads the same; --full puts right any column."""
    if large:
        call_large(6, monkeypatch)
    world.change_image(A, max(world.images(A)), note={"b": 1.50, "a": [None]})
    await sync()
    ids = iter(sorted(world.images(A)))
    for column in TRACKED:
        await edit(db, f"{column} = 'by hand'", next(ids))
    await edit(db, "image_size = null", next(ids))
    await edit(db, """extra = '{"by": "hand"}'""", next(ids))
    await edit(db, "extra = null", max(world.images(A)))
    await edit(db, "fingerprint = '', extra_digest = ''", next(ids))
    await edit(db, "removed_at = now(), removed_run_id = 1, removed_ordinal = 99", next(ids))
    await db.execute("delete from syncer_store.images where image_id = $1", next(ids))
    by_hand = await images(db)

    assert (0, 3) == seen(await sync())
    assert by_hand == await images(db)

    report = await sync(full=True)
    assert (0, 2) == seen(report)
    await assert_exact(db, world)
    assert len(TRACKED) + 3 == len(await recorded(db, report.run_id))
    right = await images(db)
    assert (0, 3) == seen(await sync(full=True))
    assert right == await images(db)


def seen(report: Any) -> tuple[int, int]:
    return report.exit_code, report.counts.zones_unchanged


async def images(db: Any) -> list[Any]:
    rows = await db.fetch("select i::text, xmin::text from syncer_store.images as i order by 1")
    return [tuple(row) for row in rows]


class Case(NamedTuple):
    """Something that happens to a zone whose digests are warm."""

    simulator: Simulator
    world: World
    sync: Any
    db: Any

    def lose(self, count: int) -> None:
        for image_id in list(self.world.images(A))[:count]:
            self.world.remove_image(A, image_id)

    async def faulty(self, *faults: str) -> Any:
        for fault in faults:
            self.simulator.add_fault(f"{fault},zone={A}")
        report = await self.sync()
        self.simulator.clear_faults()
        return report


async def withheld(case: Case) -> None:
    case.lose(15)
    assert 4 == (await case.sync()).exit_code


async def still_withheld(case: Case) -> None:
    await withheld(case)
    assert 4 == (await case.sync()).exit_code


async def removed(case: Case) -> None:
    case.lose(1)
    assert 1 == (await case.sync()).counts.removed


async def not_listed_and_alive(case: Case) -> None:
    assert 0 == (await case.faulty("omit=1")).exit_code


async def not_confirmed(case: Case) -> None:
    case.lose(1)
    assert 3 == (await case.faulty("status=500,by_id=true")).exit_code


async def incomplete(case: Case) -> None:
    assert 1 == (await case.faulty("total=+1")).counts.zones_incomplete


async def gone(case: Case) -> None:
    assert 1 == (await case.faulty("hide_zone")).counts.zones_unlisted
    assert 1 == (await case.faulty("not_found=zone")).counts.zones_gone


async def not_found(case: Case) -> None:
    assert 1 == (await case.faulty("not_found")).counts.zones_gone


async def gone_when_asked_by_id(case: Case) -> None:
    case.lose(1)
    assert 1 == (await case.faulty("not_found=zone,by_id=true")).counts.zones_gone


async def approved(case: Case) -> None:
    await approve_one(case.db)


async def approve_one(db: Any) -> None:
    await approve(db, account=None, service=None, zone_id=A, max_removals=1, by="test")


FORGETS: list[Callable[[Case], Awaitable[None]]] = [
    withheld,
    still_withheld,
    removed,
    not_listed_and_alive,
    not_confirmed,
    incomplete,
    gone,
    not_found,
    gone_when_asked_by_id,
    approved,
]


async def compared_one_by_one(db: Any) -> set[str]:
    """The zones whose rows have digests of their own."""
    rows = await db.fetch("""
        select zone_id from syncer_store.zone_digests join syncer_store.zones using (zone_key)
        where rows is not null""")
    return {row[0] for row in rows}


async def change_one(world: World, sync: Any, *zones: str, revision: str = "1") -> Any:
    """One image of each zone changes, and is seen: from then on rows are compared one by one."""
    for zone in zones:
        world.change_image(zone, max(world.images(zone)), imageDescription=revision)
    report = await sync()
    assert len(zones) == report.counts.changed
    return report


async def test_of_a_zone_that_changed_only_the_new_rows_are_looked_into(
    world: World, sync: Any, db: Any
) -> None:
    """An image edited by hand stays as it is while others change, come, go, or change places.

    The first change is compared in full, and leaves the digests of the rows behind.
    """
    by_hand, second, *_ = world.images(A)
    await sync()
    assert set() == await compared_one_by_one(db)
    await change_one(world, sync, A)
    assert {A} == await compared_one_by_one(db)
    await edit(db, "image_name = 'by hand', fingerprint = ''", by_hand)

    async def is_by_hand() -> bool:
        name = "select image_name = 'by hand' from syncer.images where image_id = $1"
        return bool(await db.fetchval(name, by_hand))

    await change_one(world, sync, A, revision="2")
    assert await is_by_hand()
    before = await images(db)
    world.remove_image(A, second)
    world.restore_image(A, second)  # in another place
    assert (0, 3) == seen(await sync())
    assert before == await images(db)
    new = world.add_image(A)
    report = await sync()
    assert [(A, new, "appeared", ())] == await recorded(db, report.run_id)
    assert await is_by_hand()
    world.change_image(A, by_hand, imageVersion="7")
    assert 1 == (await sync()).counts.changed
    await assert_exact(db, world)
    world.remove_image(A, new)
    report = await sync()
    assert [(A, new, "removed", ())] == await recorded(db, report.run_id)
    assert set() == await compared_one_by_one(db)
    await assert_exact(db, world)


async def test_a_change_writes_what_changed_of_the_rows(world: World, sync: Any, db: Any) -> None:
    """The digests of a zone's rows stay as they are, beside those that are others by now.

    After an eighth of them all are written again: of twenty images when a second one changed.
    """
    kept = """
        select md5(rows), octet_length(amended) from syncer_store.zone_digests
        join syncer_store.zones using (zone_key) where zone_id = $1"""
    await sync()
    await change_one(world, sync, A)
    first = (await db.fetchrow(kept, A))[0]
    assert first is not None
    for revision in "234":
        await change_one(world, sync, A, revision=revision)
        base, amended = await db.fetchrow(kept, A)
        assert first == base
        assert amended == 8 + 4 + 32 + len(max(world.images(A)))
    world.change_image(A, min(world.images(A)), imageDescription="5")
    assert 1 == (await sync()).counts.changed
    base, amended = await db.fetchrow(kept, A)
    assert amended is None
    assert base not in {first, None}
    await change_one(world, sync, A, revision="1")  # as it was when they were first written
    await assert_exact(db, world)


@contextlib.asynccontextmanager
async def one_run(url: str) -> AsyncIterator[tuple[Writer, StoredZone]]:
    """The writer of a run that lists the zone ``REF`` alone, and what was known of that."""
    server = Server(url)
    async with (
        begin(server, "a", run_timeout=60, selection={}) as (run, _),
        server.pool(size=1, name="test") as pool,
    ):
        writer = Writer(
            server, pool, run, "a", timeline=run.timeline, guard=Limits(), parsers={"vm": 1}
        )
        await writer.read_zones()
        zones = await writer.describe_zones([ListedZone(ref=REF, name=None, attributes="{}")])
        yield writer, zones[REF]


def walked(names: Sequence[str], zone: StoredZone) -> Walk:
    """A walk through a list of these images."""
    walk = Walk(100, before=zone.before)
    rows = [{"imageId": f"img-{name}", "imageName": name} for name in names]
    body = msgspec.json.encode({"dataSet": rows, "totalCount": len(rows)})
    walk.take(1, read_page(SOURCES["vm"], body))
    return walk


@pytest.mark.parametrize(
    "meanwhile",
    ["", "delete from syncer_store.zone_digests", "update zone_digests set pages = pages || pages"],
)
async def test_rows_are_compared_only_with_what_is_stored_still(
    meanwhile: str, url: str, db: Any
) -> None:
    """Where the look before is forgotten before this one is written, all of it is compared."""
    await db.execute("set search_path = syncer_store")
    many = [f"{number:02}" for number in range(16)]
    for number, names in enumerate((["a", *many], ["a", *many, "b"], ["a", *many, "b", "c"])):
        async with one_run(url) as (writer, zone):
            walk = walked(names, zone)
            if walk.shortcuts is not None and walk.shortcuts.needs_rows:
                walk.shortcuts.rows = await writer.kept_rows(REF)
            outcome = walk.finish(looked(A))
            assert isinstance(outcome, Snapshot)
            assert (number == 2) == (outcome.compared is not None)
            if number == 2:
                await edit(db, "image_name = 'by hand', fingerprint = ''", "img-a")
                if meanwhile:
                    await db.execute(meanwhile)
            await writer.record(outcome)
            if number == 2:  # what is kept now is not of the look that this run began with
                assert await writer.kept_rows(REF) is None
    rows = await db.fetch("select rows is null, amended is null from syncer_store.zone_digests")
    assert [[bool(meanwhile), bool(meanwhile)]] == [list(row) for row in rows]
    name = await db.fetchval("select image_name from syncer.images where image_id = 'img-a'")
    assert ("a" if meanwhile else "by hand") == name
    assert 19 == await db.fetchval("select count(*) from syncer.images")


async def test_another_hash_compares_every_zone_once(
    world: World, sync: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faster hash comes or goes: that is no drift, no image is written, digests are made anew."""
    hashes = "select distinct hash from syncer_store.zone_digests"
    monkeypatch.setitem(digests.HASHES, "other", hashlib.sha3_256)
    for last, name in itertools.pairwise([digests.HASH, "other", "sha256"]):
        monkeypatch.setattr(digests, "HASH", last)
        await change_one(world, sync, A, revision=last) if last != digests.HASH else await sync()
        before = await images(db)
        monkeypatch.setattr(digests, "HASH", name)
        assert (0, 3) == seen(await sync())
        assert before == await images(db)
        assert [(name,)] == [tuple(row) for row in await db.fetch(hashes)]
        await change_one(world, sync, A, B, revision=f"{last} {name}")
        await assert_exact(db, world)


async def test_how_rows_were_spelt_is_kept(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """Rows whose keys stand in another order are all read, and that order is kept."""
    kept = "select distinct names, unordered is null from syncer_store.zone_digests"
    kept_pages = "select zone_key, pages from syncer_store.zone_digests"
    await sync()
    names, _ = await db.fetchrow(kept)
    assert {"imageId", "imageName"} < {*names}
    simulator.add_fault("reorder=zone")
    others: list[Any] = [names[::-1], names[1:], [], None]
    for last in others:
        await db.execute("update syncer_store.zone_digests set names = $1", last)
        before, pages = await images(db), await db.fetch(kept_pages)
        assert (0, 3) == seen(await sync())
        assert before == await images(db)
        assert not {*pages} & {*await db.fetch(kept_pages)}
        is_spelt_anew = last == names[::-1]
        assert [(names, is_spelt_anew)] == [tuple(row) for row in await db.fetch(kept)]
    await change_one(world, sync, A)
    rows = await db.fetch(f"{kept} order by 2")
    assert [[names, False], [names, True]] == [list(row) for row in rows]
    await assert_exact(db, world)


async def test_who_knows_less_of_a_look_can_keep_none(world: World, sync: Any, db: Any) -> None:
    """A program before these digests would leave them beside pages that are others by now."""
    await sync()
    with pytest.raises(asyncpg.NotNullViolationError):
        await db.execute("""
            insert into syncer_store.zone_digests (
                zone_key, parser, asked, total, images, pages, content)
            select zone_key, parser, asked, total, images, pages, content
            from syncer_store.zone_digests
            on conflict (zone_key) do update set pages = excluded.pages""")


async def looked_into(case: Case) -> set[str]:
    """The zones that a plain sync looks into, though they read the same: it puts a row right."""
    ids = [max(case.world.images(zone)) for zone in (A, B)]
    await edit(case.db, "image_name = 'by hand', fingerprint = ''", ids[0])
    await edit(case.db, "image_name = 'by hand', fingerprint = ''", ids[1])
    await case.sync()
    rows = await case.db.fetch(
        "select zone_id from syncer.images where image_id = any ($1) and image_name <> 'by hand'",
        ids,
    )
    return {row[0] for row in rows}


@pytest.mark.parametrize("happens", FORGETS, ids=lambda happens: happens.__name__)
async def test_whatever_else_is_written_to_a_zone_has_it_looked_into(
    happens: Callable[[Case], Awaitable[None]],
    simulator: Simulator,
    world: World,
    sync: Any,
    db: Any,
) -> None:
    """Its digests are forgotten with it, those of other zones are not; the next look compares."""
    case = Case(simulator, world, sync, db)
    await sync()
    await change_one(world, sync, A, B)
    assert {A, B} < await warm(db)
    assert {A, B} == await compared_one_by_one(db)

    await happens(case)

    assert {*world.zones()} - {A} == await warm(db)
    assert {A} == await looked_into(case)


async def test_another_parser_looks_into_every_zone_once(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """What an older program read counts for nothing: it may have read the same bytes otherwise."""
    case = Case(simulator, world, sync, db)
    await sync()
    assert set() == await looked_into(case)
    await db.execute("update syncer_store.zone_digests set parser = parser - 1")
    await sync()
    await assert_exact(db, world)
    assert set() == await looked_into(case)


async def test_a_zone_of_which_nothing_was_read_is_as_it_was(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """A failed scan writes nothing of a zone's images, and forgets nothing."""
    case = Case(simulator, world, sync, db)
    await sync()
    assert 3 == (await case.faulty("status=403")).exit_code
    assert set(world.zones()) == await warm(db)
    assert set() == await looked_into(case)


@pytest.mark.parametrize("changes", [False, True])
async def test_an_approval_that_comes_while_a_zone_is_read_waits_for_the_next_look(
    changes: bool, url: str, db: Any
) -> None:
    """The look under way was begun before and decides nothing; the next is not cut short."""
    for number in range(3):
        async with one_run(url) as (writer, zone):
            if number == 1:
                await approve_one(db)
            outcome = walked("abc" if number and changes else "ab", zone).finish(looked(A))
            assert isinstance(outcome, Snapshot | Unchanged)
            assert (number == 1 and not changes) == isinstance(outcome, Unchanged)
            if isinstance(outcome, Unchanged):
                await writer.record_unchanged([outcome])
            else:
                await writer.record(outcome)
        decided = await db.fetch("select outcome, candidates from syncer.approvals")
        assert [[], [("pending", None)], [("not_needed", 0)]][number] == [tuple(r) for r in decided]


async def test_images_that_are_read_in_another_way_are_compared(
    sync: Any, db: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that a service's source learns to map is filled though nothing was served anew."""
    vm = SOURCES["vm"]
    less = {column: name for column, name in vm.fields.items() if column != "os_type"}
    known = {"vm": msgspec.structs.replace(vm, fields=less)}
    for module in ("selection", "run", "zones", "crawl", "listing", "confirm"):
        name = f"syncer.sync.{module}.SOURCES"
        with contextlib.suppress(AttributeError):
            monkeypatch.setattr(name, known)
    await sync()
    filled = "select count(os_type) from syncer.images"
    assert 0 == await db.fetchval(filled)
    monkeypatch.undo()
    await sync()
    assert 0 < await db.fetchval(filled)
    await assert_exact(db, world)
