"""Processes killed, frozen, robbed of their connections and told to stop, at any moment.

``SYNCER_TEST_KILLS=200 pytest tests/e2e/test_crashes.py -k killed`` kills so many runs.
"""

from __future__ import annotations

import contextlib
import os
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
from tests.support import assert_exact

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
KILLS = int(os.environ.get("SYNCER_TEST_KILLS") or 12)
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
    select zone_key, withheld, 'test' from syncer_store.zones where withheld > 0"""


async def kill_one(proxy: Proxy, simulator: Simulator, start: Start, random: Random) -> int | None:
    """Kill a run at a message to PostgreSQL, before or after it is passed on, or at a call."""
    victim = await start(**random.choice([UNGUARDED, {}]))
    in_call = random.random() < 0.2
    due = random.randrange(1, 12 if in_call else 330)
    how = random.choice(["before", "after"])
    proxy.heard = 0
    simulator.reset_stats()

    def at_message(_message: bytes) -> str | None:
        if proxy.heard != due:
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
    """How far the run came that was begun after so many."""
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
    while moments.total() < KILLS:
        drift(world, random, moments.total())
        before = present(await stored(db))
        runs = await db.fetchval("select count(*) from syncer.runs")

        killed = await kill_one(proxy, simulator, start, random) == -signal.SIGKILL

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
