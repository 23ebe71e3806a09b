"""Zones that the run before read are read beside the list of zones, which comes late here.

What is counted is what the API was asked for: nothing twice, and nothing more after a refusal.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from syncer.core.model import Fault
from syncer.simulator import Simulator, World
from syncer.simulator.calls import CallRecord
from syncer.store.approvals import approve, retire
from syncer.sync.stop import Stop
from tests.conftest import KEY, SECRET
from tests.support import assert_exact, naming, until, zones_are_read

A, B = "FRA-A", "HKG-A"
LIST = "DescribeZones"


class Late:
    """Lets the list of zones come when a number of pages was asked for, and all are answered.

    ``pages=0`` waits until the run knows its zones, and so would have asked for them.
    """

    def __init__(self, simulator: Simulator, db: Any, *, pages: int) -> None:
        self.before: list[CallRecord] = []
        """What was asked for before the list came."""
        self._simulator, self._db, self._pages = simulator, db, pages
        simulator.reset_stats()
        simulator.on_call = self.called

    @property
    def asked(self) -> list[CallRecord]:
        return [call for call in self._simulator.calls if call.action != LIST]

    def called(self, call: CallRecord) -> Awaitable[None] | None:
        return self._wait() if call.action == LIST else None

    async def _wait(self) -> None:
        if self._pages:
            await until(self._enough)
        else:
            await until(lambda: zones_are_read(self._db))
            with anyio.move_on_after(0.05):
                await until(lambda: self.asked)
        self.before = list(self.asked)

    def _enough(self) -> bool:
        return len(self.asked) >= self._pages and not [c for c in self.asked if not c.finished]


@contextlib.contextmanager
def late(simulator: Simulator, db: Any, *, pages: int) -> Iterator[Late]:
    """Within, the list of zones comes late."""
    yield Late(simulator, db, pages=pages)
    simulator.on_call = None
    simulator.clear_faults()


def zones(calls: list[CallRecord]) -> Counter[str | None]:
    return Counter(call.zone for call in calls)


def statuses(report: Any) -> dict[str, str]:
    return {written.zone.ref.zone_id: written.status for written in report.zones}


async def test_every_known_zone_is_read_before_the_list_has_come(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """Each is asked for once and judged by the list; changes are found as ever; dry runs too."""
    await sync()
    each = Counter(world.zones())
    for dry_run in (False, True, False):
        with naming(dry_run), late(simulator, db, pages=6) as run:
            report = await sync(dry_run=dry_run)
        assert (0, 6, 7) == (report.exit_code, report.counts.zones_unchanged, report.counts.calls)
        assert each == zones(run.before) == zones(run.asked)
        assert 1 == sum(call.action == LIST for call in simulator.calls)
    assert {True} == {
        row[0] for row in await db.fetch("select listed from syncer_store.zone_scans")
    }

    world.change_image(A, min(world.images(A)), imageVersion="2")
    world.remove_image(B, min(world.images(B)))
    world.add_zone("NEW-A", images=3)
    with late(simulator, db, pages=6) as run:
        report = await sync()
    counts = report.counts
    assert (0, 3, 1, 1) == (report.exit_code, counts.appeared, counts.changed, counts.removed)
    assert each == zones(run.before)
    assert {*each, "NEW-A"} == {*zones([call for call in run.asked if not call.by_id])}
    assert each + Counter(["NEW-A"]) == zones([call for call in run.asked if not call.by_id])
    await assert_exact(db, world)


async def test_what_is_not_known_well_is_asked_for_after_the_list(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """First and selected runs, other credentials, ``--full``, after a run that did not end well."""
    simulator.gate.access_keys["other"] = SECRET
    token = {"ZENLAYER_ACCESS_KEY_ID": "", "ZENLAYER_ACCESS_KEY_SECRET": ""}

    async def run(early: int, **how: Any) -> None:
        with naming(how), late(simulator, db, pages=early) as seen:
            await sync(**how)
            assert early == len(seen.before)

    await run(0)
    await run(0, full=True)
    simulator.reset_stats()
    await sync(zones=("FRA-*",))  # it does not even begin before the list has come
    assert [LIST, "DescribeImages"] == [call.action for call in simulator.calls]
    await run(1)  # the run before read that one
    await run(6)
    await run(0, ZENLAYER_ACCESS_KEY_ID="other")
    await run(0)
    await run(0, **token, ZENLAYER_TOKEN="test-token")
    await run(3, SYNCER_MAX_CONCURRENCY="3")
    newest = "where run_id = (select max(run_id) from syncer_store.runs)"
    for status in ("failed", "crashed"):
        await db.execute(f"update syncer_store.runs set status = '{status}' {newest}")
        await run(0, dry_run=True)
        await run(0)
    simulator.add_fault(f"not_found=zone,zone={A}")
    assert 1 == (await sync()).counts.zones_gone
    simulator.clear_faults()
    await run(5)
    simulator.add_fault(f"hide_zone,zone={A}")
    assert 1 == (await sync()).counts.zones_unlisted
    await retire(db, account=None, service=None, zone_id=A, by="test")
    await run(5)
    await sync()
    await assert_exact(db, world)


async def test_the_list_judges_what_was_read(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """A zone that it lacks was asked for once more; one that answers "no such zone" is gone."""
    await sync()
    cases = [  # faults, the status of A, zones that are not listed and offer images, exit code
        (["hide_zone"], "unchanged", 1, 0),
        (["hide_zone", "status=403,action=DescribeImages"], "failed", 0, 3),
        (["hide_zone", "status=500,action=DescribeImages"], "failed", 0, 3),
        (["hide_zone", "total=+1"], "incomplete", 1, 3),
        (["not_found=zone"], "gone", 0, 0),
    ]
    for faults, status, unlisted, exit_code in cases:
        with naming(faults), late(simulator, db, pages=6) as run:
            for fault in faults:
                simulator.add_fault(f"{fault},zone={A}")
            report = await sync()
            assert (status, unlisted) == (statuses(report)[A], report.counts.zones_unlisted)
            assert exit_code == report.exit_code
            assert {*world.zones()} == {*zones(run.before)}
        await sync()
    for image_id in list(world.images(B)):
        world.remove_image(B, image_id)
    with late(simulator, db, pages=6):
        simulator.add_fault(f"hide_zone,zone={B}")
        assert "gone" == statuses(await sync())[B]
    presence = "select distinct presence from syncer.images where zone_id = $1"
    assert ["unknown"] == [row[0] for row in await db.fetch(presence, B)]


@pytest.mark.parametrize("fault", ["status=500", "empty_zones"])
async def test_where_the_list_fails_what_was_read_counts(
    fault: str, simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """No zone is gone or asked for twice, and a zone that nothing was known of is not missed."""
    await sync()
    with late(simulator, db, pages=6) as run:
        simulator.add_fault(f"{fault},action={LIST}")
        world.change_image(A, min(world.images(A)), imageVersion="2")
        report = await sync()
    assert (3, 6, 1) == (report.exit_code, report.counts.zones, report.counts.changed)
    assert Counter(world.zones()) == zones(run.asked)
    assert {"unchanged", "changed"} == {*statuses(report).values()}
    assert 6 == await db.fetchval("select count(*) from syncer.zones where listed")
    await assert_exact(db, world)


async def received() -> None:
    """Wait until what was answered is sent, received, and made something of."""
    for _ in range(3):
        await anyio.wait_all_tasks_blocked()
        await anyio.lowlevel.checkpoint()


def refuse_first(simulator: Simulator, late: Late) -> None:
    """Answer first pages of other zones when the refusal of A has come to the run."""
    refused = anyio.Event()

    def on_call(call: CallRecord) -> Awaitable[None] | None:
        if call.zone == A:
            refused.set()
        elif call.page_num == 1:
            return wait()
        return late.called(call)

    async def wait() -> None:
        await refused.wait()
        await received()

    simulator.on_call = on_call
    simulator.add_fault(f"status=401,zone={A},action=DescribeImages")


async def test_the_first_refusal_stops_what_was_not_begun(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """Of a listed zone it ends the run; one that is not listed has failed, and all others go on."""
    small = {"SYNCER_PAGE_SIZE": "7"}  # three pages a zone
    await sync(**small)
    first = Counter(world.zones())
    with late(simulator, db, pages=6) as run:
        refuse_first(simulator, run)
        report = await sync(**small)
    assert (1, True, 7) == (report.exit_code, report.refused, report.counts.calls)
    assert (first, {}) == (zones(run.asked), statuses(report))
    assert [0, 0] == [(await sync(**small)).exit_code for _ in range(2)]

    with late(simulator, db, pages=6) as run:
        refuse_first(simulator, run)
        simulator.add_fault(f"hide_zone,zone={A}")
        report = await sync(**small)
    assert (3, "failed") == (report.exit_code, statuses(report)[A])
    assert first == zones(run.before)
    assert Counter({zone: 1 if zone == A else 3 for zone in first}) == zones(run.asked)


async def test_a_key_that_was_revoked_is_refused_for_what_was_under_way(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """As many calls as begin together; one where the pace lets one begin; then only the list's."""
    await sync()
    for at_once, pages in ((16, 6), (3, 2)):  # the list is a call too
        with naming(at_once), late(simulator, db, pages=pages):
            del simulator.gate.access_keys[KEY]
            report = await sync(SYNCER_MAX_CONCURRENCY=str(at_once))
            assert (True, 1 + pages) == (report.refused, len(simulator.calls))
        for _ in range(2):
            simulator.reset_stats()
            assert (await sync()).refused
            assert [LIST] == [call.action for call in simulator.calls]
        simulator.gate.access_keys[KEY] = SECRET
        assert [0, 0] == [(await sync()).exit_code for _ in range(2)]
    with late(simulator, db, pages=1) as run:
        del simulator.gate.access_keys[KEY]
        report = await sync(SYNCER_MAX_RATE="10")
    assert (True, 1, 2) == (report.refused, len(run.before), len(simulator.calls))


