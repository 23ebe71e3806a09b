"""Locks, fencing, crashes, and runs that are stopped."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import asyncpg
import pytest

from syncer.core.errors import DatabaseGone, LockHeld, Superseded
from syncer.core.model import Fault
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store import lock
from syncer.store.connection import Server, Timing
from syncer.store.runs import Counts, Run, begin
from syncer.sync.report import Report
from syncer.sync.stop import Stop
from tests.support import assert_exact, end_sessions, statuses_of_runs, until

STOPPED = Fault(code="STOPPED", message="asked to stop")


@contextlib.asynccontextmanager
async def run(url: str, account: str = "default") -> AsyncIterator[Run]:
    async with begin(Server(url), account, run_timeout=900.0, selection={}) as (begun, _known):
        yield begun


async def test_a_second_run_of_an_account_is_refused_and_names_the_first(
    url: str, sync: Any
) -> None:
    """While a run is at work another of the same account raises LockHeld; another account runs."""
    async with run(url) as first:
        with pytest.raises(LockHeld, match=f"run {first.run_id} of account 'default'.*pid"):
            await sync()
        report = await sync(SYNCER_ACCOUNT="other")
        assert 0 == report.exit_code
    assert 0 == (await sync()).exit_code


async def test_a_run_without_a_process_is_marked_crashed(url: str, sync: Any, db: Any) -> None:
    """A run left running by a process that died is crashed; its changes come into the feed."""
    await sync()
    await db.execute(
        "update syncer_store.runs set status = 'running', finished_at = null, change_base = null"
    )
    await db.execute("update syncer_store.feed set last_change_id = 0")
    assert 0 == await db.fetchval("select count(*) from syncer.image_changes")

    assert 0 == (await sync()).exit_code

    assert ["crashed", "succeeded"] == await statuses_of_runs(db)
    assert list(range(1, 121)) == [
        row[0]
        for row in await db.fetch("select change_id from syncer.image_changes order by change_id")
    ]


async def test_a_run_past_its_deadline_is_taken_over_and_cannot_write(
    url: str, sync: Any, db: Any
) -> None:
    """A holder past its deadline is ended; what wakes up of it is fenced off."""
    async with contextlib.AsyncExitStack() as stack:
        frozen = await stack.enter_async_context(run(url))
        pool = await stack.enter_async_context(Server(url).pool(size=1, name="frozen"))
        await db.execute("update syncer_store.runs set deadline_at = now() - interval '1 s'")

        assert 0 == (await sync()).exit_code

        with pytest.raises(Superseded, match="newer run"):
            async with frozen.transaction(pool) as connection:
                await connection.execute("delete from syncer_store.zone_scans")
    assert ["crashed", "succeeded"] == await statuses_of_runs(db)
    assert 6 == await db.fetchval("select count(*) from syncer.zone_scans")


async def test_a_run_that_lost_its_lock_cannot_write_over_a_newer_one(
    url: str, sync: Any, db: Any
) -> None:
    """The lock goes with its connection; the fence holds without it."""
    async with Server(url).pool(size=1, name="late") as pool:
        late = run(url)
        old = await late.__aenter__()
        await end_sessions(db)
        assert 0 == (await sync()).exit_code
        with pytest.raises(Superseded):
            async with old.transaction(pool):
                pass
        await late.__aexit__(None, None, None)


async def test_a_newer_run_waits_for_a_transaction_under_way(url: str, db: Any) -> None:
    """A run begins only when no zone transaction of an older one can still commit."""
    order: list[str] = []
    async with Server(url).pool(size=1, name="old") as pool:
        old = run(url)
        first = await old.__aenter__()
        async with anyio.create_task_group() as tasks, first.transaction(pool):
            await end_sessions(db)

            async def newer() -> None:
                async with run(url):
                    order.append("newer began")

            tasks.start_soon(newer)
            waits = "select exists (select from pg_locks where not granted)"
            await until(lambda: db.fetchval(waits))
            order.append("older committed")
        await old.__aexit__(None, None, None)
    assert ["older committed", "newer began"] == order


async def test_changes_are_numbered_in_the_order_in_which_runs_end(
    url: str, sync: Any, db: Any
) -> None:
    """A run that began first and ends last has the later change ids: no cursor skips it."""
    async with run(url, "slow") as slow:
        slow.reserve_ordinals(3)
        await sync(SYNCER_ACCOUNT="fast")
        await slow.finish("succeeded", Counts())
    rows = await db.fetch("select account, change_base from syncer_store.runs")
    assert {"fast": 0, "slow": 120} == dict(map(tuple, rows))


async def test_a_stopped_run_keeps_what_was_read(
    environment: dict[str, str], sync: Any, db: Any
) -> None:
    """A run that is stopped asks no more, writes what it read, removes nothing, and exits 3."""
    world = World.generate(seed=9, zones=6, images=10)
    async with Simulator(
        world, SimulatorOptions(access_keys={"test-key": "test-secret"})
    ) as simulator:
        environment["ZENLAYER_ENDPOINT"] = simulator.endpoint
        await sync()
        victim = sorted(world.images("FRA-A"))[0]
        world.remove_image("FRA-A", victim)
        simulator.reset_stats()
        stop = Stop()

        def stop_at_the_fourth(_call: Any) -> None:
            if len(simulator.calls) == 4:
                stop.now(STOPPED)

        simulator.on_call = stop_at_the_fourth
        report = await sync(stop=stop, SYNCER_MAX_CONCURRENCY="1")

        assert ("partial", 3, "STOPPED") == (report.status, report.exit_code, report.fault.code)
        assert len(simulator.calls) <= 4
        assert 1 <= report.counts.zones < 6
        assert 0 == report.counts.removed
        simulator.on_call = None
        report = await sync()
        assert (0, 1) == (report.exit_code, report.counts.removed)


async def test_the_run_timeout_ends_a_run_that_hangs(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """A zone that never answers costs the run its time and no other zone anything: exit 3.

    What failed to the end is named.
    """
    simulator.add_fault("hang,zone=FRA-A")

    report = await sync(SYNCER_RUN_TIMEOUT="1.5s", SYNCER_REQUEST_TIMEOUT="0.4s")

    assert re.fullmatch(
        r"the run's time of 1\.5 s was over; raise SYNCER_RUN_TIMEOUT, unless this is why: "
        r"\d of 1\d calls failed, all so: 127\.0\.0\.1:\d+ did not answer in 0\.4 s"
        "; 5 of 6 zones were read",
        report.fault.message,
    )

    assert (3, 5, 1) == (report.exit_code, report.counts.zones_changed, report.counts.zones_failed)
    assert "RUN_TIMEOUT" == await db.fetchval(
        "select error_code from syncer.zone_scans where zone_id = 'FRA-A'"
    )
    simulator.add_fault("hang")
    report = await sync(SYNCER_RUN_TIMEOUT="0.2s")
    # The list of zones, and beside it the five that the run before read, if time allowed.
    why = r"was over, and none of its calls \([16]\) was answered: is"
    assert re.search(why, report.fault.message)


async def test_a_run_goes_on_where_its_connections_were_lost(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """Every connection killed in mid-run, the lock's too: taken again, and all is stored once."""
    killed = anyio.Event()
    simulator.on_call = lambda call: killed.set() if call.zone == "SEL-A" else None
    simulator.add_fault("latency=0.2,zone=SEL-A")

    async def kill() -> None:
        await killed.wait()
        await end_sessions(db, "syncer%")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill)
        assert 0 == (await sync()).exit_code
    assert 120 == await db.fetchval("select count(*) from syncer.images where presence = 'present'")
    assert 6 == await db.fetchval("select count(*) from syncer.zone_scans")
    assert ["succeeded"] == await statuses_of_runs(db)


