"""Processes killed, frozen, robbed of their connections and stopped, at any moment.

``SYNCER_TEST_KILLS=200 pytest tests/e2e/test_crashes.py`` kills 200 runs, and stops one in each
phase by either signal.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from syncer.simulator import Simulator, World
from tests.invariants import check, present, stored
from tests.proxy import Proxy
from tests.support import assert_exact, end_sessions, statuses_of_runs, until

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
KILLS = int(os.environ.get("SYNCER_TEST_KILLS") or 6)
PHASES = ["beginning", "listing", "reading", "writing", "asking by id"]
SIGNALS = [signal.SIGTERM, signal.SIGINT]
STOPS = list(zip(PHASES, itertools.cycle(SIGNALS), strict=False))
if "SYNCER_TEST_KILLS" in os.environ:
    STOPS = list(itertools.product(PHASES, SIGNALS))
BEGIN = b"Q\0\0\0\x0bBEGIN;"
COMMIT = b"Q\0\0\0\x0cCOMMIT;"
Start = Callable[..., Any]


@pytest.fixture
async def proxy(url: str, environment: dict[str, str]) -> AsyncIterator[Proxy]:
    """A network between the program and its database."""
    async with Proxy(url) as running:
        environment["SYNCER_DATABASE_URL"] = running.url
        yield running


class Ended:
    """What a process came to: its exit code and what it said on stderr."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.code: int | None = None
        self.err = ""

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    async def wait(self) -> Ended:
        assert self.process.stderr is not None
        chunks = [chunk async for chunk in self.process.stderr]
        self.code = await self.process.wait()
        self.err = b"".join(chunks).decode()
        assert "Traceback" not in self.err, self.err
        return self


