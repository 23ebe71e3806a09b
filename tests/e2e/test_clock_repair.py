"""``syncer db repair-clock``: the clock was ahead and is right again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from syncer.core.errors import Superseded
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store import clock_repair, runs
from syncer.store.connection import Server
from tests import clock
from tests.support import assert_exact, lose, lose_zone, rows, until

AHEAD = timedelta(hours=400)
OF_WORKERS = [
    *(("account_schedule", name) for name in ("due_at", "started_at", "ended_at", "pruned_at")),
    ("ticks", "ticked_at"),
    *(("workers", name) for name in ("started_at", "seen_at")),
]
"""By the clock; what is later than it counts as past (``is_due``)."""


async def repaired(db: Any) -> list[Any]:
    """Every column that holds instants, but of what keeps the old ones."""
    return [row for row in await clock.instants(db) if "clock_repairs" not in row["table_name"]]


@pytest.fixture
def world() -> World:
    sizes = {"FRA-A": 8, "HKG-A": 12, "SEL-A": 3, "SIN-E": 3}
    return World.generate(seed=1, zones=0, sizes=sizes)


@pytest.fixture
async def excursion(sync: Any, syncer: Any, world: World, simulator: Simulator, db: Any) -> None:
    """All that has a stamp: before the clock was ahead, while it was, and after it was put right.

    Two accounts; images that change, go, return, are withheld, approved and seen again; a zone that
    is gone and returns, one that is retired; scans that are thinned; a baseline.
    """

    async def part(seed: int, approve: int) -> None:
        world.drift(seed, appear=1, change=3, remove=1)
        await sync()
        await sync(SYNCER_ACCOUNT="other", zones=("FRA-A",))
        await syncer("approve", "HKG-A", "--max", str(approve))
        lose(world, "HKG-A", 3)
        await sync(SYNCER_GUARD_ZONE_COUNT="1", SYNCER_GUARD_ZONE_PERCENT="1")
        await syncer("retire", "SEL-A")
        await sync()

    await sync()
    await part(1, approve=1)
    await clock.step(db, AHEAD)
    await part(10, approve=6)
    simulator.add_fault("status=500,zone=FRA-A")
    lose_zone(simulator, "SIN-E")
    await sync()
    simulator.clear_faults()
    await syncer("baseline", "save", "ahead")
    await clock.step(db, -AHEAD)
    await part(20, approve=1)


async def answers(db: Any, account: str, at: datetime) -> list[tuple[Any, ...]]:
    """All that is answered of an account at an instant."""
    images = """
        select service, zone_id, image_id, image_name, image_version, valid_from, observed_at
        from syncer.images_asof($2) where account = $1 order by 1, 2, 3"""
    presence = """
        select service, zone_id, image_id,
               syncer.image_presence(account, service, zone_id, image_id, $2)
        from syncer.images where account = $1 order by 1, 2, 3"""
    coverage = """
        select service, zone_id, coverage, gone, last_complete_at, next_complete_at,
               last_complete_finished_at, next_complete_finished_at
        from syncer.zone_coverage($2) where account = $1 order by 1, 2"""
    return [
        tuple(row)
        for query in (images, presence, coverage)
        for row in await db.fetch(query, account, at)
    ]


async def lists(db: Any, account: str) -> list[tuple[Any, ...]]:
    """What is stored of an account, as its views show it, less what is counted by the clock."""
    return [
        tuple(value for name, value in row.items() if name not in left_out)
        for view, order, left_out in VIEWS
        for row in await db.fetch(
            f"select * from {view} where account = $1 order by {order}", account
        )
    ]


VIEWS = (
    ("syncer.images", "service, zone_id, image_id", ()),
    ("syncer.image_versions", "service, zone_id, image_id, valid_from", ()),
    ("syncer.image_changes", "change_id", ()),
    ("syncer.image_field_changes", "change_id, field", ()),
    ("syncer.image_gaps", "service, zone_id, image_id, gap_from", ()),
    ("syncer.zones", "service, zone_id", ("last_complete_clock",)),
    ("syncer.zone_scans", "run_id, service, zone_id", ()),
    ("syncer.runs", "run_id", ("clock_at", "deadline_at")),
    ("syncer.approvals", "approval_id", ()),
)


@pytest.mark.usefixtures("excursion")
async def test_every_answer_at_a_stamp_is_the_answer_at_what_became_of_it(
    sync: Any, syncer: Any, world: World, db: Any
) -> None:
    """Of the time of the wrong clock and since; what is older is as it was."""
    stamps = await db.fetch(
        "select distinct account, at, at > now() as ahead from syncer_store.stamps order by 1, 2"
    )
    before = [await answers(db, stamp["account"], stamp["at"]) for stamp in stamps]
    stored = {account: await lists(db, account) for account in ("default", "other")}

    shown = rows(await syncer("db", "repair-clock", "-o", "ndjson"))
    assert ["default", "other"] == [row["account"] for row in shown]
    assert stored["default"] == await lists(db, "default")  # it was only shown
    done = await syncer("db", "repair-clock", "--yes", "-o", "ndjson")
    assert 0 == done.code
    assert [row["old_to"] for row in shown] == [row["old_to"] for row in rows(done)]

    became = {
        (row["account"], row["old_at"]): row["new_at"]
        for row in await db.fetch("select * from syncer.clock_repairs")
    }
    assert {(s["account"], s["at"]) for s in stamps if s["ahead"]} == became.keys()
    for stamp, answer in zip(stamps, before, strict=True):
        account = stamp["account"]
        at = became.get((account, stamp["at"]), stamp["at"])
        assert await answers(db, account, at) == renamed(answer, account, became)
    for account, rows_before in stored.items():
        assert await lists(db, account) == renamed(rows_before, account, became)
    for table, name, kind in await repaired(db):
        later = f"now() < any ({name})" if kind == "_timestamptz" else f"{name} > now()"
        if (table, name) != ("syncer_store.runs", "deadline_at"):
            assert 0 == await db.fetchval(f"select count(*) from {table} where {later}"), (
                table,
                name,
            )
    assert 0 == await db.fetchval("select count(*) from syncer.baselines where as_of > now()")


def renamed(
    found: list[tuple[Any, ...]], account: str, became: dict[tuple[str, datetime], datetime]
) -> list[tuple[Any, ...]]:
    """Rows with every instant as what became of it."""
    return [
        tuple(
            became.get((account, value), value) if isinstance(value, datetime) else value
            for value in row
        )
        for row in found
    ]


@pytest.mark.usefixtures("excursion")
async def test_after_it_all_goes_on_as_if_the_clock_had_never_been_wrong(
    sync: Any, syncer: Any, world: World, db: Any
) -> None:
    behind = "syncer_store.newest_stamp('default') > now()"
    assert await db.fetchval(f"select {behind}")
    assert 0 == (await syncer("db", "repair-clock", "--yes")).code
    assert not await db.fetchval(f"select {behind}")
    clocks = await db.fetch(
        "select started_at, clock_at from syncer.runs where started_at > clock_at"
    )
    assert [] == clocks

    assert 0 == (await syncer("approve", "HKG-A", "--max", "30")).code
    report = await sync()
    assert 0 == report.clock_behind
    await assert_exact(db, world)
    world.drift(99, appear=1, change=2, remove=1)
    assert 0 == (await sync()).exit_code
    assert 0 == (await sync(SYNCER_ACCOUNT="other", zones=("FRA-A",))).exit_code
    await assert_exact(db, world)
    assert "Nothing is stamped later" in (await syncer("db", "repair-clock", "-o", "table")).out
    assert 0 == (await syncer("prune", "--keep", "1d")).code
    await assert_exact(db, world)


async def test_every_stored_instant_is_on_a_time_line_or_by_the_clock(db: Any) -> None:
    """A column that a repair forgot would keep what it was: it fails here until it is placed."""
    on_a_line = await db.fetch("""
        select d.refobjid::regclass::text as table_name, a.attname as name
        from pg_rewrite as w
        join pg_depend as d on d.objid = w.oid and d.classid = 'pg_rewrite'::regclass
        join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where w.ev_class = 'syncer_store.stamps'::regclass""")
    by_the_clock = {
        ("syncer_store.baselines", "as_of"),  # of no account: see repair/beside
        ("syncer_store.baselines", "saved_at"),
        ("syncer_store.rate_limits", "learnt_at"),
        ("syncer_store.runs", "clock_at"),
        ("syncer_store.runs", "deadline_at"),
        *((f"syncer_store.{table}", name) for table, name in OF_WORKERS),
    }
    known = {(row["table_name"], row["name"]) for row in on_a_line} | by_the_clock
    assert set() == {(row["table_name"], row["name"]) for row in await repaired(db)} - known


async def test_it_refuses_while_the_clocks_do_not_agree(
    sync: Any, syncer: Any, world: World, db: Any
) -> None:
    await sync()
    await clock.step(db, -AHEAD)
    async with Simulator(world, SimulatorOptions(skew=60)) as ahead:
        done = await syncer("db", "repair-clock", "--yes", ZENLAYER_ENDPOINT=ahead.endpoint)
    assert (1, "") == (done.code, done.out)
    assert " ahead of this host's" in done.err
    assert 0 == await db.fetchval("select count(*) from syncer.clock_repairs")


async def test_it_refuses_beside_a_run_or_a_prune(
    sync: Any, syncer: Any, db: Any, url: str
) -> None:
    await sync()
    await clock.step(db, -AHEAD)
    async with runs.begin(Server(url), "default", run_timeout=60, selection={}):
        done = await syncer("db", "repair-clock", "--yes")
        assert (5, True) == (done.code, "is at work" in done.err)
        assert 0 == (await syncer("db", "repair-clock")).code  # which only looks
    await db.execute("insert into syncer_store.prunes values ('default', pg_backend_pid(), 42)")
    await db.execute("select pg_advisory_lock(42)")
    done = await syncer("db", "repair-clock", "--yes")
    assert (5, True) == (done.code, "a prune" in done.err)
    assert 0 == await db.fetchval("select count(*) from syncer.clock_repairs")


async def test_a_run_that_crashed_is_ended_and_cannot_come_back(
    sync: Any, syncer: Any, world: World, db: Any, url: str
) -> None:
    """What it committed is numbered; were it only frozen, it would write nothing more."""
    await sync()
    await clock.step(db, -AHEAD)
    async with runs.begin(Server(url), "default", run_timeout=60, selection={}) as (frozen, _):
        pid = await db.fetchval("select pid from syncer.runs where status = 'running'")
        await db.fetchval("select pg_terminate_backend($1, 10000)", pid)
        assert 0 == (await syncer("db", "repair-clock", "--yes")).code
        assert "crashed" == await db.fetchval(
            "select status from syncer.runs order by run_id desc limit 1"
        )
        with pytest.raises(Superseded):
            await frozen.finish("succeeded", runs.Counts())
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


async def test_a_baseline_that_was_saved_before_anything_was_stamped_ahead_stays_before_it(
    sync: Any, syncer: Any, world: World, db: Any
) -> None:
    """What was changed after it was saved does not come to lie before it."""
    await sync()
    await clock.step(db, AHEAD)
    await syncer("baseline", "save", "before")
    world.change_image("FRA-A", next(iter(world.images("FRA-A"))), imageName="later")
    await sync()
    await clock.step(db, -AHEAD)
    assert 0 == (await syncer("db", "repair-clock", "--yes")).code
    as_of = await db.fetchval("select as_of from syncer.baselines")
    assert 0 == await db.fetchval(
        "select count(*) from syncer.images_asof($1) where image_name = 'later'", as_of
    )
    assert (await db.fetchval("select count(*) from syncer.images_asof($1)", as_of)) > 0


async def test_an_account_whose_first_run_begins_meanwhile_is_left_alone(
    sync: Any, db: Any, url: str
) -> None:
    """It is stamped later than the clock by which the repair goes, and nobody keeps it out."""
    await sync()
    await clock.step(db, -AHEAD)
    waits = """
        select exists (select from pg_locks where not granted
                       and relation = 'syncer_store.retirements'::regclass)"""
    done: list[clock_repair.Plan] = []

    async def repair() -> None:
        done.append(await clock_repair.repair(Server(url), api_ahead=0.0, by="a test"))

    async with anyio.create_task_group() as tasks, db.transaction():
        await db.execute("lock table syncer_store.retirements in access exclusive mode")
        tasks.start_soon(repair)
        await until(lambda: db.fetchval(waits))
        async with runs.begin(Server(url), "new", run_timeout=60, selection={}) as (run, _):
            await run.finish("succeeded", runs.Counts())
    assert ["default"] == [account.account for account in done[0].accounts]


async def test_what_was_repaired_is_logged_with_times_that_a_program_can_read(
    sync: Any, db: Any, url: str, warnings: list[Any]
) -> None:
    await sync()
    await clock.step(db, -AHEAD)
    plan = await clock_repair.repair(Server(url), api_ahead=0.0, by="a test")
    (entry,) = [entry for entry in warnings if entry["event"] == "clock.repaired"]
    assert plan.accounts[0].new_to == datetime.fromisoformat(entry["new_to"])
