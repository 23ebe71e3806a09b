"""A temporary file for the pages of zones that are too large to be held in memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from typing import IO

import structlog

_log = structlog.get_logger()


class Spool:
    """Keeps bytes in an unnamed file, which is closed when nothing refers to them any more."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._full = False

    def put(self, data: bytes | memoryview) -> Callable[[], bytes]:
        """Keep bytes, in memory where the disk has no room; return the function that reads them."""
        if not self._full:
            try:
                return self._write(data)
            except OSError as error:
                self._full = True
                _log.warning(
                    "pages.held_in_memory",
                    error_message=error.strerror,
                    advice="make room, or set TMPDIR to a folder that has some",
                )
        return lambda: bytes(data)

    def _write(self, data: bytes | memoryview) -> Callable[[], bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="syncer-", buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        start, self._end = self._end, self._end + len(data)
        rest, at = memoryview(data), start
        while rest:
            written = os.pwrite(self._file.fileno(), rest, at)
            rest, at = rest[written:], at + written
        return partial(self._read, self._file, start, len(data))

    def _read(self, file: IO[bytes], start: int, size: int) -> bytes:
        data = os.pread(file.fileno(), size, start)
        if len(data) != size:  # nobody else has the file, and reads of a file are not short
            raise OSError(f"{len(data)} of {size} bytes were read back from a temporary file")
        return data
