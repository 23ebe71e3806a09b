"""The embedded server starts, is shared, survives kills, and leaves nothing behind."""

# ruff: noqa: ASYNC221, ASYNC240
# (these tests look at files and processes between awaits, and nothing else runs in their loop)

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel
import asyncpg
import pytest

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.embedded import EmbeddedPostgres, Timing, find_binaries, running_url, sockets
from tests.embedded.tools import (
    FAST,
    PG15,
    Guest,
    ask,
    embedded,
    ended,
    eventually,
    gone,
    needs_pg15,
    servers_of,
)
from tests.support import needs_root


async def table_with_one_row(pg: EmbeddedPostgres) -> None:
    await ask(pg.dsn(), "drop table if exists kept")
    await ask(pg.dsn(), "create table kept as select 42 as answer")


async def kept(pg: EmbeddedPostgres) -> object:
    return await ask(pg.dsn(), "select answer from kept")


def socket_directory(pg: EmbeddedPostgres) -> Path:
    return Path(parse_qs(urlsplit(pg.dsn()).query)["host"][0])


async def test_a_machine_without_a_folder_for_temporary_files_will_do(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the home need be writable."""
    monkeypatch.setattr(tempfile, "tempdir", str(place.with_name("none")))
    async with embedded(place) as pg:
        await table_with_one_row(pg)
        assert 42 == await kept(pg)


async def test_data_survives_a_restart_and_a_stop_leaves_no_process(place: Path) -> None:
    """Leaving stops the server and reaps it; entering again finds the data, with the defaults."""
    async with EmbeddedPostgres(place) as pg:
        first = pg.running_pid
        await table_with_one_row(pg)
        assert pg.major >= 15
        assert place.stat().st_mode & 0o777 == 0o700
    assert first
    assert not Path(f"/proc/{first}").exists()
    async with EmbeddedPostgres(place) as pg:
        assert pg.running_pid != first
        assert await kept(pg) == 42
        said = await ask(
            pg.dsn(),
            """select jsonb_build_array(current_user, current_database(), usesuper,
                      current_setting('server_encoding'), current_setting('timezone'),
                      current_setting('data_checksums'), current_setting('fsync'), datcollate)
                 from pg_user, pg_database
                where usename = current_user and datname = current_database()""",
        )
        assert json.loads(said) == ["syncer", "syncer", True, "UTF8", "UTC", "on", "on", "C"]
    assert pg.log_path.read_text().count("database system is shut down") >= 2


async def test_no_tcp(home: Path) -> None:
    """The server listens on its private socket and nowhere else."""
    async with embedded(home) as pg:
        assert pg.running_pid
        assert pg.dsn() == running_url(home)
        assert await ask(pg.dsn(), "show listen_addresses") == ""
        links = Path(f"/proc/{pg.running_pid}/fd").iterdir()
        sockets = {str(link.readlink()).removeprefix("socket:[").rstrip("]") for link in links}
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            if Path(table).exists():
                rows = Path(table).read_text().splitlines()[1:]
                assert not sockets & {row.split()[9] for row in rows}
        assert (home / f"run-{pg.major}").stat().st_mode & 0o777 == 0o700


async def test_dsn_means_the_same_to_psql_and_asyncpg(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL with a strange database name is read alike by both, whatever PG* variables say."""
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "/nowhere")
    name = "o'd d/ü%&\"+"
    async with embedded(home, database=name) as pg:
        assert await ask(pg.dsn(), "select current_database()") == name
        assert await ask(pg.dsn("postgres"), "select current_database()") == "postgres"
        psql = find_binaries(None).psql
        asked = await anyio.run_process([psql, pg.dsn(), "-XAtc", "select current_database()"])
        assert asked.stdout.decode().strip() == name
        async with embedded(home, database="second") as joined:
            assert joined.running_pid == pg.running_pid
            assert await ask(joined.dsn(), "select current_database()") == "second"


async def test_four_cold_processes_share_one_server(
    place: Path, guest: Callable[..., Guest]
) -> None:
    """Four that start at once on an empty place get one server; after the last, none is left."""
    guests = [guest(place) for _ in range(4)]
    pids = {one.entered() for one in guests}
    assert len(pids) == 1
    assert servers_of(place) == list(pids)
    for one in guests[:3]:
        assert one.leave() == "left"
    assert not ended(*pids)
    assert guests[3].leave() == "left"
    gone(*pids)


async def test_kill_of_the_starter_spares_the_others(
    home: Path, guest: Callable[..., Guest]
) -> None:
    """After kill -9 of who started it, the others go on, and the last of them stops it."""
    starter = guest(home)
    pid = starter.entered()
    async with embedded(home) as pg:
        assert pg.running_pid == pid
        starter.kill()
        await table_with_one_row(pg)
        assert pg.running_pid == pid
    gone(pid)


