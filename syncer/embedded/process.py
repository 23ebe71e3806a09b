"""Starting PostgreSQL's programs: in a session of their own, and reaped when they end."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from syncer.embedded.timing import Timing
from syncer.embedded.waiting import poll

# Nothing of ours belongs in a server's environment: neither PG* variables, which would change what
# it does, nor API credentials, which anyone who may read its /proc entry could read there.
ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


class Process:
    """A started program. A thread of its own waits for its end, so that it never stays a zombie.

    That holds for a server too that goes on after we have left and that somebody else stops.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._reaper = threading.Thread(target=process.wait, name="postgres-reaper", daemon=True)
        self._reaper.start()

    @property
    def exit_code(self) -> int | None:
        """Exit code, once it has ended and been reaped."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended (Popen looks at the exit code first)."""
        self._process.send_signal(number)

    def join(self, limit: float) -> None:
        """Wait up to ``limit`` seconds until it has been reaped."""
        self._reaper.join(limit)


def start(
    command: Sequence[str],
    *,
    log: IO[bytes],
    keep: Sequence[int] = (),
    stdin: IO[bytes] | None = None,
) -> Process:
    """Start ``command``; it writes to ``log`` and inherits the descriptors ``keep``.

    It gets a session of its own: Ctrl-C on our terminal must not reach a server that others use.
    """
    return Process(
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=log,
            stderr=log,
            env=ENVIRONMENT,
            cwd="/",
            umask=0o077,
            pass_fds=keep,
            start_new_session=True,
        )
    )


def wait_for(
    process: Process, *, limit: float, timing: Timing, abort: threading.Event
) -> int | None:
    """Return its exit code, or None if it was ended because ``limit`` seconds had passed.

    Raises WaitCancelled after ending it if ``abort`` was set.
    """
    code: int | None = None
    try:
        code = poll(lambda: process.exit_code, limit=limit, abort=abort)
    finally:
        if code is None:
            process.send(signal.SIGTERM)
            process.join(timing.terminate)
            process.send(signal.SIGKILL)
            process.join(timing.terminate)
    return code


def output_of(command: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end. Raises OSError and subprocess.TimeoutExpired."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=ENVIRONMENT,
        cwd="/",
    )


class Unusable(Exception):
    """A program, or a folder of them, cannot be used; the message says why."""


def version_of(program: Path, *, timing: Timing) -> int:
    """Return the major of one of PostgreSQL's programs. Raises Unusable."""
    try:
        answer = output_of([str(program), "--version"], timeout=timing.probe)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"{program} does not run: {error}") from error
    if answer.returncode != 0:
        raise Unusable(f"{program} does not run: {' '.join(answer.stderr.split())}")
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if version is None:
        raise Unusable(f"{program} gives {answer.stdout.strip()!r} as its version")
    return int(version[1])
