"""What is stored: runs and their lock, stale and gone zones, withheld removals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncer.doctor import inventory
from syncer.doctor.finding import (
    Finding,
)
from syncer.simulator import Simulator, World
from syncer.store import approvals
from syncer.store.connection import Server
from syncer.store.runs import begin
from tests.doctor.support import (
    RunChecks,
    of,
    only,
    problems,
)
from tests.support import lose

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


DAY = timedelta(days=1)


async def test_a_lock_that_a_hung_run_holds(check: RunChecks, url: str, db: Any) -> None:
    """A run at work is none of our business; past its deadline it hangs, and is named."""
    async with begin(Server(url), "default", run_timeout=900.0, selection={}) as (run, _):
        findings = await check()
        assert [] == problems(findings)
        assert f"held by run {run.run_id}" in of(findings, "lock").message
        await db.execute("update syncer_store.runs set deadline_at = now() - interval '10 min'")
        found = only(await check(), "lock", "warning", f"held by run {run.run_id}", "takes over")
        assert "its time was up 10 min ago" in found.message
        pid = await db.fetchval("select pid from pg_locks where locktype = 'advisory'")
        assert f"pg_terminate_backend({pid})" in (found.advice or "")
    findings = await check()
    only(findings, "lock", "warning", f"run {run.run_id}", "the next run marks it crashed")


async def test_a_lock_that_others_take_means_nothing(check: RunChecks, url: str, db: Any) -> None:
    """Whoever may connect can take an advisory lock: it is no run."""
    async with begin(Server(url), "default", run_timeout=900.0, selection={}):
        key = await db.fetchval("select lock_key from syncer_store.accounts")
    assert await db.fetchval("select pg_try_advisory_lock($1)", key)
    only(await check(), "lock", "warning", "its process died")


async def test_withheld_removals(
    check: RunChecks, sync: Any, world: World, syncer: Any, db: Any
) -> None:
    """Which zone, how many, since when, and the command that settles it: it works as written."""
    await sync()
    lose(world, "FRA-A", 15)
    assert 4 == (await sync()).exit_code
    found = only(
        await check(), "withheld", "warning", "FRA-A: 15 removals of 20 images since 20", "look: "
    )
    assert found.advice is not None
    look_at, approve = (part.partition(": ")[2].split() for part in found.advice.split("; "))
    assert ["syncer", "images", "--withheld", "--zone", "FRA-A"] == look_at
    await approvals.approve(
        db, account=None, service=None, zone_id="FRA-A", max_removals=14, by="a person"
    )
    only(
        await check(),
        "withheld",
        "warning",
        "approved are at most 14",
        "again: syncer approve",
        "--max 15",
    )
    assert 0 == (await syncer(*approve[1:])).code
    findings = await check()
    assert [] == problems(findings)
    assert "they pass at the zone's next whole look" in of(findings, "withheld").message


async def test_zones_that_are_listed_no_more_and_still_answer(
    check: RunChecks, sync: Any, simulator: Simulator
) -> None:
    """A key that may see less looks so: each run says it once, doctor as long as it is so."""
    await sync()
    simulator.add_fault("hide_zone,zone=FRA-A|HKG-A")
    await sync()
    names = "still answers for: FRA-A, HKG-A"
    found = only(await check(), "gone_zones", "warning", names, "may see")
    assert "syncer retire ZONE" in (found.advice or "")


async def test_why_removals_are_withheld(
    check: RunChecks, sync: Any, world: World, db: Any
) -> None:
    """The rule, and that most are the same images under new ids: nobody need look for it."""
    await sync()
    for image_id, row in list(world.images("FRA-A").items())[:12]:
        world.remove_image("FRA-A", image_id)
        world.add_image("FRA-A", imageName=row["imageName"])
    assert 4 == (await sync()).exit_code
    message = of(await check(), "withheld").message
    assert message.endswith(
        ", by the guard's rule many; 12 of 12 were republished under new ids"
    ), message
    await db.execute("update syncer_store.missing set rule = null")  # as before 0010
    assert "rule" not in of(await check(), "withheld").message


async def test_stale_and_gone_zones(check: RunChecks, sync: Any, db: Any, world: World) -> None:
    """How old what is known of a zone is; whose images are unknown."""
    await sync()
    age = "update syncer_store.zone_scans set observed_at = now() - interval '3 days'"
    await db.execute(
        f"{age} where zone_key = (select zone_key from syncer_store.zones where zone_id = 'FRA-A')"
    )
    found = only(
        await check(), "zones", "warning", "1 of 6 had no whole look for 2 h", "syncer zones"
    )
    assert "FRA-A (3 d ago)" in found.message
    assert [] == problems(await check(max_age=7 * 86400.0))
    assert [] == problems(await check(SYNCER_EVERY="2d"))
    await db.execute(age)
    only(await check(), "zones", "warning", "none had a whole look for 2 h", "cron")

    await db.execute("update syncer_store.zones set gone_at = now() where zone_id = 'FRA-A'")
    findings = await check(max_age=7 * 86400.0)
    only(findings, "gone_zones", "warning", "FRA-A (since ", "unknown, not removed")


async def test_runs_that_fail(check: RunChecks, sync: Any, simulator: Simulator) -> None:
    """One failure is a warning, three in a row are not; a good run makes up for them."""
    findings: list[Finding] = []
    simulator.add_fault("blocked")
    for number in (1, 2, 3):
        assert 1 == (await sync()).exit_code
        simulator.clear_faults()
        findings = await check()
        if number < 3:
            only(findings, "runs", "warning", f"run {number} failed", "run syncer sync again")
        simulator.add_fault("blocked")
    only(findings, "runs", "failed", "the last 3 failed or crashed", "then run syncer sync")
    assert "blocked this address by policy" in of(findings, "runs").message
    simulator.clear_faults()
    await sync()
    findings = await check()
    assert [] == problems(findings)
    assert "3 of the last 4 failed or crashed" in of(findings, "runs").message


async def test_a_list_that_is_contradicted_run_after_run(
    check: RunChecks, sync: Any, simulator: Simulator
) -> None:
    """Once is a change in between; an image that left the list and came back by itself is none."""
    await sync()
    simulator.add_fault("omit=2,zone=FRA-A")
    await sync()
    assert [] == problems(await check())
    await sync()
    found = only(
        await check(), "listing", "warning", "FRA-A (2 of the last 3 runs, 2 images", "ask Zenlayer"
    )
    assert "img-" in found.message
    simulator.clear_faults()
    for _ in range(9):
        await sync()
    assert [] == problems(await check())


async def test_a_learnt_limit_is_shown(check: RunChecks, db: Any) -> None:
    """The rate that the API took, and since when that is known."""
    await db.execute("insert into syncer_store.rate_limits (account, rate, run_id) "
                     "values ('default', 19.64, 7)")  # fmt: skip
    assert "19.6 calls a second" in of(await check(), "rate_limit").message


def run(run_id: int, status: str, *, ago: timedelta = DAY) -> inventory.RunSeen:
    return inventory.RunSeen(
        run_id=run_id,
        status=status,
        started_at=NOW - ago,
        finished_at=None if status == "running" else NOW - ago,
        deadline_at=NOW - ago + timedelta(minutes=17),
        error_code=None,
        error_message="for a reason" if status != "succeeded" else None,
        zones=6,
        images=120,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("newest_first", "status", "says"),
    [
        ([], "ok", "none yet"),
        (["running"], "ok", "none has ended yet"),
        (["succeeded"], "ok", "run 1 succeeded 24 h ago: 6 zones, 120 images"),
        (["running", "succeeded"], "ok", "run 1 succeeded"),
        (["succeeded", "failed", "crashed"], "ok", "2 of the last 3 failed or crashed"),
        (["partial", "failed", "failed"], "warning", "for a reason"),
        (["failed", "crashed", "succeeded"], "warning", "run 3 failed"),
        (["running", "failed", "crashed", "failed"], "failed", "the last 3 failed or crashed"),
    ],
)
def test_how_runs_end(newest_first: list[str], status: str, says: str) -> None:
    """The last that ended counts; three failures in a row are more than bad luck."""
    numbers = range(len(newest_first), 0, -1)
    seen = [run(n, how) for n, how in zip(numbers, newest_first, strict=True)]
    found = inventory.judge_runs(seen)
    assert (status, True) == (found.status, says in found.message), found


HOLDER = inventory.Holder(pid=77, application_name="syncer sync run 1", client=None)


def test_a_lock_is_judged_by_the_run_that_holds_it() -> None:
    """Free, held in time, overdue, left by the dead."""
    in_time, late = run(1, "running", ago=timedelta(minutes=5)), run(1, "running")
    for holder, runs, status, says in (
        (None, [run(1, "succeeded")], "ok", "free"),
        (HOLDER, [in_time], "ok", "held by run 1, at work since 2026-11-27 11:55Z"),
        (HOLDER, [late], "warning", "it hangs, its time was up 24 h ago"),
        (None, [late], "warning", "its process died"),
    ):
        found = inventory.judge_lock(holder, runs, NOW)
        assert (status, True) == (found.status, says in found.message), found


def zone(name: str, **values: Any) -> inventory.ZoneSeen:
    usual: dict[str, Any] = {
        "service": "vm",
        "zone_id": name,
        "gone_at": None,
        "listed": True,
        "last_complete_at": NOW,
        "last_status": "unchanged",
        "present_images": 20,
        "withheld_removals": 0,
        "approved_removals": None,
        "withheld_since": None,
        "rules": [],
        "republished": 0,
        "now": NOW,
    }
    return inventory.ZoneSeen(**{**usual, **values})


def test_the_oldest_zones_are_named_first() -> None:
    """Never seen comes before long ago; a zone that is gone cannot be stale."""
    zones = [
        zone("A"),
        zone("B", last_complete_at=NOW - DAY),
        zone("C", last_complete_at=None),
        zone("D", last_complete_at=NOW - 3 * DAY),
        zone("E", last_complete_at=NOW - 9 * DAY, gone_at=NOW),
    ]
    found = inventory.judge_zones(zones, 7200.0)
    names = "C (never), D (3 d ago), B (24 h ago)"
    assert f"3 of 4 had no whole look for 2 h: {names}" == found.message
    assert "ok" == inventory.judge_zones(zones[:2], 86400.0).status
    assert "ok" == inventory.judge_zones(zones[4:], 7200.0).status


def test_nobody_is_warned_of_a_gone_zone_for_ever() -> None:
    """A week long; then it is shown, no more."""
    assert "warning" == inventory.judge_gone_zones([zone("A", gone_at=NOW - 6 * DAY)]).status
    old = inventory.judge_gone_zones([zone("A", gone_at=NOW - 8 * DAY)])
    assert ("ok", True) == (old.status, "A (since 2026-11-19" in old.message)


def test_many_zones_with_withheld_removals_are_not_a_flood() -> None:
    """Ten have a line each, the rest have one together."""
    zones = [zone(f"Z-{n}", withheld_removals=n) for n in range(14)]
    found = inventory.judge_withheld(zones, "mine")
    assert 11 == len(found)
    assert "syncer approve --account mine --service vm --max 1 Z-1" in (found[0].advice or "")
    assert "3 more zones" in found[-1].message


async def test_it_says_what_a_list_without_a_count_proves(
    check: RunChecks, sync: Any, simulator: Simulator
) -> None:
    """Where bmc is crawled: its list is known to be stable, not complete. Others are counted."""
    for name in ("zec", "bmc"):
        simulator.worlds[name] = World.generate(zones=2, images=8, service=name)
    await sync(SYNCER_SERVICES="all")
    findings = await check(SYNCER_SERVICES="all")
    assert [] == problems(findings)
    said = [one.message for one in findings if one.check == "listing"]
    assert [False, True] == ["bmc sends no count" in message for message in said]
    assert "stable, not that it is complete" in said[1]
    assert 1 == len([one for one in await check() if one.check == "listing"])
