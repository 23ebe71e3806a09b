"""Waiting in a thread for what may never come: bounded, and given up when the task is cancelled."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_SHORTEST_NAP: Final = 0.002
_LONGEST_NAP: Final = 0.05


class AbandonedError(Exception):
    """The task that wanted this was cancelled."""


def poll(done: Callable[[], T], *, limit: float, abort: threading.Event) -> T | None:
    """Ask ``done`` until it gives something; None after ``limit`` seconds.

    Raises AbandonedError soon after ``abort`` is set.
    """
    nap, deadline = _SHORTEST_NAP, time.monotonic() + limit
    while True:
        if abort.is_set():
            raise AbandonedError
        if (found := done()) is not None:
            return found
        if time.monotonic() >= deadline:
            return None
        abort.wait(nap)
        nap = min(nap * 1.5, _LONGEST_NAP)


def lock(path: Path, operation: int) -> int | None:
    """File descriptor that holds this flock, or None if others hold it. Never waits."""
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
