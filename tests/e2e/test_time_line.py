"""A clock that steps: what is seen later is stamped as later, and nothing seen is absent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncer import log
from syncer.doctor import inventory
from syncer.simulator import Simulator, World
from tests import clock
from tests.support import assert_exact, logged, rows

HOUR = timedelta(hours=1)


async def presences(db: Any, at: str) -> dict[str, int]:
    """How many images are said to be present, absent and unknown at an instant."""
    return dict(
        map(
            tuple,
            await db.fetch(f"""
                select syncer.image_presence(account, service, zone_id, image_id, {at}), count(*)
                from syncer.images group by 1"""),
        )
    )


@pytest.mark.parametrize("hours", [-48, -1, 1, 400])
async def test_no_image_that_is_there_is_absent_though_the_clock_stepped(
    hours: int, sync: Any, syncer: Any, world: World, db: Any
) -> None:
    """Back or forward, an unchanged run or one with changes: every answer is right."""
    assert 0 == (await sync()).exit_code
    await clock.step(db, hours * HOUR)
    assert 0 == (await sync()).exit_code
    ended = "(select finished_at from syncer.runs order by run_id desc limit 1)"
    assert {"present": 120} == await presences(db, ended)
    assert 120 == await db.fetchval(f"select count(*) from syncer.images_asof({ended})")
    assert "absent" not in await presences(db, "now()")
    assert [] == rows(await syncer("diff", "1h", "-o", "ndjson")) or hours < 0

    gone = min(world.images("FRA-A"))
    world.remove_image("FRA-A", gone)
    world.change_image("HKG-A", min(world.images("HKG-A")), imageVersion="99")
    world.add_image("SEL-A", imageName="new")
    before = await db.fetchval(f"select {ended}")
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)
    assert {"present": 120, "absent": 1} == await presences(db, ended)
    assert [] == await db.fetch("select * from syncer.image_changes where not_before >= changed_at")
    assert {"appeared", "changed", "removed"} == {
        kind
        for (kind,) in await db.fetch(
            "select kind from syncer.image_changes where changed_at > $1", before
        )
    }
    assert 119 + 1 == len(rows(await syncer("asof", "0s", "-o", "ndjson")))
    assert {"changed", "removed", "appeared"} == {
        row["kind"] for row in rows(await syncer("diff", "2", "0s", "-o", "ndjson"))
    }


async def test_stamps_of_an_account_only_grow(sync: Any, world: World, db: Any) -> None:
    """Each run begins after all that was stamped before, whatever the clock did in between."""
    for number, hours in enumerate((0, -3, 7, -30, -1, 2)):
        await clock.step(db, hours * HOUR)
        world.drift(number, appear=1, change=2, remove=1)
        await sync()
    runs = await db.fetch("select started_at, finished_at from syncer.runs order by run_id")
    stamps = [stamp for run in runs for stamp in run]
    assert stamps == sorted(stamps)
    assert [] == await db.fetch("""
        select s.run_id from syncer.zone_scans as s join syncer.runs as r using (run_id)
        where not (r.started_at <= s.started_at and s.started_at <= s.observed_at
                   and s.observed_at <= s.finished_at and s.finished_at <= r.finished_at)""")
    assert [] == await db.fetch("""
        select c.change_id from syncer.image_changes as c join syncer.runs as r using (run_id)
        where c.changed_at not between r.started_at and r.finished_at""")
    later = "select change_id from syncer.image_changes order by changed_at, change_id"
    assert await db.fetch(later) == await db.fetch(
        "select change_id from syncer.image_changes order by run_id, changed_at, change_id"
    )


@pytest.mark.parametrize("command", ["approve FRA-A --max 1", "retire FRA-A"])
async def test_a_run_begins_after_what_a_person_said(
    command: str, sync: Any, syncer: Any, simulator: Simulator, db: Any
) -> None:
    """An approval or a retirement; then the clock steps back."""
    await sync()
    simulator.add_fault("hide_zone,zone=FRA-A")
    assert 0 == (await syncer(*command.split())).code
    await clock.step(db, -HOUR)
    said = await db.fetchval("""
        select max(at) from (
            select approved_at as at from syncer.approvals
            union all select gone_at from syncer.zones) as said""")
    report = await sync()
    started = "select started_at from syncer.runs where run_id = $1"
    assert said < await db.fetchval(started, report.run_id)


async def test_a_clock_that_is_behind_is_said_and_ages_go_by_the_clock(
    sync: Any, syncer: Any, db: Any
) -> None:
    """A warning of the run, a failed line of doctor, no prune; no zone is stale or young for it."""
    assert 0 == (await sync()).exit_code
    await clock.step(db, -2 * HOUR)
    log.configure("json", "warning")
    with logged("json") as text:
        report = await sync()
    assert 7190 < report.clock_behind < 7300
    assert "clock.behind" in text.getvalue()
    age = await db.fetchval("select max(now() - last_complete_clock) from syncer.zones")
    assert timedelta() <= age < timedelta(minutes=1)
    assert await db.fetchval("select max(now() - last_complete_at) from syncer.zones") < timedelta()

    done = await syncer("prune", "--keep", "30d")
    assert (1, True) == (done.code, "behind what is stored of account 'default'" in done.err)
    ahead = await db.fetchval("select max(finished_at) - clock_timestamp() from syncer.runs")
    assert "failed" == inventory.judge_time_line(ahead.total_seconds()).status


async def test_nothing_is_known_of_what_is_yet_to_come(sync: Any, db: Any) -> None:
    """An instant later than the clock and every stamp is unknown, and nothing is there at it."""
    await sync()
    assert {"unknown": 120} == await presences(db, "now() + interval '1 minute'")
    future = "syncer.zone_coverage(now() + interval '1 minute')"
    assert {("unknown",)} == {tuple(r) for r in await db.fetch(f"select coverage from {future}")}
    assert 0 == await db.fetchval(
        "select count(*) from syncer.images_asof(now() + interval '1 minute')"
    )
