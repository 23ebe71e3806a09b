"""An embedded inventory is moved whole or not at all, and is then where the next command looks."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import asyncpg
import pytest
from anyio.streams.text import TextReceiveStream

from syncer.embedded import EmbeddedPostgres, find_binaries
from syncer.store.connection import Server, sql
from syncer.store.migrate import as_sql, upgrade
from tests.conftest import UNSAFE_AND_FAST
from tests.embedded.tools import PG15, needs_pg15, nothing_runs
from tests.past import Past
from tests.support import Done, folder_for_data, until

OURS = find_binaries(None)
ACCOUNTS = range(2)

pytestmark = pytest.mark.timeout(120)


async def answers(dsn: str) -> dict[str, str]:
    """A hash of every view of the contract, by its name."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set timezone to 'UTC'")
        views = await connection.fetch("""
            select relname from pg_class
            where relnamespace = 'syncer'::regnamespace and relkind = 'v'""")
        return {
            name: await connection.fetchval(f"""
                select count(*) || md5(coalesce(string_agg(v::text, '|' order by v::text), ''))
                from syncer.{name} as v""")
            for (name,) in views
        }
    finally:
        await connection.close()


async def fill(dsn: str) -> None:
    await upgrade(Server(dsn))
    connection = await asyncpg.connect(dsn)
    try:
        for seed in ACCOUNTS:
            past = Past(seed, datetime(2026, 1, 1, tzinfo=UTC), runs=25, account=f"a{seed}")
            await past.write(connection)
    finally:
        await connection.close()


def locks() -> list[str]:
    """The locks of files that are held on this machine, each with the file's inode."""
    return Path("/proc/locks").read_text().splitlines()


class Home:
    """A state directory with an inventory in it, and commands there."""

    def __init__(self, process: Any, state: Path, programs: Path, before: dict[str, str]) -> None:
        self.process = process
        self.state = state
        self.postgres = state / "postgres"
        self.programs = programs
        self.before = before
        self.environment = {"SYNCER_DATABASE_URL": "", "SYNCER_STATE_DIR": str(state)}

    async def syncer(self, *arguments: str, **env: str) -> Done:
        done: Done = await self.process(*arguments, **self.environment, **env)
        return done

    @property
    def data(self) -> list[str]:
        """The data directories, without the stamps of those that were moved away."""
        names = (path.name for path in self.postgres.glob("data-*"))
        return sorted(name.partition("moved-")[0] for name in names)

    async def take_turn(self) -> int:
        """Take the lock of who starts or stops the old server, once a command has that for itself.

        The command needs the lock again to stop it.
        """
        (run,) = self.postgres.glob(f"run-{find_binaries(str(self.programs)).major}")
        users = f":{(run / 'users.lock').stat().st_ino} "
        await until(lambda: any(users in lock and " WRITE " in lock for lock in locks()))
        turn = os.open(run / "turn.lock", os.O_RDWR | os.O_CLOEXEC)
        await anyio.to_thread.run_sync(fcntl.flock, turn, fcntl.LOCK_EX)
        return turn

    def embedded(self, programs: Path | None = None) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            self.postgres, pg_bin=str(programs or self.programs), settings=UNSAFE_AND_FAST
        )


@pytest.fixture(scope="module")
async def template_home(anyio_backend: str) -> AsyncIterator[tuple[Path, Path, dict[str, str]]]:
    """A home with a past, of the other major where there is one, its programs, and its answers."""
    programs = PG15 if PG15.is_dir() and OURS.major != 15 else OURS.directory
    with folder_for_data() as state:
        async with EmbeddedPostgres(
            state / "postgres", pg_bin=str(programs), settings=UNSAFE_AND_FAST
        ) as server:
            await fill(server.dsn())
            before = await answers(server.dsn())
        yield state, programs, before


@pytest.fixture
def inventory(template_home: tuple[Path, Path, dict[str, str]], process: Any) -> Iterator[Home]:
    state, programs, before = template_home
    with folder_for_data() as copy:
        subprocess.run(["/bin/cp", "--archive", state / "postgres", copy], check=True)
        yield Home(process, copy, programs, before)
        nothing_runs(copy / "postgres")


