"""The daemon in this process, on clocks that the tests set."""

from __future__ import annotations

import gc
import inspect
import itertools
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.app import run_options
from syncer.config.settings import load
from syncer.core.errors import Interrupted, LockHeld, SyncerError
from syncer.serve.daemon import Daemon, keep_alive
from syncer.serve.health import Health, Healths
from syncer.serve.metrics import Metrics
from syncer.serve.outcome import Monitor, RunEnd
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notifier
from syncer.simulator import Simulator, World
from syncer.store.connection import Server
from syncer.store.schema import revisions
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from tests.conftest import quick
from tests.support import logged, samples_of

HOURS = int(os.environ.get("SYNCER_TEST_HOURS", "6"))
LIMIT = 1000.0
"""The seconds after which a run is stuck."""


class Clock:
    """A clock that goes on only when it is set, or slept by."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def monitor(clock: Clock, *, metrics: Metrics | None = None) -> Monitor:
    return Monitor(
        health=Health(every=900, limit=LIMIT, now=clock.now, aging=clock.now),
        metrics=metrics or Metrics("default", live=True),
        systemd=Notifier(None),
    )


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd's, bound at ``notify``; what it receives is there at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


async def test_a_run_past_all_its_time_is_no_progress(
    clock: Clock, notified: socket.socket, tmp_path: Path
) -> None:
    """The watchdog is notified while the run may go on, and no more when it should have ended."""
    health = Health(every=900, limit=LIMIT, now=clock.now)
    naps = 0

    async def nap(_: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 3:
            clock.seconds += LIMIT
        if naps == 6:
            raise TimeoutError

    notifier = Notifier(str(tmp_path / "notify"))
    with health.running():
        with pytest.raises(TimeoutError):
            await keep_alive(notifier, Healths({"default": health}), 1.0, sleep=nap)
        assert not health.alive
    assert [b"WATCHDOG=1"] * 3 == [notified.recv(99) for _ in range(3)]
    with pytest.raises(BlockingIOError):
        notified.recv(99)
    assert health.alive, "the run ended"


def test_a_night_asleep_makes_data_old_and_no_run_stuck() -> None:
    """The clock of runs stands still meanwhile, and they go on where they were."""
    awake, ever = Clock(), Clock()
    health = Health(every=900, limit=LIMIT, now=awake.now, aging=ever.now)
    health.ended("run 1 succeeded", succeeded=True)
    with health.running():
        ever.seconds += 28_800
        assert (True, True) == (health.alive, "28800 s ago" in (health.not_ready() or ""))
    clock_of_its_own = inspect.signature(Health).parameters["aging"].default
    assert clock_of_its_own() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=60)


async def test_a_clock_that_is_set_does_not_make_old_data_look_fresh(
    environment: dict[str, str], simulator: Simulator, url: str, clock: Clock
) -> None:
    """A machine starts years ahead and is set right: the success before grows old all the same."""
    settings, wall = load(environment=environment), Clock(time.time() + 9 * 365 * 86_400)
    watched = monitor(clock, metrics=Metrics("default", live=True, now=wall.now))

    async def once(stop: Stop) -> Report:
        return await run_once(run_options(settings.account), Server(url), stop=stop)

    async def between(_: object) -> None:
        daemon.end("one is enough")

    schedule = Schedule(every=900, jitter=0, start=0)
    daemon = Daemon(once, between, schedule=schedule, monitor=watched, now=clock.now)
    await daemon.work()
    wall.seconds -= 9 * 365 * 86_400
    assert watched.health.not_ready() is None
    clock.seconds += 2701
    assert "the last success was 2701 s ago" in (watched.health.not_ready() or "")
    clock_of_its_own = inspect.signature(Health).parameters["now"].default
    assert clock_of_its_own is time.monotonic, "which nobody can set"


async def test_what_worked_once_is_tried_again(
    db: Any, url: str, environment: Any, clock: Clock
) -> None:
    """The schema is another's for a while, after a run that succeeded: the daemon outlives it."""
    settings, results = load(environment=environment), list[str]()
    watched = monitor(clock)

    async def once(stop: Stop) -> Report:
        version = "0001" if len(results) == 1 else revisions()[-1]
        await db.execute("update syncer_store.alembic_version set version_num = $1", version)
        options = run_options(settings.account)
        return await run_once(options, Server(url), stop=stop, observer=watched.metrics)

    async def between(_: object) -> None:
        results.append(watched.health.last_result)
        if len(results) == 3:
            daemon.end("that is enough")

    schedule = Schedule(every=900, jitter=0, start=0)
    daemon = Daemon(
        once, between, schedule=schedule, monitor=watched, now=clock.now, sleep=clock.sleep
    )
    await daemon.work()
    assert "succeeded" in results[0]
    assert "syncer db upgrade" in results[1]
    assert "succeeded" in results[2]
    assert 1 == samples_of(watched.metrics)["syncer_runs_total", "default", "failed"]


