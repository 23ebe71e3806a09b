"""The standard streams of a process, so that what cannot be shown harms nothing that is done.

stderr takes what is said about the work: log, progress, warnings, errors. It never raises and never
waits for a reader for long: what it cannot write is kept, up to a limit, and then counted as lost.
stdout takes results, which somebody asked for: where it fails, there is an error with a name.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import threading
import time
from typing import Any, Final

from syncer.core.errors import OutputClosed, OutputFailed

_KEPT: Final = 1 << 20
"""Bytes that are kept for a reader who does not read at present."""
_PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe takes at once if it says that it takes any."""
_SHORTLY: Final = 0.05
"""Seconds that a reader who falls behind is waited for, once."""
_AT_THE_END: Final = 2.0
"""Seconds that a reader is waited for when the process ends."""
_CLOSED: Final = os.O_RDONLY
"""How a number of a stream that was closed is taken: nothing can be written to it."""


class _Descriptor(io.RawIOBase):
    """A file descriptor to write to."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True


class _Unfailing(_Descriptor):
    """Writes to a file descriptor what it takes at once; keeps or counts the rest."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._kept = bytearray()
        self._stuck = False
        self._lock = threading.Lock()  # libraries log from threads of theirs
        self._broken = False
        self._lost = 0
        self._reported = 0

    def write(self, data: Any) -> int:  # noqa: ANN401  (whatever is as bytes are)
        """Take the data, whatever becomes of it."""
        text = bytes(data)
        with self._lock:
            if len(self._kept) + len(text) > _KEPT:
                self._lose(text)
            else:
                self._kept += text
            self._drain(0.0 if self._stuck else _SHORTLY)
        return len(text)

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return self._lost

    def take_lost(self) -> int:
        """Return how many were lost since this was asked before; 0 while it would be lost too."""
        with self._lock:
            if self._kept or self._broken:
                return 0
            lost, self._reported = self._lost - self._reported, self._lost
            return lost

    def finish(self) -> None:
        """Write what is kept, as far as a reader comes for it."""
        with self._lock:
            self._drain(_AT_THE_END)
            self._lose(bytes(self._kept))
            self._kept.clear()

    def _drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._kept:
            left = max(0.0, until - time.monotonic())
            self._stuck = not self._poll.poll(left * 1000)
            if self._stuck:
                return
            try:
                written = os.write(self._descriptor, self._kept[:_PIECE])
            except BlockingIOError:  # another process has set it so
                self._stuck = True
                return
            except OSError:
                self._broken = True
                self._lose(bytes(self._kept))
                self._kept.clear()
            else:
                self._broken = False
                del self._kept[:written]

    def _lose(self, text: bytes) -> None:
        self._lost += text.count(b"\n")


class _Output(_Descriptor):
    """Writes to a file descriptor; where that fails, the error has a name."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._silent = False
        self.waits: float | None = None
        """Seconds that a reader is waited for (None: for ever)."""

    def write(self, data: Any) -> int:  # noqa: ANN401  (whatever is as bytes are)
        """Write, or raise OutputFailed; from then on everything is dropped."""
        if self._silent:
            return len(data)
        if self.waits is not None:
            data = data[:_PIECE]
            if not select.select([], [self._descriptor], [], self.waits)[1]:
                self._silent = True
                raise OutputFailed("the output cannot be written: nobody reads it")
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            self._silent = True
            if isinstance(error, BrokenPipeError):
                raise OutputClosed("nobody reads the output") from None
            raise OutputFailed(f"the output cannot be written: {error.strerror}") from None


_stderr: _Unfailing | None = None
_stdout: _Output | None = None


def protect() -> None:
    """Put streams like these in place of the standard ones, for the whole process."""
    global _stderr, _stdout  # noqa: PLW0603  (a process has one of each)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # else the next file to be opened would be taken for that stream
            os.open(os.devnull, _CLOSED)
    if sys.stdin is None:  # it was closed: there is nothing to be read
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    _stdout = _Output(1)
    sys.stdout = _text(_stdout, sys.stdout, by_line=_stdout.isatty())
    _stderr = _Unfailing(2)
    sys.stderr = _text(_stderr, sys.stderr, by_line=True)


def _text(raw: io.RawIOBase, like: Any, *, by_line: bool) -> io.TextIOWrapper:  # noqa: ANN401
    return io.TextIOWrapper(
        io.BufferedWriter(raw, 1 << 16),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors=getattr(like, "errors", None) or "backslashreplace",
        line_buffering=by_line,
    )


def wait_for_no_reader() -> None:
    """Let what is printed from now on be an error if nobody reads it within two seconds."""
    if _stdout is not None:
        _stdout.waits = _AT_THE_END


def finish() -> None:
    """Write what is left, as far as it can be. Raises OutputFailed, OutputClosed."""
    try:
        with contextlib.suppress(ValueError):  # closed already
            sys.stdout.flush()
    finally:
        if _stderr is not None:
            sys.stderr.flush()
            _stderr.finish()


def lost_lines() -> int:
    """Return how many lines could not be written to stderr, since the process began."""
    return 0 if _stderr is None else _stderr.lost


def take_lost_lines() -> int:
    """Return how many more lines were lost, once stderr takes lines again."""
    return 0 if _stderr is None else _stderr.take_lost()
