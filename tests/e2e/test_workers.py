"""Workers as processes, with the queue behind PgBouncer: each account once a round, come what may.

``SYNCER_TEST_WORKERS=4x200`` does it with as many workers and accounts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
from anyio.abc import Process

from syncer import serve
from syncer.embedded import EmbeddedPostgres
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.connection import Server
from syncer.store.migrate import upgrade
from tests.pooler import pooler
from tests.support import Migrated, served, stored, until

pytestmark = pytest.mark.any_server

WORKERS, ACCOUNTS = map(int, os.environ.get("SYNCER_TEST_WORKERS", "3x6").split("x"))
EVERY = max(2, ACCOUNTS // 5)
NAMES = [f"account-{number}" for number in range(ACCOUNTS)]
PROGRAM = Path(__file__).parents[1] / "worker.py"


class Fleet:
    """Workers on one database: processes by their names there."""

    def __init__(self, db: Any, environment: dict[str, str], folder: Path) -> None:
        self.db = db
        self._environment = environment
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self.processes: dict[int, Process] = {}

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self) -> Process:
        """Start a worker."""
        log = self._stack.enter_context((self._folder / f"{len(self.processes)}.log").open("w"))
        process = await anyio.open_process(
            [sys.executable, str(PROGRAM)], env=self._environment, stdout=None, stderr=log
        )
        self._stack.push_async_callback(self._end, process)
        self.processes[process.pid] = process
        return process

    @staticmethod
    async def _end(process: Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.aclose()

    async def at_work(self, *, but: int | None = None) -> Process:
        """Wait until a worker (``but`` one) has a run under way, and return it."""
        found: list[int] = []

        async def seen() -> bool:
            found[:] = [
                row["pid"]
                for row in await self.db.fetch("""
                    select w.pid from syncer.account_schedule as s join syncer.workers as w
                    using (worker) where s.state = 'running'""")
                if row["pid"] != but
            ]
            return bool(found)

        await until(seen)
        return self.processes[found[0]]

    async def each_was_crawled(self) -> None:
        """Wait until each account has had a run that began after now, and was well."""
        last = await self.db.fetchval("select coalesce(max(run_id), 0) from syncer.runs")

        async def done() -> bool:
            crawled: int = await self.db.fetchval(
                "select count(distinct account) from syncer.runs "
                "where run_id > $1 and status = 'succeeded'",
                last,
            )
            return crawled == ACCOUNTS

        with anyio.fail_after(20 + 3 * EVERY):
            while not await done():  # noqa: ASYNC110
                await anyio.sleep(0.05)


@pytest.fixture
async def server(data_home: Path, pg_bin: str | None) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL that can be restarted."""
    async with EmbeddedPostgres(data_home, pg_bin=pg_bin, die_with_parent=True) as postgres:
        await upgrade(Server(postgres.dsn()))
        yield postgres


@pytest.fixture
async def cloud() -> AsyncIterator[Simulator]:
    """One world for all accounts; a run of one takes a while."""
    keys = {f"K-{name}": f"s3cr3t-{name}" for name in NAMES}
    world = World.generate(seed=3, zones=3, images=8)
    async with Simulator(world, SimulatorOptions(access_keys=keys, latency=0.15)) as simulator:
        yield simulator


@pytest.fixture
async def fleet(
    server: EmbeddedPostgres, cloud: Simulator, tmp_path: Path
) -> AsyncIterator[Callable[[str], Fleet]]:
    """Make workers of all accounts, whose queue is at a URL."""
    file = tmp_path / "accounts.toml"
    file.write_text(
        "".join(
            f'[accounts.{name}]\naccess_key_id = "K-{name}"\naccess_key_secret = "s3cr3t-{name}"\n'
            for name in NAMES
        )
    )
    file.chmod(0o600)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROGRAM.parents[1]),
        "HOME": str(tmp_path),
        "SYNCER_CONFIG": str(file),
        "SYNCER_EVERY": f"{EVERY}s",
        "SYNCER_ACCOUNTS_AT_ONCE": "3",
        "SYNCER_HTTP": "off",
        "SYNCER_DATABASE_URL": server.dsn(),
        "ZENLAYER_ENDPOINT": cloud.endpoint,
    }
    connection = await asyncpg.connect(server.dsn())
    yield lambda queue: Fleet(connection, {**environment, "SYNCER_QUEUE_URL": queue}, tmp_path)
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close()