@pytest.mark.parametrize(
    ("error", "event", "status", "wait"),
    [
        (LockHeld("run 7 is at work"), "run.left_out", "held", 900),
        (Interrupted("asked to stop"), "run.left_out", "failed", 900),
        (SyncerError("made up"), "run.failed", "failed", 15),
    ],
)
async def test_an_error_ends_its_run_with_one_line(
    error: SyncerError, event: str, status: str, wait: float, *, clock: Clock
) -> None:
    """Whatever named error it is; the next run comes by the schedule, or soon after a failure."""
    watched, waits = monitor(clock), list[float]()

    async def once(_: Stop) -> Report:
        raise error

    async def between(stopped: Any) -> None:
        assert not stopped()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        daemon.end("one is enough")
        await anyio.lowlevel.checkpoint()

    schedule = Schedule(every=900, jitter=0, start=0)
    daemon = Daemon(once, between, schedule=schedule, monitor=watched, now=clock.now, sleep=sleep)
    with logged("console") as text:
        await daemon.work()
    assert 1 == text.getvalue().count(str(error))
    assert event in text.getvalue()
    assert str(error) == watched.health.last_result
    assert 1 == samples_of(watched.metrics)["syncer_runs_total", "default", status]
    assert wait / 2 <= waits[0] <= wait


async def test_hours_of_serving_with_faults_leaks_nothing(
    *,
    environment: dict[str, str],
    simulator: Simulator,
    world: World,
    db: Any,
    url: str,
    clock: Clock,
) -> None:
    """Hours on a clock of our own (SYNCER_TEST_HOURS), a run every 15 minutes, many with a fault.

    No run is missed or doubled, and neither memory nor connections nor files grow.
    """
    faults = ("status=503,zone=FRA-A", "hang,zone=HKG-A", "empty_listing,zone=SEL-A",
              "truncate,probability=20%", "status=401,times=1", "total=+1,zone=LAX-A")  # fmt: skip
    settings = load(environment={**environment, "SYNCER_REQUEST_TIMEOUT": "0.05"})
    begun, after = list[float](), list[tuple[int, int, int, int]]()
    watched = monitor(clock)
    server = Server(url)

    async def once(stop: Stop) -> Report:
        begun.append(clock.seconds)
        simulator.clear_faults()
        number = len(begun)
        if number % 4:
            simulator.add_fault(faults[number % len(faults)])
        world.change_image("FRA-A", sorted(world.images("FRA-A"))[0], imageVersion=str(number))
        clock.seconds += 5.0
        return await run_once(
            quick(run_options(settings.account)), server, stop=stop, observer=watched.metrics,
        )  # fmt: skip

    async def between(_: object) -> None:
        sessions = await db.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database()"
        )
        after.append((sessions, files(), resident(), len(gc.get_objects())))
        if clock.seconds >= HOURS * 3600:
            daemon.end("the hours are over")

    schedule = Schedule(every=900, jitter=60, start=0)
    daemon = Daemon(
        once, between, schedule=schedule, monitor=watched, now=clock.now, sleep=clock.sleep
    )
    gc.disable()  # that the daemon looks for garbage itself is what is tried
    gc.freeze()  # not among all that other tests left
    try:
        await daemon.work()
    finally:
        gc.enable()

    slots = [int(moment // 900) for moment in begun]
    assert set(range(HOURS * 4)) <= set(slots), "a moment was missed"
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(begun))
    runs = await db.fetchval("select count(*) from syncer.runs")
    samples = samples_of(watched.metrics)
    counted = [value for name, value in samples.items() if name[0] == "syncer_runs_total"]
    assert len(begun) == runs == sum(counted)
    assert 0 == await db.fetchval("select count(*) from syncer.runs where status = 'running'")
    half = len(after) // 2
    # A session that ends is seen a moment longer, and so is the simulator's side of a connection,
    # which is in this process too; one a run would make dozens.
    allowed = {"sessions": 2, "files": 2, "memory": 8 << 20, "objects": 5000}
    for place, (what, most) in enumerate(allowed.items()):
        early, late = (max(each[place] for each in part) for part in (after[:half], after[half:]))
        assert late <= early + most, f"{what} grow"


def files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("made up\nin two lines"),
        ExceptionGroup("of tasks", [KeyError("made up"), OSError("x")]),
    ],
)
async def test_what_nobody_foresaw_ends_its_run_and_not_the_daemon(
    error: Exception, clock: Clock
) -> None:
    """In a run and between two: one line each, and the next run comes."""
    watched, runs = monitor(clock), list[int]()

    async def once(_: Stop) -> Report:
        runs.append(1)
        raise error

    async def between(_: object) -> None:
        if len(runs) == 3:
            daemon.end("three are enough")
        raise error

    schedule = Schedule(every=900, jitter=0, start=0)
    daemon = Daemon(
        once, between, schedule=schedule, monitor=watched, now=clock.now, sleep=clock.sleep
    )
    with logged("json") as text:
        await daemon.work()
    lines = [line for line in text.getvalue().splitlines() if '"level": "error"' in line]
    assert (3, 6) == (len(runs), len(lines)), text.getvalue()
    assert all("made up" in line and "please report it" in line for line in lines)
    assert "made up" in watched.health.last_result
    assert 3 == samples_of(watched.metrics)["syncer_runs_total", "default", "failed"]