async def test_a_run_that_loses_its_lock_connection_still_ends_as_it_went(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """An idle connection that was cut is no failure of the run: it is recorded over another."""
    ended = anyio.Event()

    def cut(call: Any) -> None:
        if call.action == "DescribeImages":  # the zones are asked for while the run begins
            ended.set()

    simulator.on_call = cut

    async def end_the_lock() -> None:
        await ended.wait()
        await end_sessions(db)

    simulator.add_fault("latency=0.2,zone=SEL-A")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_the_lock)
        report = await sync()
    assert ("succeeded", 0) == (report.status, report.exit_code)
    assert ["succeeded"] == await statuses_of_runs(db)
    assert 120 == await db.fetchval("select count(*) from syncer.image_changes")


async def test_a_run_that_was_ended_by_a_newer_one_is_no_success(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """A run that the next one marked as crashed says so, whatever it had stored."""
    async with anyio.create_task_group() as tasks:

        async def crash() -> None:
            await began.wait()
            await db.execute(
                "update syncer_store.runs set status = 'crashed', finished_at = now(), "
                "change_base = 0"
            )

        began = anyio.Event()

        def begin(call: Any) -> None:
            if call.action == "DescribeImages":
                began.set()

        simulator.on_call = begin
        simulator.add_fault("latency=0.2,zone=SEL-A")
        tasks.start_soon(crash)
        with pytest.raises(Superseded):
            await sync()


async def overdue(db: Any) -> None:
    """Leave the only run as one that froze an hour ago."""
    await db.execute("""
        update syncer_store.runs set status = 'running', finished_at = null, change_base = null,
            started_at = started_at - interval '1 hour',
            deadline_at = now() - interval '1 s'""")


async def test_a_newcomer_does_not_end_a_newcomer(url: str, sync: Any, db: Any) -> None:
    """Taking over a run that is overdue ends its sessions, not those of a quicker newcomer."""
    await sync()
    await overdue(db)
    async with run(url) as quicker:
        with pytest.raises(LockHeld, match=f"run {quicker.run_id} of account 'default'"):
            await sync(wait=Timing(poll=0.01))
        await quicker.finish("succeeded", Counts())


@pytest.mark.parametrize("due", [True, False], ids=["overdue", "lost its lock"])
async def test_a_run_frozen_in_a_transaction_holds_up_no_other(
    due: bool, url: str, sync: Any, db: Any
) -> None:
    """A session that hangs in a zone's transaction is ended by the next run, lock or no lock."""
    async with contextlib.AsyncExitStack() as stack:
        frozen = await stack.enter_async_context(run(url))
        name = f"{lock.session_name(frozen.run_id, 'default')} writer"
        pool = await stack.enter_async_context(Server(url).pool(size=1, name=name))
        if due:
            await overdue(db)
        else:
            await end_sessions(db, "syncer sync run% pid %")

        async def write() -> None:
            async with frozen.transaction(pool) as connection:
                assert 0 == (await sync(wait=Timing(lock=0.3, poll=0.01))).exit_code
                await connection.execute("delete from syncer_store.zone_scans")

        with pytest.raises(DatabaseGone):
            await write()
    assert ["crashed", "succeeded"] == await statuses_of_runs(db)
    assert 6 == await db.fetchval("select count(*) from syncer.zone_scans")


async def test_an_image_that_somebody_edits_meanwhile_is_written_after_it(
    db: Any, url: str, sync: Any, world: World
) -> None:
    """A statement that had to wait for a row writes it all the same, on top of what was done."""
    await sync()
    zone = "FRA-A"
    image_id = min(world.images(zone))
    world.change_image(zone, image_id, imageVersion="edited")
    reports: list[Report] = []

    async def run() -> None:
        reports.append(await sync())

    somebody = await asyncpg.connect(url)
    async with anyio.create_task_group() as tasks, somebody.transaction():
        await somebody.execute(
            "update syncer_store.images set image_description = 'by hand' where image_id = $1",
            image_id,
        )
        tasks.start_soon(run)
        while not await db.fetchval("""
                select count(*) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock'"""):
            await anyio.lowlevel.checkpoint()
    await somebody.close()
    assert [0] == [report.exit_code for report in reports]
    await assert_exact(db, world)