@pytest.fixture
async def start(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Start]:
    """Start ``syncer sync`` as a process of its own."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(**env: str) -> Ended:
            inherited = {name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")}
            process = await anyio.open_process(
                [sys.executable, "-m", "syncer", "sync"],
                env={**inherited, **environment, **env},
                cwd=tmp_path,
                stdout=None,
            )
            stack.push_async_callback(process.aclose)
            ended = Ended(process)
            stack.callback(ended.signal, signal.SIGKILL)
            return ended

        yield begin


def drift(world: World, random: Random, number: int) -> None:
    """Images come, change, go and return; now and then more of them than the guard lets pass."""
    for zone in random.sample(world.zones(), 3):
        ids = sorted(world.images(zone))
        random.shuffle(ids)
        many = 14 if len(ids) > 20 and random.random() < 0.15 else random.randrange(3)
        for image_id in ids[:many]:
            world.remove_image(zone, image_id)
        for image_id in ids[many : many + random.randrange(3)]:
            world.change_image(zone, image_id, imageVersion=f"v{number}")
        for _ in range(random.randrange(4)):
            world.add_image(zone)


def living(world: World) -> set[tuple[str, str]]:
    return {(zone, image_id) for zone in world.zones() for image_id in world.images(zone)}


UNGUARDED = {"SYNCER_GUARD_ZONE_COUNT": "off", "SYNCER_GUARD_RUN_PERCENT": "off"}
APPROVE = """
    insert into syncer_store.approvals (zone_key, max_removals, approved_by)
    select zone_key, count(*), 'test' from syncer_store.missing group by zone_key"""


async def kill_one(  # noqa: PLR0917
    proxy: Proxy,
    simulator: Simulator,
    start: Start,
    random: Random,
    whole: tuple[int, int],
    share: float,
) -> int | None:
    """Kill a run at a message to PostgreSQL, before or after it is passed on, or at a call.

    ``whole`` is how many there are in a run, ``share`` how far in it that is, from 0 to 1.
    """
    victim = await start(**random.choice([UNGUARDED, {}]))
    in_call = random.random() < 0.2
    due = 1 + int(share * whole[in_call])
    how = random.choice(["before", "after"])
    proxy.messages = 0
    simulator.reset_stats()

    def at_message(_message: bytes) -> str | None:
        if proxy.messages != due:
            return None
        victim.signal(signal.SIGKILL)
        return how

    def at_call(_call: Any) -> None:
        if len(simulator.calls) == due:
            victim.signal(signal.SIGKILL)

    if in_call:
        simulator.on_call = at_call
    else:
        proxy.hook = at_message
    await victim.wait()
    proxy.hook, simulator.on_call = lambda _message: None, None
    code: int | None = victim.code
    return code


async def how_far(db: Any, runs: int) -> str:
    """How far the run came that was begun after that number of runs."""
    row = await db.fetchrow(
        "select status, change_base, (select count(*) from syncer.zone_scans as s "
        "where s.run_id = r.run_id) as zones from syncer_store.runs as r order by run_id offset $1",
        runs,
    )
    if row is None:
        return "before it began"
    return f"{row['zones']} zones" if row["status"] == "running" else "after its end"


@pytest.mark.timeout(60 * KILLS)
async def test_a_run_that_is_killed_at_any_moment_leaves_nothing_torn(  # noqa: PLR0917
    proxy: Proxy,
    simulator: Simulator,
    world: World,
    start: Start,
    sync: Any,
    db: Any,
) -> None:
    """Kill -9: every invariant holds, no living image goes, and the next run repairs all."""
    random = Random(KILLS)  # noqa: S311
    looks: dict[Any, Any] = {}
    moments: Counter[str] = Counter()
    assert 0 == (await sync()).exit_code
    drift(world, random, 0)
    proxy.messages = 0
    simulator.reset_stats()
    await sync(**UNGUARDED)
    whole = proxy.messages, len(simulator.calls)
    parts = itertools.cycle(random.sample(range(KILLS), KILLS))  # of a run, each of them once
    while moments.total() < KILLS:
        drift(world, random, 1 + moments.total())
        before = present(await stored(db))
        runs = await db.fetchval("select count(*) from syncer.runs")

        share = (next(parts) + random.random()) / KILLS
        killed = await kill_one(proxy, simulator, start, random, whole, share) == -signal.SIGKILL

        moments[await how_far(db, runs)] += killed
        assert not (before.keys() - present(await stored(db)).keys()) & living(world)
        await check(db, looks)
        if random.random() < 0.5:
            assert (await sync()).exit_code in {0, 4}
            await check(db, looks)
            left = await db.fetch("select status from syncer.runs where status = 'running'")
            assert [] == left
            await db.execute(APPROVE)
            for old in list(looks)[:-9]:
                del looks[old]
    await sync(**UNGUARDED)
    await db.execute(APPROVE)
    assert 0 == (await sync(**UNGUARDED)).exit_code
    await assert_exact(db, world)
    await check(db, looks)
    sys.stdout.write(f"killed after so much: {dict(moments)}\n")  # pytest -rP shows it
    assert len(moments) > 3


WRITTEN = ("images", "zone_scans", "zones", "runs")


def hold_at(proxy: Proxy, number: int, start: bytes) -> None:
    """Let no message pass from the n-th that starts so."""
    seen = itertools.count(1)

    def hook(message: bytes) -> None:
        if message.startswith(start) and next(seen) == number:
            proxy.gate = anyio.Event()

    proxy.hook = hook


def held(proxy: Proxy) -> bool:
    return not proxy.gate.is_set()


async def test_a_run_that_froze_is_taken_over_and_writes_nothing_when_it_wakes(  # noqa: PLR0917
    url: str, proxy: Proxy, start: Start, sync: Any, world: World, db: Any
) -> None:
    """SIGSTOP in a zone's transaction, past the deadline: the next run does all; it exits 5."""
    hold_at(proxy, 4, COMMIT)
    frozen = await start()
    await until(lambda: held(proxy))
    frozen.signal(signal.SIGSTOP)
    await db.execute("update syncer_store.runs set deadline_at = now() - interval '1 s'")
    world.change_image("FRA-A", sorted(world.images("FRA-A"))[0], imageVersion="2")

    assert 0 == (await sync(SYNCER_DATABASE_URL=url)).exit_code
    left = [await db.fetch(f"select xmin, * from syncer_store.{table}") for table in WRITTEN]

    proxy.hook = lambda _message: None
    proxy.gate.set()
    frozen.signal(signal.SIGCONT)
    await frozen.wait()
    last = frozen.err.splitlines()[-1]
    assert (5, True) == (frozen.code, last.startswith("syncer: ")), frozen.err
    for table, rows in zip(WRITTEN, left, strict=True):
        assert sorted(rows) == sorted(await db.fetch(f"select xmin, * from syncer_store.{table}"))
    await assert_exact(db, world)
    await check(db, {})