async def test_daemons_of_several_accounts_take_turns_at_the_gate(clock: Clock) -> None:
    """As many run at once as may; one that waits for its turn ends at once when it is asked to."""
    gate, at_work, most = anyio.Semaphore(1), list[str](), 0

    def daemon(name: str, *, ends: bool) -> Daemon:
        async def once(_: Stop) -> Report:
            nonlocal most
            at_work.append(name)
            most = max(most, len(at_work))
            await anyio.lowlevel.checkpoint()
            if ends:
                for each in daemons:
                    each.end("enough")
            await anyio.lowlevel.checkpoint()
            at_work.remove(name)
            return Report(account=name, run_id=1, status="succeeded")

        async def between(_: object) -> None:
            return

        watched[name] = monitor(clock)
        schedule = Schedule(every=900, jitter=0, start=0)
        return Daemon(
            once,
            between,
            schedule=schedule,
            monitor=watched[name],
            gate=gate,
            now=clock.now,
            sleep=clock.sleep,
        )

    watched: dict[str, Monitor] = {}
    daemons = [daemon("a", ends=True), daemon("b", ends=False)]
    async with anyio.create_task_group() as tasks:
        for each in daemons:
            tasks.start_soon(each.work)
    assert (1, []) == (most, at_work)
    assert watched["a"].health.has_succeeded
    assert "asked to stop before the run began" in watched["b"].health.last_result
    assert 1 == gate.value


def test_health_is_that_of_the_worst_account(clock: Clock) -> None:
    """And says which it is, where there are several."""
    fresh, stale = (
        Health(every=900, limit=LIMIT, now=clock.now, aging=clock.now) for _ in range(2)
    )
    fresh.ended("run 1 succeeded", succeeded=True)
    alone, both = Healths({"a": fresh}), Healths({"a": fresh, "b": stale})
    assert (None, "run 1 succeeded") == (alone.not_ready(), alone.last_result)
    assert "account b: no run has succeeded yet; no run has ended yet" == both.not_ready()
    assert "a: run 1 succeeded; b: no run has ended yet" == both.last_result
    with stale.running():
        assert both.alive
        clock.seconds += LIMIT
        assert (True, False) == (alone.alive, both.alive)


@pytest.mark.parametrize("status", ["succeeded", "partial", "failed", "held"])
def test_what_stored_something_is_ready(status: str) -> None:
    """A zone that fails for days holds back no pod; a run that read nothing does."""
    watched = monitor(Clock())
    end = RunEnd(status=status, exit_code=0, ended="done", result="run 1")
    watched.run_ended(end, seconds=1.0)
    assert (status in {"succeeded", "partial"}) == (watched.health.not_ready() is None)