async def test_an_orphaned_server_is_adopted(home: Path, guest: Callable[..., Guest]) -> None:
    """A server left by kill -9 of its only user is joined by the next, which stops it."""
    only = guest(home)
    pid = only.entered()
    only.kill()
    assert servers_of(home) == [pid]
    async with embedded(home) as pg:
        assert pg.running_pid == pid
    gone(pid)


async def test_starter_that_leaves_first_reaps_later(
    home: Path, guest: Callable[..., Guest]
) -> None:
    """If the starter leaves first the server goes on, and its end leaves us no zombie."""
    async with embedded(home) as pg:
        pid = pg.running_pid
        other = guest(home)
        assert other.entered() == pid
    assert pid
    assert servers_of(home) == [pid]
    assert other.leave() == "left"
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the server is a zombie of ours")


@pytest.mark.parametrize("reused", [False, True], ids=["plain", "pid-reused"])
async def test_kill_of_the_postmaster_loses_no_committed_row(home: Path, *, reused: bool) -> None:
    """After kill -9 of the server the next start recovers, even if its pid is another's now."""
    async with EmbeddedPostgres(home) as pg:
        await table_with_one_row(pg)
        pid = pg.running_pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pg.running_pid is None, "still there")
    other = await anyio.open_process(["sleep", "60"])
    try:
        if reused:
            left = home / f"data-{find_binaries(None).major}" / "postmaster.pid"
            left.write_text(left.read_text().replace(str(pid), str(other.pid), 1))
        async with EmbeddedPostgres(home) as pg:
            assert pg.running_pid not in (pid, other.pid)
            assert await kept(pg) == 42
        assert other.returncode is None
    finally:
        other.kill()
        await other.aclose()


async def test_a_backend_that_outlives_its_postmaster_is_ended(home: Path) -> None:
    """A busy backend of a killed server keeps the next from starting only for a while."""
    async with embedded(home) as first:
        connection = await asyncpg.connect(first.dsn())
        backend = connection.get_server_pid()
        busy = asyncio.create_task(connection.execute("do $$ begin loop end loop; end $$"))
        await anyio.sleep(0.05)
        assert first.running_pid
        os.kill(first.running_pid, signal.SIGKILL)
        eventually(lambda: first.running_pid is None, "still there")
        async with embedded(home, timing=Timing(orphans=0.3)) as second:
            assert await ask(second.dsn(), "select 1") == 1
            gone(backend)
        with pytest.raises(asyncpg.PostgresError):
            await busy
        connection.terminate()


async def test_a_path_no_socket_can_have(place: Path, home: Path) -> None:
    """Where the socket's name would be too long (or split) it lies elsewhere, and is removed."""
    long, split = place / ("x" * 120), place / "a,b"
    assert not sockets.fits(long)
    assert not sockets.fits(split)
    assert sockets.fits(place)
    long.mkdir(parents=True)
    moved = home.rename(long / "a,b")
    try:
        async with embedded(moved) as pg:
            assert await ask(pg.dsn(), "select 1") == 1
            directory = socket_directory(pg)
            assert moved not in directory.parents
            assert directory.stat().st_mode & 0o777 == 0o700
            async with embedded(moved) as joined:
                assert joined.dsn() == pg.dsn()
            pid = pg.running_pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: pg.running_pid is None, "still there")
            async with embedded(moved) as again:
                assert socket_directory(again) == directory
        assert not directory.exists()
    finally:
        moved.rename(home)


async def test_a_killed_initdb_leaves_nothing(place: Path, guest: Callable[..., Guest]) -> None:
    """A kill -9 amid initdb leaves no half data directory; the next start is clean."""
    killed = guest(place)
    eventually(lambda: any(place.glob("data-*.new-*/global")), "initdb did not begin")
    killed.kill()
    assert not list(place.glob("data-??"))
    async with embedded(place) as pg:
        assert await ask(pg.dsn(), "select 1") == 1
        assert [path.name for path in place.glob("data-*")] == [f"data-{pg.major}"]


@pytest.mark.parametrize("how", ["scope", "task"])
async def test_cancelling_at_any_time_leaves_no_server(place: Path, home: Path, how: str) -> None:
    """However and whenever entering or leaving is cancelled, no server is left that none owns."""

    async def use(where: Path) -> None:
        async with embedded(where):
            await anyio.sleep(0.03)

    amid_initdb = [(place, delay) for delay in (0, 0.02, 0.05)]
    later = [(home, delay) for delay in (0.01, 0.03, 0.05, 0.08, 0.12)]
    for where, delay in amid_initdb + later:
        if how == "scope":
            with anyio.move_on_after(delay):
                await use(where)
        else:
            task = asyncio.create_task(use(where))
            await anyio.sleep(delay)
            task.cancel()
            await anyio.sleep(0.001)
            task.cancel()  # the impatient press Ctrl-C twice
            with suppress(asyncio.CancelledError):
                await task
        assert servers_of(where) == []
        assert not list(where.glob("data-*.new-*"))
    async with embedded(home) as pg:
        assert await ask(pg.dsn(), "select 1") == 1


