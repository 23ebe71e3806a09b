"""Everything that writes, side by side, in random order: nothing waits in a circle.

``SYNCER_TEST_SCHEDULES=1000 pytest tests/e2e/test_schedules.py`` tries that number of them,
``SYNCER_TEST_SCHEDULES_FROM`` is the seed of the first.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from random import Random
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest

from syncer.core.errors import SyncerError, unwrapped
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.approvals import approve, approve_run, retire
from syncer.store.connection import Server, sql
from syncer.store.fitness import move_sequences
from syncer.store.lock import stamp_between_runs
from syncer.store.retention import prune
from syncer.store.runs import begin
from tests.conftest import KEY, SECRET
from tests.invariants import NEVER, check
from tests.support import assert_exact, empty, logged, until

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
SCHEDULES: Final = int(os.environ.get("SYNCER_TEST_SCHEDULES") or 8)
FIRST: Final = int(os.environ.get("SYNCER_TEST_SCHEDULES_FROM") or 0)
ACCOUNTS: Final = ("a", "b", "c")
TOGETHER: Final = 8
"""As many schedules go on with what those before them stored."""
DONE: Final = {0, 3, 4}
BUSY: Final = {5}
REFUSED: Final = {1, 2}
"""Nothing to approve, or a zone or run that is not known yet."""
EXITS: Final[Mapping[str, set[int]]] = {
    "run": DONE | BUSY,
    "run that loses its sessions": DONE | BUSY | {1},
    "crash": DONE | BUSY,
    "takeover": DONE | BUSY,
    "approve": {0} | REFUSED,
    "approve run": {0} | REFUSED,
    "retire": {0} | REFUSED,
    "prune": {0} | BUSY,
    "prune all": {0} | BUSY,
    "copy": {0},
}
"""What is done, and the exit codes that its command may have."""
GUARDS: Final = [("off", "off"), ("10", "20"), ("0", "off"), ("off", "0")]
"""Limits of a zone and of a run."""
OVERDUE: Final = """
    update syncer_store.runs set deadline_at = clock_timestamp() - interval '1 s'
    where account = $1 and status = 'running'"""
LOSE: Final = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like 'syncer sync run % of ' || $1 || '%'"""
LATE_LIST: Final = "latency=0.03,action=DescribeZones,probability=50%"
"""Then zones that are known are read before they are listed."""
BEHIND: Final = """
    select setval(pg_get_serial_sequence('syncer_store.zones', 'zone_key'), 1)"""
WITHHELD: Final = """
    select max(m.held_by_run_id) from syncer_store.missing as m
    join syncer_store.zones as z using (zone_key) where z.account = $1"""
PRUNED: Final = "a scan and its changes differ"


class Worlds:
    """The worlds of the accounts as one, to be compared with what is stored."""

    service = "vm"

    def __init__(self, served: Mapping[str, tuple[World, str]]) -> None:
        self._zones = {zone: world for world, _ in served.values() for zone in world.zones()}

    def zones(self) -> list[str]:
        return list(self._zones)

    def images(self, zone: str) -> dict[str, Any]:
        return self._zones[zone].images(zone)


@contextlib.asynccontextmanager
async def clouds() -> AsyncIterator[dict[str, tuple[World, str]]]:
    """A small cloud for each account, whose zones no other has."""
    async with contextlib.AsyncExitStack() as stack:
        served = {}
        for number, account in enumerate(ACCOUNTS):
            world = World(seed=number)
            for zone in range(3):
                world.add_zone(f"{account.upper()}{zone}-A", images=6)
            options = SimulatorOptions(access_keys={KEY: SECRET}, keep_calls=10, faults=[LATE_LIST])
            simulator = await stack.enter_async_context(Simulator(world, options))
            served[account] = world, simulator.endpoint
        yield served


