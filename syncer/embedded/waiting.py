"""Waiting in a thread: always with a limit, and not for longer than somebody wants the result."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.002
"""Between the first two looks, in seconds; what is waited for is often there in milliseconds."""
_LONGEST_PAUSE: Final = 0.05
"""Pauses grow up to this, in seconds: nobody notices it, and the processor is not kept busy."""


class WaitCancelled(Exception):
    """The task that waited for this was cancelled; it never leaves this package."""


def poll(look: Callable[[], T], *, limit: float, abort: threading.Event) -> T | None:
    """Call ``look`` until it returns something; return that, or None after ``limit`` seconds.

    Raises WaitCancelled soon after ``abort`` is set.
    """
    pause, deadline = _FIRST_PAUSE, time.monotonic() + limit
    while True:
        if abort.is_set():
            raise WaitCancelled
        if (found := look()) is not None:
            return found
        if time.monotonic() >= deadline:
            return None
        abort.wait(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def move(path: Path, target: Path) -> None:
    """Rename, and make sure that it stays so whatever happens to the machine."""
    path.rename(target)
    for folder in {path.parent, target.parent}:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def try_lock(path: Path, operation: int) -> int | None:
    """Return a file descriptor that holds this flock, or None if others hold it. Never waits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
