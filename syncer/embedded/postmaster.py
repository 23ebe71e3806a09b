"""Finding the processes of a server by what they write and what the kernel shows of them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

_LONGEST: Final = 65536
"""Letters of a pid file that are read: its lines are a few numbers and two paths."""


class Postmaster(msgspec.Struct, frozen=True, kw_only=True):
    """The first process of a running server. ``status`` is ready, starting, stopping..."""

    pid: int
    status: str

    @classmethod
    def of(cls, data: Path) -> Self | None:
        """Return the server on this data directory, if its file names a process that is one.

        Such a process belongs to who owns the directory: PostgreSQL insists on that.
        """
        try:
            lines = _read(data / "postmaster.pid").split("\n")
            pid = int(lines[0])
            # The kernel shows no arguments of a zombie, and other arguments of a reused pid.
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            ours = Path(f"/proc/{pid}").stat().st_uid == data.stat().st_uid
        except (OSError, ValueError, IndexError):
            return None
        if not ours or os.fsencode(data) not in arguments:
            return None
        status = "".join(lines[7:8]).strip()  # the last line is written while it starts
        return cls(pid=pid, status=status)


def _read(path: Path) -> str:
    """Return what a small file holds; its folder may be that of a user who is not trusted."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_LONGEST)


def signal_backends(data: Path, number: signal.Signals) -> None:
    """Send a signal to every process of a server that works in this directory."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                entry.name.isdigit()
                and entry.stat().st_uid == data.stat().st_uid
                and (entry / "comm").read_text().strip() == "postgres"
                and (entry / "cwd").samefile(data)
            ):
                os.kill(int(entry.name), number)


def holders(path: Path) -> list[int]:
    """Return the processes, as far as they can be looked at, that have a file open, but ours."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            other = entry.name.isdigit() and int(entry.name) != os.getpid()
            # What they stand for, not what they are called: that may lie in another namespace.
            if other and any(link.samefile(path) for link in (entry / "fd").iterdir()):
                found.append(int(entry.name))
    return sorted(found)
