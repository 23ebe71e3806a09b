"""The daemon as a process: its signals, and what systemd, HTTP and Prometheus see of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from prometheus_client.parser import text_string_to_metric_families

from syncer.simulator import Simulator, World
from syncer.store.connection import Server
from tests.support import assert_exact, until

pytestmark = pytest.mark.any_server


class Systemd:
    """A stand-in for systemd's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        # Read as they come: the kernel keeps ten, and the next, a STATUS perhaps, is dropped.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self._messages.put(message.decode())

    def next(self, within: float = 20.0) -> str:
        try:
            return self._messages.get(timeout=within)
        except queue.Empty:
            raise TimeoutError from None

    def until(self, beginning: str) -> list[str]:
        messages = [self.next()]
        while not messages[-1].startswith(beginning):
            messages.append(self.next())
        return messages

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
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
        with (tmp_path / "serve.log").open("w") as output:
            process = await anyio.open_process(
                [sys.executable, "-m", "syncer", "serve", "--http", "127.0.0.1:0", *arguments],
                env={**given, "SYNCER_LOG_LEVEL": "info", **env},
                cwd=tmp_path,
                stdout=None,
                stderr=output,
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
        messages = await anyio.to_thread.run_sync(systemd.until, "STATUS=run 1 succeeded")
        assert {"READY=1", "WATCHDOG=1"} <= set(messages)
        assert messages[-1] == "STATUS=run 1 succeeded: 6 zones, 120 images, 120 changes"
        world.add_image("FRA-A")
        process.send_signal(signal.SIGHUP)
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 2 succeeded")
        await until(lambda: 2 == sum(line["event"] == "run.scheduled" for line in log(tmp_path)))
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
    """One zone hangs: the others are stored, the run is partial, the exit code is 0."""
    simulator.add_fault("hang,zone=SEL-A")
    async with serve("--every", "1h") as process:
        await until(lambda: db.fetchval("select count(*) >= 5 from syncer_store.zone_scans"))
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
    waits = """
        select exists (select from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock')"""
    await until(lambda: db.fetchval(waits))


async def test_sigterm_before_a_run_began_ends_with_0(
    serve: Serve, systemd: Systemd, url: str, db: Any
) -> None:
    """The run waits for an older one's transaction: nothing is to be stored, the end is orderly."""
    await db.execute("insert into syncer_store.accounts (account) values ('default')")
    async with Server(url).session() as other, other.transaction():
        await other.execute("select from syncer_store.accounts for update")
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
        messages = await anyio.to_thread.run_sync(systemd.until, "STATUS=")
        assert "succeeded: 6 zones, 120 images, 0 changes" in messages[-1]
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
    assert not file.exists(), "and stopped in the end"


async def test_a_stuck_loop_stops_the_watchdog(serve: Serve, systemd: Systemd) -> None:
    """A process that does not get on says nothing; when it does, it speaks again."""
    async with serve("--every", "1h") as process:
        await anyio.to_thread.run_sync(systemd.until, "STATUS=run 1")
        process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(TimeoutError):  # what was on its way
            while systemd.next(0):
                pass
        with pytest.raises(TimeoutError):  # five intervals of silence
            await anyio.to_thread.run_sync(systemd.next, 1.0)
        process.send_signal(signal.SIGCONT)
        await anyio.to_thread.run_sync(systemd.until, "WATCHDOG=1")


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
        replies = list[tuple[int, str]]()

        async def is_unfit() -> bool:  # what was found is believed for a second
            replies.append(await get(tmp_path, "/readyz"))
            return replies[-1][0] == 503

        await until(is_unfit)
        why = replies[-1][1]
        assert not json.loads(why)["ready"]
        assert "syncer db upgrade" in why
        assert 200 == (await get(tmp_path, "/livez"))[0]
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()


async def test_what_must_be_fixed_first_ends_it_with_2(syncer: Any, empty_url: str) -> None:
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


def promtool(*arguments: str, given: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        return  # .ci/run installs it
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


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
    assert 18 == len(gauges)
    gauges.add(("syncer_last_success_timestamp_seconds", "default"))
    simulator.add_fault("status=401")
    assert 1 == (await syncer("sync", SYNCER_METRICS_FILE=str(path))).code
    away = {"SYNCER_METRICS_FILE": str(path), "SYNCER_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    assert 1 == (await syncer("sync", **away)).code
    after = samples(path.read_text())
    # Times of zones are by this host's clock, and known by an age: to the second.
    assert pytest.approx({name: before[name] for name in gauges}, abs=1, rel=0) == {
        name: after[name] for name in gauges
    }
    assert 2 == after["syncer_runs_total", "default", "failed"]
    assert 1 == after["syncer_last_run_exit_code", "default"]
    promtool("check", "metrics", given=path.read_text())
    assert 1 == (await syncer("sync", "--account", "other", **away)).code
    other = samples(path.read_text())
    assert ("syncer_last_success_timestamp_seconds", "other") not in other
    assert gauges.isdisjoint(other), "the file is of the account that ran last"


async def test_a_metrics_file_that_cannot_be_written_fails_no_run(
    syncer: Any, tmp_path: Path
) -> None:
    """The run is stored, its exit code stays, and one line says what to do; rubbish is replaced."""
    done = await syncer(
        "sync", SYNCER_METRICS_FILE=str(tmp_path / "none" / "x.prom"), SYNCER_LOG_LEVEL="warning"
    )
    assert (0, True) == (done.code, "SYNCER_METRICS_FILE" in done.err)
    runs = b'syncer_runs_total{account="default",status="succeeded"} '
    for rubbish in (b"\xff{{{ 12", b"{, =a}", runs + b"NaN\n", runs + b"+Inf\n"):
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


async def test_each_account_has_a_schedule_of_its_own(
    serve: Serve, systemd: Systemd, tmp_path: Path, simulator: Simulator, db: Any
) -> None:
    """All run at start and on SIGHUP, then in turns; health and metrics have each of them."""
    simulator.gate.access_keys["K-two"] = "s3cr3t-two"
    file = tmp_path / "accounts.toml"
    file.write_text(
        '[accounts.two]\naccess_key_id = "K-two"\naccess_key_secret = "s3cr3t-two"\n'
        '[accounts.three]\naccess_key_id = "K-three"\naccess_key_secret = "s3cr3t-three"\n'
    )
    file.chmod(0o600)
    env = {"SYNCER_CONFIG": str(file), "SYNCER_ACCOUNT": "one"}
    async with serve("--every", "1h", "--jitter", "0s", **env) as process:
        ended = [f"STATUS={name}: run " for name in ("one", "two", "three")]

        def scheduled() -> list[dict[str, Any]]:
            return [line for line in log(tmp_path) if line["event"] == "run.scheduled"]

        await until(lambda: 3 == len(scheduled()))
        code, body = await get(tmp_path, "/readyz")
        ready = json.loads(body)
        assert (503, {"one": True, "two": True, "three": False}) == (
            code,
            {name: each["ready"] for name, each in ready["accounts"].items()},
        )
        assert "account three: no run has succeeded yet" in ready["why"]
        found = samples((await get(tmp_path, "/metrics"))[1])
        codes = {name: found["syncer_last_run_exit_code", name] for name in ("one", "two", "three")}
        assert {"one": 0, "two": 0, "three": 1} == codes
        assert 20 == found["syncer_images_present", "two", "vm", "FRA-A"]
        seconds = {line["account"]: line["seconds"] for line in scheduled()}
        assert 3600 == pytest.approx(seconds["one"], abs=30)
        assert 1200 == pytest.approx(seconds["two"], abs=30)
        assert seconds["three"] > 2000  # refused: later, in its own turn

        simulator.gate.access_keys["K-three"] = "s3cr3t-three"
        process.send_signal(signal.SIGHUP)
        await until(lambda: 6 == len(scheduled()))
        assert 200 == (await get(tmp_path, "/readyz"))[0]
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
    messages = await anyio.to_thread.run_sync(systemd.until, "STOPPING=1")
    assert all(any(m.startswith(text) for m in messages) for text in ended), messages
    runs = await db.fetch("select account, count(*) from syncer.runs group by 1 order by 1")
    assert {"one": 2, "two": 2, "three": 2} == dict(runs)