async def test_the_loop_runs_while_the_server_starts(home: Path) -> None:
    """Starting and stopping happen beside the event loop, not in it."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        async with embedded(home):
            started, ticks = ticks, 0
        group.cancel_scope.cancel()
    assert started > 100
    assert ticks > 100


async def test_kill_of_a_test_run_shuts_its_server_down(
    home: Path, guest: Callable[..., Guest]
) -> None:
    """With die_with_parent, kill -9 of the starter is a clean shutdown of the server."""
    starter = guest(home, die_with_parent=True)
    pid = starter.entered()
    starter.kill()
    eventually(lambda: ended(pid), "the server outlived its parent")
    found = find_binaries(None)
    control = await anyio.run_process(
        [str(found.directory / "pg_controldata"), str(home / f"data-{found.major}")],
        env={"LC_ALL": "C"},
    )
    state = next(row for row in control.stdout.decode().splitlines() if "cluster state" in row)
    assert state.split(":")[1].strip() == "shut down"


async def test_a_server_that_does_not_start_says_why(home: Path) -> None:
    """What ended it is in the error, of one line, and nothing stays behind."""
    with pytest.raises(DatabaseGone, match=r"\A.+FATAL: .*shared_buffers.*postgres\.log\)\Z"):
        async with embedded(home, settings={**FAST, "shared_buffers": "plenty"}):
            pass
    assert servers_of(home) == []


async def test_a_home_that_cannot_be_written_is_named(place: Path) -> None:
    """The error names the path and what to set instead."""
    place.write_text("in the way")
    with pytest.raises(ConfigError, match=rf"{place}.*SYNCER_STATE_DIR"):
        async with embedded(place):
            pass


async def test_data_on_a_disk_that_is_not_there_are_named(place: Path) -> None:
    """A link to them stays; no data are made to take their place."""
    place.mkdir()
    (place / f"data-{find_binaries(None).major}").symlink_to(place.with_name("unmounted"))
    with pytest.raises(ConfigError, match=r"No such file or directory \(.*/unmounted\)"):
        async with embedded(place):
            pass


@needs_root
async def test_a_full_disk_is_named(place: Path, guest: Callable[..., Guest]) -> None:
    """No space for the data directory: one error with the path, and what to do."""
    place.mkdir()
    mount = f'mount -t tmpfs -o size=8m,mode=700 tmpfs {place} && exec "$@"'
    private = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*private, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    said = guest(place, before=private).leave()
    assert said.startswith(f"DatabaseGone initdb could not make {place}/data-")
    assert "its disk is full, make room there" in said
    assert 1 == len(said.splitlines())


@needs_pg15
async def test_an_older_major_keeps_its_own_data(home: Path) -> None:
    """SYNCER_PG_BIN picks the version; each major has a data directory, made where no other is."""
    major = find_binaries(None).major
    if major == 15:
        pytest.skip("there is no other major")
    with pytest.raises(ConfigError, match="which PostgreSQL 15 does not open"):
        await embedded(home, pg_bin=str(PG15)).__aenter__()
    data = home / f"data-{major}"
    data.rename(home / "elsewhere")
    try:
        async with embedded(home, pg_bin=str(PG15)) as old:
            assert (await ask(old.dsn(), "show server_version")).startswith("15.")
            await ask(old.dsn(), "create table only_in_15 as select 42 as answer")
    finally:
        (home / "elsewhere").rename(data)
    ours = str(find_binaries(None).directory)
    async with embedded(home, pg_bin=ours) as new, embedded(home, pg_bin=str(PG15)) as old:
        assert (major, (15,)) == (new.major, new.other_majors)
        assert await ask(new.dsn(), "select to_regclass('only_in_15')") is None
        assert await ask(old.dsn(), "select answer from only_in_15") == 42
        assert new.running_pid != old.running_pid
    shutil.rmtree(home / "data-15")
    shutil.rmtree(home / "run-15")


def test_only_sensible_values_are_accepted(place: Path) -> None:
    """Where it listens is not a setting; names PostgreSQL would cut or not parse are refused."""
    for settings in ({"listen_addresses": "*"}, {"port": "1"}, {"a b": "c"}):
        with pytest.raises(ValueError, match="not a setting"):
            EmbeddedPostgres(place, settings=settings)
    for name in ("", "x" * 64, "a\0b"):
        with pytest.raises(ValueError, match="not a name"):
            EmbeddedPostgres(place, database=name)
    with pytest.raises(RuntimeError, match="async with"):
        EmbeddedPostgres(place).dsn()