async def test_a_list_that_was_refused_before_is_all_that_is_asked_for(
    simulator: Simulator, sync: Any, db: Any
) -> None:
    """Where it came while the run began, the zones are asked for after it, and not at all here."""
    await sync()
    simulator.reset_stats()
    del simulator.gate.access_keys[KEY]
    async with anyio.create_task_group() as tasks, db.transaction():
        await db.execute("lock table syncer_store.runs in access exclusive mode")
        tasks.start_soon(sync)
        await until(lambda: simulator.calls and simulator.calls[0].finished)
        await received()
    assert [LIST] == [call.action for call in simulator.calls]
    assert "failed" == await db.fetchval("select status from syncer.runs order by run_id desc")


async def test_a_stop_keeps_what_was_read_before_the_list_came(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """What is under way is given up, nothing more is asked for, and no zone is called unlisted."""
    await sync()
    world.change_image(A, min(world.images(A)), imageVersion="2")
    stop = Stop()
    with late(simulator, db, pages=6) as run:

        def on_call(call: CallRecord) -> Awaitable[None] | None:
            return stopping() if call.zone == B else run.called(call)

        async def stopping() -> None:
            await until(lambda: sum(bool(c.finished) for c in run.asked) == 5)
            await received()
            stop.now(Fault(code="STOPPED", message="the test said so"))
            await anyio.sleep_forever()

        simulator.on_call = on_call
        report = await sync(stop=stop)
    assert ("partial", 3, 6) == (report.status, report.exit_code, len(run.asked))
    assert (6, "changed", "failed") == (report.planned, *(statuses(report)[z] for z in (A, B)))
    assert ["unchanged"] * 4 == [s for z, s in statuses(report).items() if z not in {A, B}]
    assert 6 == await db.fetchval("select count(*) from syncer.zones where listed")
    await sync()
    await assert_exact(db, world)


async def test_a_stop_keeps_what_was_read_beside_a_zone_that_was_refused(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """Whether that zone is listed still nobody knows: its refusal is no word on the key."""
    await sync()
    world.change_image(B, min(world.images(B)), imageVersion="2")
    stop = Stop()
    with late(simulator, db, pages=6) as run:
        simulator.add_fault(f"status=401,zone={A},action=DescribeImages")

        async def stopping(listed: Awaitable[None]) -> None:
            await listed
            await received()
            stop.now(Fault(code="STOPPED", message="the test said so"))
            await anyio.sleep_forever()

        def on_call(call: CallRecord) -> Awaitable[None] | None:
            waits = run.called(call)
            return waits and stopping(waits)

        simulator.on_call = on_call
        report = await sync(stop=stop)
    assert ("partial", 3, False) == (report.status, report.exit_code, report.refused)
    assert ("failed", "changed") == (statuses(report)[A], statuses(report)[B])
    await sync()
    await assert_exact(db, world)


async def test_an_approval_that_comes_meanwhile_waits_for_the_next_look(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """Also where the list says something new, so that all that is known of zones is read again."""
    await sync()
    for image_id in list(world.images(A))[:15]:
        world.remove_image(A, image_id)
    world.add_zone("NEW-A", images=1)
    with late(simulator, db, pages=6) as run:

        async def approving(listed: Awaitable[None]) -> None:
            await listed
            await approve(db, account=None, service=None, zone_id=A, max_removals=15, by="test")

        def on_call(call: CallRecord) -> Awaitable[None] | None:
            waits = run.called(call)
            return waits and approving(waits)

        simulator.on_call = on_call
        assert 4 == (await sync()).exit_code
    assert "pending" == await db.fetchval("select outcome from syncer.approvals")
    assert (0, 15) == ((report := await sync()).exit_code, report.counts.removed)
