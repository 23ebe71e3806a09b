"""Embedded servers of tests: homes for them, and other processes that use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syncer.embedded import EmbeddedPostgres
from tests.support import folder_for_data

ROOT = Path(__file__).resolve().parents[2]
PG15 = Path("/usr/lib/postgresql/15/bin")
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
}

# Enters, prints the server's pid, waits for a line (or the end) on stdin, leaves, prints that.
GUEST = """
import json, sys
from pathlib import Path
import anyio
from syncer.embedded import EmbeddedPostgres
home, options = Path(sys.argv[1]), json.loads(sys.argv[2])
if "copies" in options:
    options["copies"] = Path(options["copies"])
async def main():
    async with EmbeddedPostgres(home, **options) as pg:
        print(pg.running_pid, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
try:
    anyio.run(main)
except Exception as error:
    print(type(error).__name__, error, flush=True)
else:
    print("left", flush=True)
"""

NOBODY = 65534

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
    with folder_for_data() as parent:
        parent.chmod(0o711)
        yield parent / "pg"


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
        """Let it leave; return what it then prints."""
        output, _ = self.process.communicate("\n", timeout=30)
        return str(output).strip()

    def kill(self) -> None:
        """Send kill -9."""
        self.process.kill()
        self.process.communicate()


def embedded(home: Path, **options: Any) -> EmbeddedPostgres:
    return EmbeddedPostgres(home, **{"settings": FAST, **options})


async def ask(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def ended(pid: int) -> bool:
    """Whether this process has ended (somebody else may be late to reap it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def gone(pid: int) -> None:
    """Fail unless this process ends at once: the kernel lets go of its locks just before that."""
    eventually(lambda: ended(pid), "it still runs", limit=2)


def owner_of(pid: int) -> int:
    """Return the uid that this process has outside of any user namespace."""
    return Path(f"/proc/{pid}").stat().st_uid


def namespaces_are_open() -> bool:
    """Return whether user namespaces can be made here."""
    probe = ["unshare", "--user", "true"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


def without_namespaces(
    guest: Callable[..., Guest], home: Path, *, uids: int = 65536, **options: Any
) -> Guest:
    """Start a guest as root of the first ``uids`` users, where no user namespace can be made."""
    if not namespaces_are_open():
        return guest(home, **options)
    # The shell waits for its users; executed again, it is their root and can close the door.
    close = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    enter = ["unshare", "--user", "sh", "-c", 'read x; exec sh -c "$0" sh "$@"', close]
    contained = guest(home, before=enter, **options)
    proc = Path(f"/proc/{contained.process.pid}")
    ours = Path("/proc/self/ns/user").readlink()
    eventually(lambda: (proc / "ns/user").readlink() != ours, "it did not enter")
    for kind in ("uid_map", "gid_map"):
        (proc / kind).write_text(f"0 0 {uids}\n")
    assert contained.process.stdin
    contained.process.stdin.write("\n")
    contained.process.stdin.flush()
    return contained
