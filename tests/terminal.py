"""A real terminal, of a size, on which a command runs as its user sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from pathlib import Path


def on_a_terminal(
    command: list[str],
    env: dict[str, str],
    folder: Path,
    *,
    size: tuple[int, int] = (40, 100),
    interrupted_at: str | None = None,
) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code and all that was written.

    Where ``interrupted_at`` was written, it gets what Ctrl-C sends.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **env},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(65536)
            except OSError:  # nobody has the terminal any more
                break
            if not part:
                break
            said += part
            if interrupted_at and interrupted_at in said.decode(errors="replace"):
                process.send_signal(signal.SIGINT)
                interrupted_at = None
    return process.returncode, said.decode()