class Schedule:
    """What is done in one schedule, and how each ended."""

    def __init__(
        self, seed: int, sync: Any, db: Any, url: str, served: Mapping[str, tuple[World, str]]
    ) -> None:
        self.random = Random(seed)  # noqa: S311
        self.ended: Counter[tuple[str, int]] = Counter()
        self.pruned = False
        self._sync, self._db, self._url, self._served = sync, db, url, served
        self._one_at_a_time = anyio.Lock()  # the connection of the test does one thing at a time

    async def play(self) -> None:
        """Do some things side by side, each after a while."""
        for world, _ in self._served.values():
            if self.random.random() < 0.7:
                world.drift(self.random.randrange(10**6), appear=1, change=2, remove=1)
        kinds = self.random.choices(list(EXITS), k=self.random.randint(5, 10))
        async with anyio.create_task_group() as tasks:
            for kind in ["run", *kinds]:
                account, number = self.random.choice(ACCOUNTS), self.random.randrange(3)
                zone, later = f"{account.upper()}{number}-A", self.random.randrange(400)
                work = self._work(kind, account, zone, Random(later))  # noqa: S311
                tasks.start_soon(self._end, kind, work, later)

    async def _end(self, kind: str, work: Callable[[], Awaitable[int]], later: int) -> None:
        for _ in range(later):
            await anyio.lowlevel.checkpoint()
        said = ""
        try:
            code = await work()
        except SyncerError as error:
            code, said = error.exit_code, str(error)
        assert "40P01" not in said, (kind, said)
        assert code in EXITS[kind], (kind, said)
        self.ended[kind, code] += 1

    def _work(
        self, kind: str, account: str, zone: str, random: Random
    ) -> Callable[[], Awaitable[int]]:
        server = Server(self._url)

        async def run() -> int:
            guard = random.choice(GUARDS)
            return await self.run(account, guard)

        async def losing() -> int:
            with unwrapped():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._ask, LOSE, account, random.randrange(400))
                    code = await run()
            return code

        async def takeover() -> int:
            await self._ask(OVERDUE, account)
            return await run()

        async def crash() -> int:
            async with (
                begin(server, account, run_timeout=900.0, selection={}) as (begun, _),
                server.pool(size=1, name="crash") as pool,
            ):
                with contextlib.suppress(_Crashed):
                    async with begun.transaction(pool) as connection:
                        await connection.execute("delete from syncer_store.zone_digests")
                        raise _Crashed
            return 0

        async def say() -> int:
            async with server.session(name="test") as connection:
                which: dict[str, Any] = {"account": account, "service": None, "zone_id": zone}
                if kind == "retire":
                    await retire(connection, **which, by="test")
                elif kind == "approve":
                    await approve(connection, **which, max_removals=9, by="test")
                else:
                    run_id = await connection.fetchval(WITHHELD, account) or 1
                    await approve_run(connection, run_id=run_id, max_removals=99, by="test")
            return 0

        async def pruned() -> int:
            keep = timedelta(days=random.choice([0, 400]))
            self.pruned |= not keep
            only = None if kind == "prune all" else account
            await prune(server, keep=keep, thin_after=keep, account=only, batch=3)
            return 0

        async def copy() -> int:
            await self._ask(BEHIND)
            return 0

        return {
            "run": run,
            "run that loses its sessions": losing,
            "takeover": takeover,
            "crash": crash,
            "prune": pruned,
            "prune all": pruned,
            "copy": copy,
        }.get(kind, say)

    async def run(self, account: str, guard: tuple[str, str] = ("off", "off")) -> int:
        """Do a run of an account; return its exit code."""
        environment = {"SYNCER_ACCOUNT": account, "ZENLAYER_ENDPOINT": self._served[account][1]}
        limits = zip(("SYNCER_GUARD_ZONE_COUNT", "SYNCER_GUARD_RUN_PERCENT"), guard, strict=True)
        code: int = (await self._sync(**environment, **dict(limits))).exit_code
        return code

    async def _ask(self, statement: str, account: str | None = None, later: int = 0) -> None:
        for _ in range(later):
            await anyio.lowlevel.checkpoint()
        async with self._one_at_a_time:
            await self._db.fetch(statement, *([account] if account else []))


class _Crashed(Exception):
    """The process goes, in the middle of a transaction."""


@pytest.mark.timeout(120 + 10 * SCHEDULES)
async def test_no_schedule_ends_in_a_deadlock(url: str, db: Any, sync: Any) -> None:
    """Every command ends as it may, every invariant holds, and a run afterwards is exact."""
    name = await db.fetchval("select current_database()")
    # Sooner than any time limit: a circle is found, and not ended by a limit before.
    await db.execute(f"alter database {name} set deadlock_timeout = '20ms'")
    ended: Counter[tuple[str, int]] = Counter()
    pruned = False
    async with clouds() as served:
        for seed in range(FIRST, FIRST + SCHEDULES):
            schedule = Schedule(seed, sync, db, url, served)
            if not (seed - FIRST) % TOGETHER:
                await empty(db)
                pruned = False
                for account in ACCOUNTS:  # of one with nothing stored, nothing can be pruned
                    await schedule.run(account)
            with logged("json") as text:
                await schedule.play()
            assert "40P01" not in text.getvalue(), (seed, text.getvalue())
            pruned |= schedule.pruned
            approves = schedule.random.random() < 0.5
            if approves:
                await approve_all(db)
            for account in ACCOUNTS:
                assert await schedule.run(account) in ({0} if approves else {0, 4}), seed
            await holds(db, pruned=pruned)
            if approves:
                await assert_exact(db, Worlds(served))  # type: ignore[arg-type]
            ended += schedule.ended
    assert 0 == await db.fetchval(
        "select deadlocks from pg_stat_database where datname = current_database()"
    )
    assert SCHEDULES < 8 or EXITS.keys() == {kind for kind, _ in ended}


async def approve_all(db: Any) -> None:
    for account, zone in await db.fetch("select account, zone_id from syncer.zones"):
        await approve(db, account=account, service=None, zone_id=zone, max_removals=99, by="test")


async def holds(db: Any, *, pruned: bool) -> None:
    """Check what holds at any time; what was pruned is not in the feed any more."""
    if not pruned:
        await check(db, {})
        return
    for never, search in NEVER.items():
        assert never == PRUNED or [] == await db.fetch(search), never


async def test_sequences_are_moved_beside_an_approval(url: str, db: Any, sync: Any) -> None:
    """Whoever locks the tables waits before the first of them, whatever a writer locked already."""
    await sync()
    await db.execute(BEHIND)
    server = Server(url)
    async with server.session() as approving, server.session() as moving:
        async with anyio.create_task_group() as tasks, approving.transaction():
            await stamp_between_runs(approving, "default", server.timing)
            await approving.execute("delete from syncer_store.approvals")
            tasks.start_soon(move_sequences, server, moving)
            waits = "select exists (select from pg_locks where not granted)"
            await until(lambda: db.fetchval(waits))
            await approving.execute("update syncer_store.zones set listed = listed")
        rows = await moving.fetch(sql("fitness/sequences"))
    assert [] == [row["sequence"] for row in rows if (row["newest"] or 0) > row["last_given"]]