async def test_a_run_that_lost_everything_while_a_newer_began_writes_nothing(  # noqa: PLR0917
    url: str, proxy: Proxy, start: Start, sync: Any, world: World, db: Any
) -> None:
    """Its lock and its writers' connections ended, a newer run ended well: it exits 5."""
    hold_at(proxy, 4, COMMIT)
    robbed = await start()
    await until(lambda: held(proxy))
    await end_sessions(db)
    assert 0 == (await sync(SYNCER_DATABASE_URL=url)).exit_code
    proxy.hook = lambda _message: None
    proxy.gate.set()
    await robbed.wait()
    assert 5 == robbed.code
    assert re.search("newer run|another run .* began", robbed.err), robbed.err
    assert ["crashed", "succeeded"] == await statuses_of_runs(db)
    assert await db.fetchval(
        "select zones > 0 and images > 0 and (zones, images, appeared) = (select count(*), "
        "sum(s.images), sum(s.appeared) from syncer.zone_scans as s where s.run_id = r.run_id) "
        "from syncer.runs as r where status = 'crashed'"
    ), "what a crashed run committed is counted"
    await assert_exact(db, world)
    await check(db, {})


async def test_of_two_processes_one_works(  # noqa: PLR0917
    url: str, proxy: Proxy, start: Start, syncer: Any, world: World, db: Any
) -> None:
    """The second names the run, the host and the process that hold the lock, and exits 5."""
    hold_at(proxy, 2, COMMIT)
    first = await start()
    await until(lambda: held(proxy))
    proxy.hook = lambda _message: None
    second = await syncer("sync", SYNCER_DATABASE_URL=url)
    assert 5 == second.code
    assert re.fullmatch(
        rf"syncer: run 1 of account 'default' is at work since .*pid {first.process.pid}\); this "
        "one did nothing\n",
        second.err,
    )
    proxy.gate.set()
    assert 0 == (await first.wait()).code
    await assert_exact(db, world)


@pytest.mark.parametrize(("phase", "number"), STOPS)
async def test_a_run_that_is_stopped_ends_with_what_it_has(  # noqa: PLR0917
    phase: str,
    number: signal.Signals,
    proxy: Proxy,
    simulator: Simulator,
    start: Start,
    sync: Any,
    world: World,
    db: Any,
) -> None:
    """SIGTERM or SIGINT in any phase: exit 3, no traceback, what was read is stored."""
    await sync()
    gone = sorted(world.images("FRA-A"))[0]
    world.remove_image("FRA-A", gone)
    world.change_image("HKG-A", sorted(world.images("HKG-A"))[0], imageVersion="2")
    simulator.reset_stats()
    fault = {"listing": "hang,action=DescribeZones", "reading": "hang,zone=SEL-A"}
    fault["asking by id"] = "hang,by_id=true"
    if phase in fault:
        simulator.add_fault(fault[phase])
    async with contextlib.AsyncExitStack() as stack:
        if phase == "beginning":
            await stack.enter_async_context(db.transaction())
            await db.execute("lock table syncer_store.runs in access exclusive mode")
        if phase == "writing":
            hold_at(proxy, 4, COMMIT)
        stopping = await start()
        hit = {
            "listing": lambda: any(call.faults for call in simulator.calls),
            "writing": lambda: held(proxy),
        }
        hit["reading"] = hit["asking by id"] = hit["listing"]
        if phase == "listing":  # it begins while the run does, and goes on
            begun = (
                "select exists (select from pg_stat_activity "
                "where application_name ~ 'run 2 .*writer')"
            )
            await until(lambda: db.fetchval(begun))
        if phase == "beginning":
            waits = "select exists (select from pg_locks where not granted)"
            await until(lambda: db.fetchval(waits))
        else:
            await until(hit[phase])
        stopping.signal(number)
        if phase == "writing":
            proxy.hook = lambda _message: None
            proxy.gate.set()
        await stopping.wait()
    assert 3 == stopping.code, stopping.err
    if phase == "beginning":
        assert "asked to stop before the run began" in stopping.err
    else:
        row = await db.fetchrow("select status, error_code from syncer.runs order by run_id desc")
        assert ("partial", "STOPPED") == tuple(row)
        assert "asked to stop" in stopping.err
    assert gone in (await stored_ids(db))
    await check(db, {})
    simulator.clear_faults()
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


async def stored_ids(db: Any) -> set[str]:
    rows = await db.fetch("select image_id from syncer.images where removed_at is null")
    return {row[0] for row in rows}


async def test_a_run_that_is_stopped_twice_gives_up_at_once(
    proxy: Proxy, start: Start, sync: Any, world: World, db: Any
) -> None:
    """The second signal does not wait for the database: exit 3, and the next run has all."""
    hold_at(proxy, 4, COMMIT)
    stopping = await start()
    await until(lambda: held(proxy))
    stopping.signal(signal.SIGTERM)
    stopping.signal(signal.SIGINT)
    await stopping.wait()
    assert (3, True) == (stopping.code, "asked twice" in stopping.err)
    proxy.hook = lambda _message: None
    proxy.gate.set()
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)
    await check(db, {})