async def killed_at(home: Home, mark: str, *arguments: str, **env: str) -> None:
    """Start the command, and end it by SIGKILL as soon as it logs ``mark``.

    It cannot end before: its last step needs the turn to stop the old server, which is ours then.
    """
    async with await anyio.open_process(
        [sys.executable, "-m", "syncer", *arguments],
        stdout=subprocess.DEVNULL,
        env={
            **{name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")},
            **home.environment,
            **env,
            "SYNCER_LOG_LEVEL": "info",
        },
    ) as process:
        assert process.stderr is not None
        printed, turn = "", await home.take_turn()
        async for part in TextReceiveStream(process.stderr):
            printed += part
            if mark in printed:
                process.send_signal(signal.SIGKILL)
                break
        assert (True, -signal.SIGKILL) == (mark in printed, await process.wait()), printed
        os.close(turn)


STAGES = ['"table": "image_history"', "inventory.compared", "inventory.placed"]


@needs_pg15
async def test_an_inventory_of_another_version_is_moved_into_ours(inventory: Home) -> None:
    """Every view answers the same, every constraint is there, the old folder is kept."""
    done = await inventory.syncer("db", "move", "--programs", str(PG15))
    assert 0 == done.code, done.err
    assert "compared row by row, they are the same" in done.out
    assert ["data-15.", f"data-{OURS.major}"] == inventory.data
    async with inventory.embedded(OURS.directory) as server:
        assert inventory.before == await answers(server.dsn())
    shown = await inventory.syncer("runs", "-o", "ndjson", "--limit", "1")
    assert ("", 0) == (shown.err, shown.code)
    again = await inventory.syncer("db", "move")
    assert (0, True) == (again.code, "nothing to move" in again.out)


@needs_pg15
async def test_a_move_that_is_killed_loses_nothing_and_is_done_again(inventory: Home) -> None:
    """Killed at each stage in turn, in one home: whatever was left is no obstacle."""
    for stage in STAGES:
        await killed_at(inventory, stage, "db", "move")
        used = OURS.directory if stage == "inventory.placed" else PG15
        async with inventory.embedded(used) as server:
            assert inventory.before == await answers(server.dsn())
    loud = {"SYNCER_LOG_LEVEL": "warning"}
    shown = await inventory.syncer("runs", "-o", "ndjson", "--limit", "1", **loud)
    assert (0, True) == (shown.code, "inventory.another" in shown.err), shown.err
    left = inventory.postgres / f"moving-{OURS.major}"
    for command, said in (("url", "host="), ("move", "had been moved")):
        left.mkdir()  # as if it had been killed a moment earlier
        done = await inventory.syncer("db", command)
        assert (0, True, False) == (done.code, said in done.out, left.exists()), done.err
    assert ["data-15.", f"data-{OURS.major}"] == inventory.data
    async with inventory.embedded(OURS.directory) as server:
        assert inventory.before == await answers(server.dsn())


async def test_an_inventory_is_moved_to_a_server(inventory: Home, empty_url: str) -> None:
    """Into a database in which nothing is; afterwards nothing is begun here without its URL."""
    programs = ("--programs", str(inventory.programs))
    done = await inventory.syncer("db", "move", "--to", empty_url, *programs)
    assert 0 == done.code, done.err
    assert "Set SYNCER_DATABASE_URL" in done.out
    assert inventory.before == await answers(empty_url)
    async with asyncpg.create_pool(empty_url) as pool:
        # Sequences go on where they were.
        assert await pool.fetchval("""
            select nextval(pg_get_serial_sequence('syncer_store.runs', 'run_id')) - max(run_id) = 1
            from syncer_store.runs""")
    refused = await inventory.syncer("images")
    assert (2, True) == (refused.code, "set SYNCER_DATABASE_URL" in refused.err)
    shown = await inventory.process("runs", "--limit", "1", SYNCER_DATABASE_URL=empty_url)
    assert 0 == shown.code, shown.err
    again = await inventory.syncer("db", "move", "--to", empty_url, *programs)
    assert (2, True) == (again.code, "no embedded inventory" in again.err)


async def test_a_move_to_a_server_that_is_killed_is_done_again(
    inventory: Home, empty_url: str
) -> None:
    """Nothing of it is seen in the server before the end; what is there already is found."""
    env = {"SYNCER_PG_BIN": str(inventory.programs)}
    for stage in STAGES[:2]:
        await killed_at(inventory, stage, "db", "move", "--to", empty_url, **env)
        async with asyncpg.create_pool(empty_url) as pool:
            nothing = 0 == await pool.fetchval("select count(*) from syncer.runs")
        assert nothing or inventory.before == await answers(empty_url)
    (data,) = inventory.postgres.glob("data-*")
    done = await inventory.syncer("db", "move", "--to", empty_url, **env)
    assert 0 == done.code, done.err
    assert inventory.before == await answers(empty_url)
    (kept,) = inventory.postgres.glob("data-*")
    kept.rename(data)  # as if it had been killed after its transaction
    done = await inventory.syncer("db", "move", "--to", empty_url, **env)
    assert (0, True) == (done.code, "had been moved" in done.out), done.err


async def test_neither_a_move_nor_a_backup_upgrades_the_inventory_that_it_reads(
    data_home: Path, process: Any, empty_url: str, pg_bin: str | None, tmp_path: Path
) -> None:
    """What is kept is what an older program can go on with; a move says how to upgrade it first."""
    home = Home(process, data_home, Path(find_binaries(pg_bin).directory), {})

    async def installed() -> Any:
        async with home.embedded() as server, asyncpg.create_pool(server.dsn()) as pool:
            return await pool.fetchval("select version_num from syncer_store.alembic_version")

    async with home.embedded() as server, asyncpg.create_pool(server.dsn()) as pool:
        await pool.execute(as_sql("0008"))
    env = {"SYNCER_PG_BIN": str(home.programs)}
    done = await home.syncer("db", "dump", "-f", "syncer.dump", **env)
    assert (0, "0008") == (done.code, await installed()), done.err
    assert (tmp_path / "syncer.dump").read_bytes().startswith(b"PGDMP")
    done = await home.syncer("db", "move", "--to", empty_url, **env)
    assert (2, "0008") == (done.code, await installed()), done.err
    assert f"SYNCER_PG_BIN={home.programs} syncer db upgrade" in done.err
    async with asyncpg.create_pool(empty_url) as pool:
        assert await pool.fetchval("select to_regnamespace('syncer_store')") is None
    assert ["data-" + str(find_binaries(pg_bin).major)] == home.data


async def test_a_server_with_another_inventory_is_left_as_it_is(
    inventory: Home, url: str, sync: Any
) -> None:
    env = {"SYNCER_PG_BIN": str(inventory.programs)}
    async with asyncpg.create_pool(url) as pool:
        await pool.execute("create role not_the_owner login in role pg_read_all_data")
        try:
            theirs = url.replace("syncer@", "not_the_owner@")
            done = await inventory.syncer("db", "move", "--to", theirs, **env)
            assert (2, True) == (done.code, "the URL of who owns its" in done.err), done.err
        finally:
            await pool.execute("drop role not_the_owner")
    await sync()
    before = await answers(url)
    done = await inventory.syncer("db", "move", "--to", url, **env)
    assert (2, True) == (done.code, "holds another inventory already" in done.err), done.err
    assert before == await answers(url)
    async with inventory.embedded() as server:
        assert inventory.before == await answers(server.dsn())


async def test_nothing_is_moved_from_under_a_run_or_a_command(
    inventory: Home, empty_url: str
) -> None:
    """The run at work is named as by another run; else the process that uses the server."""
    env = {"SYNCER_PG_BIN": str(inventory.programs)}
    async with inventory.embedded() as server, asyncpg.create_pool(server.dsn()) as pool:
        move = ("db", "move", "--to", empty_url)
        refused = await inventory.syncer(*move, **env)
        assert (5, True) == (refused.code, f"in use by process {os.getpid()}" in refused.err)
        async with pool.acquire() as at_work:
            run_id = await at_work.fetchval("""
                insert into syncer_store.runs (account, deadline_at, syncer_version)
                values ('a0', now() + interval '1 hour', '') returning run_id""")
            await at_work.execute(sql("run/account_add"), "a0")
            assert await at_work.fetchval(sql("run/key_take"), 42)
            await at_work.fetchval(sql("run/account_hold"), "a0", run_id, 42)
            refused = await inventory.syncer(*move, **env)
        assert 5 == refused.code, refused.err
        assert f"run {run_id} of account 'a0' is at work since" in refused.err
        assert 1 == len(refused.err.splitlines())


async def test_a_password_is_not_shown(inventory: Home) -> None:
    """Whether the server is there or not."""
    address = "postgresql://me:s3cr3t-w0rd@127.0.0.1:1/x"
    env = {"SYNCER_PG_BIN": str(inventory.programs)}
    done = await inventory.syncer("db", "move", "--to", address, **env)
    assert (1, False) == (done.code, "s3cr3t" in done.out + done.err)
    assert 1 == len([line for line in done.err.splitlines() if not line.startswith("{")])
    wrong = await inventory.syncer("db", "move", "--to", "mysql://me:s3cr3t-w0rd@x/y", **env)
    assert (2, False) == (wrong.code, "s3cr3t" in wrong.out + wrong.err)


async def test_wrong_programs_are_one_line(inventory: Home) -> None:
    for programs in ("/nowhere", "/usr/bin"):
        move = ("db", "move", "--to", "postgresql:///x", "--programs", programs)
        done = await inventory.syncer(*move)
        assert (2, 1) == (done.code, len(done.err.splitlines())), done.err
        assert "--programs is not the bin directory of PostgreSQL" in done.err
