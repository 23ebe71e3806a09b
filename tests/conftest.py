"""A real PostgreSQL for the tests: one server a worker, one database a test."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import asyncpg
import click
import msgspec
import pytest
import structlog
from click.testing import CliRunner

from syncer import log
from syncer.app import run_options
from syncer.cli import GARBAGE_THRESHOLD, cli
from syncer.config.settings import Settings, load
from syncer.core.backoff import Backoff
from syncer.embedded import EmbeddedPostgres
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.connection import Server, Timing
from syncer.store.migrate import upgrade
from syncer.store.open import given_server
from syncer.sync.options import RunOptions
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from syncer.zenlayer import credentials
from tests.support import Done, Migrated, connected, database, folder_for_data

KEY, SECRET = "test-key", "test-secret"
QUICK = credentials.Timing(challenge=0.01, retry=Backoff(first=0.001, last=0.002))
"""How long runs wait for the API."""
UNSAFE_AND_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

Sync = Callable[..., Any]


@pytest.fixture(autouse=True, scope="module")
def _no_garbage_of_other_files() -> None:
    """What was imported or is kept of tests before is not looked through again and again.

    The daemon looks for garbage after each run, which takes a tenth of a second else.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_the_machine() -> Iterator[None]:
    """No test sees credentials or a database of whoever runs it."""
    names = [n for n in os.environ if n.startswith(("ZENLAYER", "SYNCER_", "PG", "XDG_"))]
    saved = {name: os.environ.pop(name) for name in names}
    yield
    os.environ.update(saved)


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    log.configure("json", "error")


@pytest.fixture
def warnings() -> Iterator[list[Any]]:
    """What is logged as a warning or worse."""
    log.configure("json", "warning")
    with structlog.testing.capture_logs() as entries:
        yield entries
    log.configure("json", "error")


@pytest.fixture(scope="session")
def pg_bin() -> str | None:
    """``SYNCER_PG_BIN=/usr/lib/postgresql/15/bin make test`` runs the suite on that version."""
    return _PG_BIN


_PG_BIN = os.environ.get("SYNCER_PG_BIN") or None


@pytest.fixture(scope="session")
async def postgres(pg_bin: str | None) -> AsyncIterator[EmbeddedPostgres]:
    with folder_for_data() as home:
        async with EmbeddedPostgres(
            home,
            pg_bin=pg_bin,
            settings={**UNSAFE_AND_FAST, "wal_level": "logical"},
            die_with_parent=True,
        ) as server:
            yield server


@pytest.fixture
def data_home() -> Iterator[Path]:
    """Where a test may have a server of its own."""
    with folder_for_data() as folder:
        yield folder / "pg"


@pytest.fixture(scope="session")
async def administrator(postgres: EmbeddedPostgres) -> AsyncIterator[Any]:
    """A connection that makes and drops the databases of tests."""
    async with connected(postgres.dsn("postgres")) as connection:
        yield connection


@pytest.fixture(scope="session")
async def migrated(postgres: EmbeddedPostgres, administrator: Any) -> Migrated:
    """A migrated database, to be copied."""
    await administrator.execute("create database template_syncer")
    made = Migrated(postgres, administrator, "template_syncer")
    await upgrade(Server(made.url))
    return made


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres, administrator: Any) -> AsyncIterator[str]:
    """The URL of a database in which nothing is."""
    async with database(postgres, administrator) as url:
        yield url


@pytest.fixture
async def url(migrated: Migrated) -> AsyncIterator[str]:
    """The URL of a migrated, empty database."""
    async with migrated.copy() as url:
        yield url


@pytest.fixture
async def db(url: str) -> AsyncIterator[Any]:
    """A connection to the test's database, as its owner."""
    async with connected(url) as connection:
        await connection.execute("set timezone to 'UTC'")
        yield connection


@pytest.fixture
def world() -> World:
    """A small cloud: six zones of twenty images."""
    return World.generate(seed=1, zones=6, images=20)


@pytest.fixture
async def simulator(world: World) -> AsyncIterator[Simulator]:
    async with Simulator(
        world, SimulatorOptions(access_keys={KEY: SECRET}, tokens={"test-token"})
    ) as running:
        yield running


