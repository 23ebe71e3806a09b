"""Reading zones side by side: in which order, how many at once, and when no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from syncer.config.settings import load
from syncer.core.model import Fault, ZoneRef
from syncer.core.paging import Snapshot
from syncer.simulator import Simulator, World
from syncer.sync.standing import Standings
from syncer.sync.stop import Stop
from syncer.sync.zones import Outcome, Target, ZoneReader
from syncer.zenlayer.client import Client, open_client
from tests.support import STAMP


@pytest.fixture
async def client(environment: dict[str, str]) -> AsyncIterator[Client]:
    settings = load(environment=environment)
    async with open_client(settings.account.api, run_timeout=60.0) as opened:
        yield opened


def targets(world: World, **sizes: int | None) -> list[Target]:
    """Every zone, of twenty images unless another number is given (None: nobody knows)."""
    return [
        Target(ref=ZoneRef("vm", zone), size=sizes.get(zone.replace("-", "_"), 20))
        for zone in world.zones()
    ]


def reader(
    client: Client,
    *,
    at_once: int,
    stop: Stop | None = None,
    page_size: int = 1000,
    now: Callable[[], datetime] = lambda: STAMP,
) -> ZoneReader:
    async def nothing(_ref: ZoneRef) -> tuple[str, ...]:
        return ()

    async def unknown(_ref: ZoneRef) -> None:
        return None

    standings = Standings()
    standings.set(listed=(), unreliable={"vm"})
    return ZoneReader(
        client=client,
        page_size=page_size,
        at_once=at_once,
        now=now,
        stop=stop or Stop(),
        standings=standings,
        stored_ids=nothing,
        kept_rows=unknown,
    )


async def read_all(reading: ZoneReader, targets: list[Target], deliver: Any) -> None:
    async with reading.reading(deliver) as begin:
        await begin(targets)


def asked(simulator: Simulator) -> list[str | None]:
    return [call.zone for call in simulator.calls]


async def test_the_largest_zone_is_read_first(
    client: Client, world: World, simulator: Simulator
) -> None:
    """One of unknown size may be the largest of all; of equal ones the first by name."""
    outcomes: list[Outcome] = []

    async def deliver(outcome: Outcome) -> None:
        outcomes.append(outcome)

    sizes = {"SIN_E": 21, "HKG_A": 900, "SEL_A": None}
    await read_all(reader(client, at_once=1), targets(world, **sizes), deliver)

    order = ["SEL-A", "HKG-A", "SIN-E", "FRA-A", "LAX-A", "SAO-A"]
    assert order == asked(simulator)
    assert order == [outcome.looked.zone.zone_id for outcome in outcomes]
    assert all(isinstance(outcome, Snapshot) for outcome in outcomes)


async def test_zones_that_wait_to_be_stored_keep_others_from_being_begun(
    client: Client, world: World, simulator: Simulator
) -> None:
    """A database that takes nothing: no more zones are read than are read at once."""
    waiting, delivered = anyio.Event(), list[Outcome]()
    taken = anyio.Event()

    async def deliver(outcome: Outcome) -> None:
        delivered.append(outcome)
        if len(delivered) == 2:
            waiting.set()
        await taken.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_all, reader(client, at_once=2), targets(world), deliver)
        await waiting.wait()
        await anyio.wait_all_tasks_blocked()
        assert ["FRA-A", "HKG-A"] == sorted(map(str, asked(simulator)))
        taken.set()
    assert 6 == len(delivered) == len(asked(simulator))


async def test_a_stop_begins_no_further_zone_and_delivers_what_was_read(
    client: Client, world: World, simulator: Simulator
) -> None:
    """What is under way is given up with the reason of the stop; something was left undone."""
    stop, reason = Stop(), Fault(code="STOPPED", message="the test said so")
    outcomes: list[Any] = []

    async def deliver(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 2:
            stop.now(reason)

    await read_all(reader(client, at_once=1, stop=stop), targets(world), deliver)
    assert 2 == len(outcomes) == len(asked(simulator))
    assert stop.cut

    late = await reader(client, at_once=1, stop=stop).read(targets(world)[0])
    assert "Failed" == type(late).__name__
    assert reason == getattr(late, "fault", None)
    assert 2 == len(asked(simulator))


async def test_a_look_is_observed_just_before_the_first_page_of_what_is_whole(
    client: Client, world: World, simulator: Simulator
) -> None:
    """Three pages are torn and read again: nothing that went before them is evidence."""
    simulator.add_fault("total=+1,page=3,times=1")

    def now() -> datetime:
        return STAMP + timedelta(seconds=len(simulator.calls))

    zone = targets(world)[0]
    outcome = await reader(client, at_once=1, page_size=7, now=now).read(zone)
    assert isinstance(outcome, Snapshot)
    looked = outcome.looked
    assert (0, 3) == tuple((at - STAMP).seconds for at in (looked.started_at, looked.observed_at))
    assert (6, 1) == (looked.pages, looked.rereads)
