"""Finding the processes of a server by what they and the kernel say of them."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """What a living server's ``postmaster.pid`` says. ``status`` is ready, starting, stopping..."""

    pid: int
    socket_directory: Path
    status: str

    @classmethod
    def of(cls, data: Path) -> Self | None:
        """The server on this data directory, if its file names a process that really is one."""
        try:
            lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
            pid = int(lines[0])
            # The kernel shows no arguments of a zombie, and other arguments of a reused pid.
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        if os.fsencode(data) not in arguments:
            return None
        lines += [""] * 8  # the last lines are written while it starts
        return cls(pid=pid, socket_directory=Path(lines[4]), status=lines[7].strip())


def signal_backends(data: Path, number: signal.Signals) -> None:
    """Send a signal to whatever of a server works in this directory, its postmaster or not."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                entry.name.isdigit()
                and (entry / "comm").read_text().strip() == "postgres"
                and (entry / "cwd").samefile(data)
            ):
                os.kill(int(entry.name), number)
