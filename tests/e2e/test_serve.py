"""The daemon: its schedule, its signals, what it tells systemd, HTTP and Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from prometheus_client.parser import text_string_to_metric_families

from syncer.app import run_options
from syncer.config.settings import load
from syncer.core.errors import ConfigError, DatabaseGone, Interrupted, LockHeld, Superseded
from syncer.serve.daemon import Daemon, keep_alive
from syncer.serve.http import State
from syncer.serve.metrics import Metrics, ended_by, stored_zones
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notify
from syncer.simulator import Simulator, World
from syncer.store.connection import Server
from syncer.store.lock import lock_key
from syncer.store.schema import revisions
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from tests.conftest import quick
from tests.support import assert_exact

HOURS = int(os.environ.get("SYNCER_TEST_HOURS", "24"))


class Systemd:
    """A stand-in for systemd's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def next(self, within: float = 20.0) -> str:
        self._socket.settimeout(within)
        return self._socket.recv(4096).decode()

    def until(self, beginning: str) -> list[str]:
        told = [self.next()]
        while not told[-1].startswith(beginning):
            told.append(self.next())
        return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    stand_in = Systemd(tmp_path / "notify")
    yield stand_in
    stand_in.close()


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Process]]


@pytest.fixture
def serve(environment: dict[str, str], systemd: Systemd, tmp_path: Path) -> Serve:
    """Run the daemon in a process of its own, under the stand-in for systemd."""

    @contextlib.asynccontextmanager
    async def run(*arguments: str, **env: str) -> AsyncIterator[Process]:
        given = {name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")}
        given |= environment | {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "200000"}
        with (tmp_path / "serve.log").open("w") as said:
            process = await anyio.open_process(
                [sys.executable, "-m", "syncer", "serve", "--http", "127.0.0.1:0", *arguments],
                env={**given, "SYNCER_LOG_LEVEL": "info", **env},
                cwd=tmp_path,
                stdout=None,
                stderr=said,
            )
        async with process:
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    return run


def log(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines()]


async def get(tmp_path: Path, path: str) -> tuple[int, str]:
    [address] = [line["address"] for line in log(tmp_path) if line["event"] == "http.listening"]

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(address + path, timeout=10) as reply:  # noqa: S310
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await anyio.to_thread.run_sync(ask)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Metrics by name and the values of their labels, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_it_runs_at_start_and_on_sighup_and_ends_on_sigterm(
    serve: Serve, systemd: Systemd, tmp_path: Path, db: Any, world: World
) -> None:
    """READY, then the run's result as STATUS, WATCHDOG meanwhile; exit 0 and nothing half-done."""
    async with serve("--every", "1h") as process:
        told = await anyio.to_thread.run_sync(systemd.until, "STATUS=run 1 succeeded")
        assert {"READY=1", "WATCHDOG=1"} <= set(told)
        assert told[-1] == "STATUS=run 1 succeeded: 6 zones, 120 images, 120 changes"
        world.add_image("FRA-A")
        process.send_signal(signal.SIGHUP)
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 2 succeeded")
        await anyio.to_thread.run_sync(systemd.until, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
    assert "STOPPING=1" in await anyio.to_thread.run_sync(systemd.until, "STOPPING=1")
    assert [3600, 3600] == pytest.approx(
        [line["seconds"] for line in log(tmp_path) if line["event"] == "run.scheduled"], abs=80
    )
    await assert_exact(db, world)


async def test_sigterm_during_a_run_stores_what_was_read(  # noqa: PLR0917
    serve: Serve, systemd: Systemd, simulator: Simulator, db: Any, sync: Any, world: World
) -> None:
    """One zone hangs: the others are stored, the run is told partial, the exit code is 0."""
    simulator.add_fault("hang,zone=SEL-A")
    async with serve("--every", "1h") as process:
        while 5 > await db.fetchval("select count(*) from syncer_store.zone_scans"):
            await anyio.lowlevel.checkpoint()
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
    assert "partial" in (await anyio.to_thread.run_sync(systemd.until, "STATUS="))[-1]
    assert ("partial", 5, 100) == tuple(
        await db.fetchrow("select status, zones_changed, images from syncer.runs")
    )
    simulator.clear_faults()
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


async def until_something_waits_for_a_lock(db: Any) -> None:
    """Something in the test's database."""
    while not await db.fetchval("""
        select exists (select from pg_locks where not granted and database =
            (select oid from pg_database where datname = current_database()))"""):
        await anyio.lowlevel.checkpoint()


async def test_sigterm_before_a_run_began_ends_with_0(
    serve: Serve, systemd: Systemd, db: Any
) -> None:
    """The run waits for an older one's transaction: nothing is to be stored, the end is orderly."""
    await db.fetchval("select pg_advisory_lock($1)", lock_key("fence", "default"))
    async with serve("--every", "1h") as process:
        await until_something_waits_for_a_lock(db)
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
    assert "STOPPING=1" in await anyio.to_thread.run_sync(systemd.until, "STOPPING=1")


async def test_an_embedded_server_that_was_killed_is_started_again(
    serve: Serve, systemd: Systemd, tmp_path: Path, pg_bin: str | None
) -> None:
    """Killed, or ended by itself: the daemon that started it starts it again for its next run."""
    state = tmp_path / "state"
    embedded = {"SYNCER_DATABASE_URL": "", "SYNCER_PG_BIN": pg_bin or ""}
    async with serve("--every", "1h", SYNCER_STATE_DIR=str(state), **embedded) as process:
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 1 succeeded")
        [file] = (state / "postgres").glob("data-*/postmaster.pid")
        os.kill(int(file.read_text().split()[0]), signal.SIGKILL)
        process.send_signal(signal.SIGHUP)
        told = await anyio.to_thread.run_sync(systemd.until, "STATUS=")
        assert "succeeded: 6 zones, 120 images, 0 changes" in told[-1]
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
    assert not file.exists(), "and stopped in the end"


async def test_a_stuck_loop_stops_the_watchdog(serve: Serve, systemd: Systemd) -> None:
    """A process that does not get on says nothing; when it does, it speaks again."""
    async with serve("--every", "1h") as process:
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 1")
        process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(BlockingIOError):  # what was on its way
            while systemd.next(0):
                pass
        with pytest.raises(TimeoutError):  # five intervals of silence
            await anyio.to_thread.run_sync(systemd.next, 1.0)
        process.send_signal(signal.SIGCONT)
        await anyio.to_thread.run_sync(systemd.until, "WATCHDOG=1")


async def test_a_run_past_all_its_time_is_no_progress(systemd: Systemd) -> None:
    """The watchdog is told while the run may go on, and no more when it should have ended."""
    state = State(every=900)
    naps = 0

    async def nap(_: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 3:
            state.stuck_at = time.monotonic() - 1
        if naps == 6:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await keep_alive(Notify(str(systemd.path)), state, 1.0, sleep=nap)
    assert ["WATCHDOG=1"] * 3 == [systemd.next(0.01) for _ in range(3)]
    with pytest.raises(TimeoutError):
        systemd.next(0.01)
    assert not state.alive


async def test_a_clock_that_is_set_does_not_make_old_news_fresh(
    environment: dict[str, str], simulator: Simulator, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine starts years ahead and is set right: the success before grows old all the same."""
    settings, state = load(environment=environment), State(every=900)
    right = time.time

    async def once(stop: Stop) -> Report:
        return await run_once(run_options(settings), Server(url), stop=stop)

    async def between() -> None:
        daemon.end("one is enough")

    daemon = Daemon(
        once, between, schedule=Schedule(every=900, jitter=0, start=0), limit=1000,
        state=state, metrics=Metrics("default", live=True), notify=Notify(None),
    )  # fmt: skip
    monkeypatch.setattr(time, "time", lambda: right() + 9 * 365 * 86_400)
    await daemon.work()
    monkeypatch.undo()
    assert state.not_ready() is None
    later = time.monotonic() + 2701
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert "the last success was" in (state.not_ready() or "")


async def test_health_and_metrics_over_http(  # noqa: PLR0917
    serve: Serve, systemd: Systemd, simulator: Simulator, tmp_path: Path, db: Any, world: World
) -> None:
    """Alive, ready once a run succeeded, not ready with another schema; metrics as documented."""
    simulator.add_fault("status=503,zone=FRA-A,times=2")
    simulator.add_fault("status=429,zone=HKG-A,times=1")
    async with serve("--every", "1h") as process:
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 1 succeeded")
        assert (200, '{"alive": true}') == await get(tmp_path, "/livez")
        code, ready = await get(tmp_path, "/readyz")
        assert (200, True) == (code, json.loads(ready)["ready"])
        process.send_signal(signal.SIGHUP)
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 2 succeeded")
        code, text = await get(tmp_path, "/metrics")
        found = samples(text)
        assert 200 == code
        assert 2 == found["syncer_runs_total", "default", "succeeded"]
        assert 6 == found["syncer_zone_scans_total", "default", "vm", "unchanged"]
        assert 120 == found["syncer_image_changes_total", "default", "appeared", "vm"]
        assert 2 == found["syncer_calls_total", "default", "DescribeImages", "unreachable"]
        assert 1 == found["syncer_calls_total", "default", "DescribeImages", "throttled"]
        assert 12 == found["syncer_calls_total", "default", "DescribeImages", "ok"]
        assert 15 == found["syncer_call_duration_seconds_count", "default", "DescribeImages"]
        assert 20 == found["syncer_images_present", "default", "vm", "FRA-A"]
        assert 0 == found["syncer_removals_withheld", "default", "vm", "FRA-A"]
        assert 0 <= found["syncer_zone_seconds_since_complete", "default", "vm", "FRA-A"] < 60
        promtool("check", "metrics", given=text)
        await db.execute("update syncer_store.alembic_version set version_num = '0001'")
        code, why = await get(tmp_path, "/readyz")
        assert (503, False) == (code, json.loads(why)["ready"])
        assert "syncer db upgrade" in why
        assert 200 == (await get(tmp_path, "/livez"))[0]
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()


async def test_what_must_be_mended_first_ends_it_with_2(syncer: Any, empty_url: str) -> None:
    """A database without the schema: one line that says what to do, no endless retries."""
    done = await syncer("serve", "--http", "off", SYNCER_DATABASE_URL=empty_url)
    assert 2 == done.code
    assert "syncer db upgrade" in done.err
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        done = await syncer("serve", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (2, True) == (done.code, "--http" in done.err)
    assert 2 == (await syncer("serve", "--every", "0")).code
    assert 2 == (await syncer("serve", "--http", "nowhere")).code


async def test_what_worked_once_is_tried_again(db: Any, url: str, environment: Any) -> None:
    """The schema is another's for a while, after a run that succeeded: the daemon outlives it."""
    settings, state, told = load(environment=environment), State(every=900), list[str]()
    metrics = Metrics("default", live=True)

    async def once(stop: Stop) -> Report:
        version = "0001" if len(told) == 1 else revisions()[-1]
        await db.execute("update syncer_store.alembic_version set version_num = $1", version)
        return await run_once(
            run_options(settings), Server(url), stop=stop,
            observer=metrics,
        )  # fmt: skip

    async def between() -> None:
        told.append(state.last_result)
        if len(told) == 3:
            daemon.end("that is enough")

    async def sleep(_: float) -> None:
        await anyio.lowlevel.checkpoint()

    daemon = Daemon(
        once, between, schedule=Schedule(every=900, jitter=0, start=0), limit=1000,
        state=state, metrics=metrics, notify=Notify(None), sleep=sleep,
    )  # fmt: skip
    await daemon.work()
    assert "succeeded" in told[0]
    assert "syncer db upgrade" in told[1]
    assert "succeeded" in told[2]
    assert 1 == samples_of(metrics)["syncer_runs_total", "default", "failed"]


async def test_hours_of_serving_with_faults_leaks_nothing(
    environment: dict[str, str], simulator: Simulator, world: World, db: Any, url: str
) -> None:
    """Hours on a clock of our own (SYNCER_TEST_HOURS), a run every 15 minutes, many with a fault.

    No run is missed or doubled, and neither memory nor connections nor files grow.
    """
    faults = ("status=503,zone=FRA-A", "hang,zone=HKG-A", "empty_listing,zone=SEL-A",
              "truncate,probability=20%", "status=401,times=1", "total=+1,zone=LAX-A")  # fmt: skip
    settings = load(environment={**environment, "SYNCER_REQUEST_TIMEOUT": "0.05"})
    clock, begun, after = [0.0], list[float](), list[tuple[int, int, int]]()
    metrics = Metrics("default", live=True)
    server = Server(url)

    async def once(stop: Stop) -> Report:
        begun.append(clock[0])
        simulator.clear_faults()
        number = len(begun)
        if number % 4:
            simulator.add_fault(faults[number % len(faults)])
        world.change_image("FRA-A", sorted(world.images("FRA-A"))[0], imageVersion=str(number))
        clock[0] += 5.0
        return await run_once(
            quick(run_options(settings)), server, stop=stop, observer=metrics,
        )  # fmt: skip

    async def between() -> None:
        sessions = await db.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database()"
        )
        after.append((sessions, files(), resident()))
        if clock[0] >= HOURS * 3600:
            daemon.end("the day is over")

    async def sleep(seconds: float) -> None:
        clock[0] += seconds
        await anyio.lowlevel.checkpoint()

    daemon = Daemon(
        once, between, schedule=Schedule(every=900, jitter=60, start=0), limit=1000,
        state=State(every=900), metrics=metrics, notify=Notify(None),
        now=lambda: clock[0], sleep=sleep,
    )  # fmt: skip
    await daemon.work()

    slots = [int(moment // 900) for moment in begun]
    assert set(range(HOURS * 4)) <= set(slots), "a moment was missed"
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(begun))
    runs = await db.fetchval("select count(*) from syncer.runs")
    counted = [v for name, v in samples_of(metrics).items() if name[0] == "syncer_runs_total"]
    assert len(begun) == runs == sum(counted)
    assert 0 == await db.fetchval("select count(*) from syncer.runs where status = 'running'")
    half = len(after) // 2
    # A session that ends is seen a moment longer; one a run would make dozens.
    for what, most in (("sessions", 2), ("files", 0), ("memory", 8 << 20)):
        place = ("sessions", "files", "memory").index(what)
        early, late = (max(each[place] for each in part) for part in (after[:half], after[half:]))
        assert late <= early + most, f"{what} grow"


def samples_of(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def promtool(*arguments: str, given: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        return  # .ci/run installs it
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


# --- the file of a cron run


async def test_a_cron_run_leaves_metrics_in_a_file(
    syncer: Any, tmp_path: Path, world: World, simulator: Simulator
) -> None:
    """What is counted goes on from run to run; gauges are the last run's; promtool approves."""
    path = tmp_path / "syncer.prom"
    assert 0 == (await syncer("sync", SYNCER_METRICS_FILE=str(path))).code
    world.add_image("FRA-A")
    assert 0 == (await syncer("sync", SYNCER_METRICS_FILE=str(path))).code
    simulator.add_fault("status=401")
    assert 1 == (await syncer("sync", SYNCER_METRICS_FILE=str(path))).code
    text = path.read_text()
    found = samples(text)
    assert 2 == found["syncer_runs_total", "default", "succeeded"]
    assert 1 == found["syncer_runs_total", "default", "failed"]
    assert 121 == found["syncer_image_changes_total", "default", "appeared", "vm"]
    assert 12 == found["syncer_call_duration_seconds_count", "default", "DescribeImages"]
    assert 12 == found["syncer_calls_total", "default", "DescribeImages", "ok"]
    assert 1 == found["syncer_calls_total", "default", "DescribeZones", "denied"]
    assert 1 == found["syncer_last_run_exit_code", "default"]
    assert 21 == found["syncer_images_present", "default", "vm", "FRA-A"]
    assert "syncer_zone_seconds_since_complete" not in text, "an age in a file would stand still"
    promtool("check", "metrics", given=text)
    assert [path] == sorted(tmp_path.glob("syncer.prom*")), "nothing is left beside it"  # noqa: ASYNC240


async def test_runs_that_fail_do_not_hide_the_last_success_nor_the_zones(
    syncer: Any, tmp_path: Path, simulator: Simulator
) -> None:
    """Neither a refusal nor a database that is away takes from the file what alerts go by."""
    path = tmp_path / "syncer.prom"
    assert 0 == (await syncer("sync", SYNCER_METRICS_FILE=str(path))).code
    before = samples(path.read_text())
    gauges = {name for name in before if name[0].startswith(("syncer_zone_last", "syncer_images"))}
    assert 12 == len(gauges)
    gauges.add(("syncer_last_success_timestamp_seconds", "default"))
    simulator.add_fault("status=401")
    assert 1 == (await syncer("sync", SYNCER_METRICS_FILE=str(path))).code
    away = {"SYNCER_METRICS_FILE": str(path), "SYNCER_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    assert 1 == (await syncer("sync", **away)).code
    after = samples(path.read_text())
    assert {name: before[name] for name in gauges} == {name: after[name] for name in gauges}
    assert 2 == after["syncer_runs_total", "default", "failed"]
    assert 1 == after["syncer_last_run_exit_code", "default"]
    promtool("check", "metrics", given=path.read_text())
    assert 1 == (await syncer("sync", "--account", "other", **away)).code
    other = samples(path.read_text())
    assert ("syncer_last_success_timestamp_seconds", "other") not in other
    assert gauges.isdisjoint(other), "of an account that no run tells of any more"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LockHeld("another"), ("held", 5)),
        (Superseded("a newer one"), ("failed", 5)),
        (Interrupted("told to stop"), ("failed", 3)),
        (asyncio.CancelledError(), ("failed", 3)),
        (ConfigError("a setting"), ("failed", 2)),
        (DatabaseGone("away"), ("failed", 1)),
    ],
)
def test_the_exit_code_in_the_file_is_the_run_s(
    error: BaseException, told: tuple[str, int]
) -> None:
    """As the README has it, and as the process ends (see ``cli.common.run``)."""
    assert told == ended_by(error)


async def test_zones_grow_old_while_the_database_is_away(
    environment: dict[str, str], url: str, sync: Any
) -> None:
    """A database that does not answer is no reason for the daemon to forget its zones."""
    assert 0 == (await sync()).exit_code
    metrics = Metrics("default", live=True)
    metrics.know(await stored_zones(Server(url), "default"))
    metrics.know(await stored_zones(Server("postgresql://x@127.0.0.1:1/x"), "default"))
    found = samples_of(metrics)
    assert 20 == found["syncer_images_present", "default", "vm", "FRA-A"]
    assert 0 <= found["syncer_zone_seconds_since_complete", "default", "vm", "FRA-A"] < 60


async def test_a_metrics_file_that_cannot_be_written_fails_no_run(
    syncer: Any, tmp_path: Path
) -> None:
    """The run is stored, its exit code stays, and one line says what to do; rubbish is replaced."""
    done = await syncer(
        "sync", SYNCER_METRICS_FILE=str(tmp_path / "none" / "x.prom"), SYNCER_LOG_LEVEL="warning"
    )
    assert (0, True) == (done.code, "SYNCER_METRICS_FILE" in done.err)
    for rubbish in (b"\xff{{{ 12", b"{, =a}"):
        (tmp_path / "x.prom").write_bytes(rubbish)
        assert 0 == (await syncer("sync", SYNCER_METRICS_FILE=str(tmp_path / "x.prom"))).code
        found = samples((tmp_path / "x.prom").read_text())
        assert 1 == found["syncer_runs_total", "default", "succeeded"]


@pytest.mark.parametrize("behind_a_link", [False, True])
async def test_what_is_no_file_is_not_replaced_by_metrics(
    syncer: Any, tmp_path: Path, behind_a_link: bool
) -> None:
    """A pipe (or /dev/null, /dev/zero): neither read for ever nor gone afterwards."""
    pipe = named = tmp_path / "x.prom"
    os.mkfifo(pipe)
    if behind_a_link:
        named = tmp_path / "link.prom"
        named.symlink_to(pipe)
    with anyio.fail_after(20):
        done = await syncer("sync", SYNCER_METRICS_FILE=str(named), SYNCER_LOG_LEVEL="warning")
    assert (0, True) == (done.code, "SYNCER_METRICS_FILE" in done.err)
    assert pipe.is_fifo()
    assert behind_a_link == named.is_symlink()
