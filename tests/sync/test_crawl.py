"""One pass: what is recorded together, and what the guard is given to judge."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec

from syncer.app import run_options
from syncer.config.settings import load
from syncer.core.errors import Unreachable
from syncer.simulator import Simulator, World
from syncer.store.connection import Server
from syncer.sync import crawl as crawls
from syncer.sync.options import Tuning
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from syncer.zenlayer.calls import Calls
from tests.support import assert_exact


async def crawl(environment: dict[str, str], tuning: Tuning) -> Report:
    settings = load(environment=environment)
    options = msgspec.structs.replace(run_options(settings.account), tuning=tuning)
    return await run_once(options, Server(environment["SYNCER_DATABASE_URL"]), stop=Stop())


async def transactions(db: Any, run_id: int | None) -> list[int]:
    """How many zones were recorded by each transaction of a run, most first."""
    rows = await db.fetch(
        "select count(*) from syncer_store.zone_scans where run_id = $1 group by xmin::text "
        "order by 1 desc",
        run_id,
    )
    return [row[0] for row in rows]


def test_the_cause_of_a_run_out_of_time_is_named() -> None:
    """By what most calls failed, where any did; that more time helps only where it may."""
    calls = Calls(max_concurrency=2)
    assert "; raise SYNCER_RUN_TIMEOUT" == crawls._cause(calls)
    calls.made = calls.in_flight = 2
    assert "none of its calls (2) was answered" in crawls._cause(calls)
    calls.made, calls.in_flight = 1200, 0
    assert "; raise SYNCER_RUN_TIMEOUT" == crawls._cause(calls)
    for number in range(900):
        calls.failures.add(Unreachable(f"late {number}", code="TIMED_OUT"))
    why = "unless this is why: 900 of 1,200 calls failed, all so: late 899"
    assert f"; raise SYNCER_RUN_TIMEOUT, {why}" == crawls._cause(calls)
    for _ in range(299):
        calls.failures.add(Unreachable("the API failed", code="HTTP_503"))
    calls.in_flight = 1
    why = ", and all calls that ended failed (1,199), most often (900 times) so: late 899"
    assert why == crawls._cause(calls)


async def test_zones_without_a_change_are_recorded_together(
    environment: dict[str, str], world: World, db: Any
) -> None:
    """As many at a time as the batch holds; at the end nobody waits for it to be full."""
    long_wait = 3600.0
    report = await crawl(environment, Tuning(batch_wait=long_wait))
    assert [1] * 6 == await transactions(db, report.run_id), "what changed is alone"
    for batch, sizes in ((64, [6]), (4, [4, 2]), (1, [1] * 6)):
        with anyio.fail_after(30):
            report = await crawl(environment, Tuning(batch=batch, batch_wait=long_wait))
        assert (6, 0) == (report.counts.zones_unchanged, report.exit_code)
        assert sizes == await transactions(db, report.run_id)
    world.change_image("FRA-A", min(world.images("FRA-A")), imageVersion="2")
    report = await crawl(environment, Tuning(batch_wait=long_wait))
    assert [5, 1] == await transactions(db, report.run_id)
    await assert_exact(db, world)


async def test_one_writer_and_no_backlog_store_the_same(
    environment: dict[str, str], world: World, db: Any
) -> None:
    """How the work is shared out changes nothing of what is stored."""
    for tuning in (Tuning(writers=1, backlog=0), Tuning(writers=5, backlog=9)):
        world.drift(tuning.writers, appear=3, change=3, remove=3)
        assert 0 == (await crawl(environment, tuning)).exit_code
        await assert_exact(db, world)


async def test_only_whole_looks_are_judged(
    environment: dict[str, str], world: World, simulator: Simulator, db: Any
) -> None:
    """Of a zone that was read in part nothing is a candidate: neither asked for nor withheld."""
    assert 0 == (await crawl(environment, Tuning())).exit_code
    for zone in ("FRA-A", "HKG-A", "LAX-A"):
        world.remove_image(zone, min(world.images(zone)))
    simulator.add_fault("total=+1,zone=FRA-A")
    simulator.add_fault("status=403,zone=HKG-A")
    simulator.reset_stats()

    report = await crawl(environment, Tuning())

    assert ["LAX-A"] == [removal.zone.ref.zone_id for removal in report.removals]
    assert ["LAX-A"] == [call.zone for call in simulator.calls if call.image_ids]
    judged = {written.zone.ref.zone_id for written in report.zones if written.judged is not None}
    assert {"LAX-A", "SAO-A", "SEL-A", "SIN-E"} == judged
    assert (3, 1) == (report.exit_code, report.counts.removed)