@pytest.mark.timeout(120)  # half a minute of rounds, on a machine that does nothing else
async def test_each_account_once_a_round_come_what_may(
    fleet: Callable[[str], Fleet], server: EmbeddedPostgres, cloud: Simulator
) -> None:
    """One worker killed, one asked to end, PostgreSQL restarted, the queue through PgBouncer.

    Every account is crawled once a round, none by two at a time, and none is lost.
    """
    async with pooler(server.dsn(), pool_mode="transaction") as queue, fleet(queue) as workers:
        for _ in range(WORKERS):
            await workers.start()
        await workers.each_was_crawled()

        killed = await workers.at_work()
        killed.kill()
        assert -signal.SIGKILL == await killed.wait()
        await workers.each_was_crawled()

        drained = await workers.at_work(but=killed.pid)
        drained.send_signal(signal.SIGTERM)
        assert 0 == await drained.wait()
        await workers.start()
        await workers.each_was_crawled()

        await workers.at_work(but=drained.pid)
        os.kill(server.running_pid or 0, signal.SIGINT)
        await until(lambda: server.running_pid is None)
        await server.revive()
        workers.db = await asyncpg.connect(server.dsn())
        await workers.each_was_crawled()

        for process in workers.processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        codes = [await process.wait() for process in workers.processes.values()]
        assert Counter({0: WORKERS, -signal.SIGKILL: 1}) == Counter(codes)
        await assert_each_once_a_round(workers.db)
        left = await workers.db.fetch("select pid from syncer.workers")
        assert [killed.pid] == [row["pid"] for row in left]  # it did not say that it ended
        for name in NAMES:
            assert served(cloud.world) == await stored(workers.db, f"account = '{name}'")
        await workers.db.close()


def asked(address: str) -> tuple[int, str]:
    """Ask over HTTP."""
    try:
        with urllib.request.urlopen(address, timeout=10) as reply:  # noqa: S310  (of our own)
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_one_worker_from_its_start_to_its_end(
    environment: dict[str, str], simulator: Simulator, db: Any, tmp_path: Path
) -> None:
    """The command: it shows what it does, ends after its run, and sooner when asked twice."""
    simulator.add_fault("hang,zone=SEL-A")
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "syncer", "worker", "--http", "127.0.0.1:0"]
    env = {**given, **environment, "SYNCER_LOG_LEVEL": "info"}
    with log.open("w") as output:
        process = await anyio.open_process(command, env=env, stdout=None, stderr=output)

    def said(event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, log.read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    async with process:
        try:
            await until(lambda: db.fetchval("select count(*) >= 5 from syncer_store.zone_scans"))
            [address] = [line["address"] for line in said("http.listening")]
            assert 200 == (await anyio.to_thread.run_sync(asked, f"{address}/livez"))[0]
            assert 200 == (await anyio.to_thread.run_sync(asked, f"{address}/readyz"))[0]
            _, metrics = await anyio.to_thread.run_sync(asked, f"{address}/metrics")
            assert 'syncer_workers{state="working"} 1.0' in metrics
            assert 'syncer_calls_total{account="default"' in metrics
            process.send_signal(signal.SIGTERM)
            await until(lambda: db.fetchval("select draining from syncer.workers"))
            code, why = await anyio.to_thread.run_sync(asked, f"{address}/readyz")
            assert (503, True) == (code, "takes no more accounts" in why)
            assert "running" == await db.fetchval("select state from syncer.account_schedule")
            process.send_signal(signal.SIGTERM)
            assert 0 == await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert ("partial", 5) == tuple(
        await db.fetchrow("select status, zones_changed from syncer.runs")
    )
    assert [1, 1] == [line["under_way"] for line in said("worker.ending")]
    result = await db.fetchval("select result from syncer.account_schedule")
    assert result.startswith("run 1 partial: ")
    assert 0 == await db.fetchval("select count(*) from syncer.workers")


async def test_what_keeps_a_worker_from_beginning(
    syncer: Any, db: Any, migrated: Migrated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to do, exit 2: no queue, another database's, no procrastinate."""

    async def line(**env: str) -> str:
        done = await syncer("worker", "--http", "off", **env)
        assert (2, 1) == (done.code, len(done.err.splitlines())), done.err
        return str(done.err)

    assert "no worker crawls an account 'x'" in (await syncer("worker", "--forget", "x")).err
    assert "correct SYNCER_QUEUE_URL" in await line(SYNCER_QUEUE_URL=migrated.url)
    await db.execute("drop schema syncer_queue cascade")
    assert "has no queue; run" in await line()
    for module in ("procrastinate", "syncer.serve.worker", "syncer.serve.distribution"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(serve, "worker", raising=False)
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    assert "pip install 'syncer[distributed]'" in await line()


async def assert_each_once_a_round(db: Any) -> None:
    """No run beside another of its account, none twice in a round, nothing left behind."""
    runs = await db.fetch(
        "select account, clock_at, started_at, finished_at, status from syncer.runs order by run_id"
    )
    # Some may have met PostgreSQL while it was away.
    assert {"succeeded", "crashed", "failed"} >= {run["status"] for run in runs}
    assert sum(run["status"] == "crashed" for run in runs) <= 3  # of the one that was killed
    rounds: Counter[tuple[str, int]] = Counter()
    ended: dict[str, Any] = {}
    for run in runs:
        account = run["account"]
        assert account not in ended or ended[account] <= run["started_at"], run
        ended[account] = run["finished_at"] or ended.get(account, run["started_at"])
        if run["status"] == "succeeded":
            start = zlib.crc32(account.encode()) % EVERY
            rounds[account, int((run["clock_at"].timestamp() - start) // EVERY)] += 1
    assert {1} == set(rounds.values())
    assert 0 == await db.fetchval(
        "select count(*) from syncer_queue.procrastinate_jobs where status <> 'todo'"
    )
    states = {row[0] for row in await db.fetch("select state from syncer.account_schedule")}
    assert states <= {"waiting", "due", "late"}