@pytest.fixture
def environment(simulator: Simulator, url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a run against the simulator and the test's database."""
    return {
        "HOME": str(tmp_path),
        "ZENLAYER_ENDPOINT": simulator.endpoint,
        "ZENLAYER_ACCESS_KEY_ID": KEY,
        "ZENLAYER_ACCESS_KEY_SECRET": SECRET,
        "SYNCER_DATABASE_URL": url,
        "SYNCER_LOG_LEVEL": "error",
    }


def quick(options: RunOptions) -> RunOptions:
    """The same run with short waits for the API."""
    api = msgspec.structs.replace(options.api, timing=QUICK)
    return msgspec.structs.replace(options, api=api)


@pytest.fixture
def timing() -> Timing:
    """How long runs wait for the database; a file whose database goes away has its own."""
    return Timing()


@pytest.fixture(scope="session")
async def dropped() -> AsyncIterator[None]:
    """Errors of lost connections, in futures that asyncpg drops, fail no test: ``log._is_news``."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def heed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        lost = isinstance(context.get("exception"), asyncpg.ConnectionDoesNotExistError)
        if not lost and before is not None:
            before(loop, context)

    loop.set_exception_handler(heed)
    yield
    loop.set_exception_handler(before)


@pytest.fixture
def sync(environment: dict[str, str], timing: Timing, dropped: None) -> Sync:
    """Do one run, as ``syncer sync`` does it but with short waits; returns the report."""

    async def run(
        *,
        zones: tuple[str, ...] = (),
        not_zones: tuple[str, ...] = (),
        full: bool = False,
        dry_run: bool = False,
        stop: Stop | None = None,
        wait: Timing | None = None,
        **env: str,
    ) -> Report:
        settings: Settings = load(environment={**environment, **env})
        server = given_server(settings.database)
        server.timing = wait or timing
        return await run_once(
            quick(
                run_options(
                    settings.account, zones=zones, not_zones=not_zones, full=full, dry_run=dry_run
                )
            ),
            server,
            stop=stop or Stop(),
        )

    return run


_OF_THEIR_OWN = {"doctor", "serve", "demo", "bench", "simulate"}
"""Commands that start processes, end theirs, or end when they are signalled."""


def _on_the_loop_of_the_test(work: Callable[[], Awaitable[Any]]) -> Any:
    """Do what a command hands to ``anyio.run``; click's context belongs to the calling thread."""
    context = click.get_current_context()

    async def in_context() -> Any:
        with context.scope(cleanup=False):
            return await work()

    return anyio.from_thread.run(in_context)


@pytest.fixture
def syncer(environment: dict[str, str], tmp_path: Path, process: Any) -> Any:
    """Run the command with the test's environment, in an empty folder, in this process.

    click parses and prints in a thread; the command's own work is done on the test's event loop.
    ``process`` runs any command as a user does: for what belongs to a process (signals, pipes,
    exit handlers, tracebacks).
    """
    one_at_a_time = anyio.Lock()  # a process has one stdout and one environment

    async def run(*arguments: str, stdin: bytes = b"", **env: str) -> Done:
        if not arguments or arguments[0] in _OF_THEIR_OWN:
            done: Done = await process(*arguments, stdin=stdin, **env)
            return done
        invoke = functools.partial(
            CliRunner().invoke,
            cli,
            arguments,
            input=stdin,
            env={**environment, **env},
            catch_exceptions=False,
            prog_name="syncer",
        )
        async with one_at_a_time:
            with contextlib.chdir(tmp_path), pytest.MonkeyPatch.context() as patched:
                patched.setattr(anyio, "run", _on_the_loop_of_the_test)
                try:
                    result = await anyio.to_thread.run_sync(invoke)
                finally:
                    log.configure("json", "error")  # to this process's stderr again
        return Done(result.exit_code, result.stdout_bytes.decode(), result.stderr_bytes.decode())

    return run


@pytest.fixture
def process(environment: dict[str, str], tmp_path: Path) -> Any:
    """Run the command in a process of its own, in an empty folder, with the test's environment."""

    async def run(*arguments: str, stdin: bytes = b"", **env: str) -> Done:
        inherited = {name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")}
        done = await anyio.run_process(
            [sys.executable, "-m", "syncer", *arguments],
            check=False,
            env={**inherited, **environment, **env},
            input=stdin,
            cwd=tmp_path,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
