"""Writing a file whole: under another name, which then takes the place of what was there.

Whoever reads the file sees the old or the new one, and a crash leaves the old one. A link of ours
stays, and what it names is replaced; no stranger's link is followed (see ``ownership``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from syncer.files import ownership

_LONGEST: Final = 200
"""Letters of the name that its draft's has: together they are no longer than a name may be."""


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` once it is whole and on the disk.

    ``mode`` is a new file's, less our umask. What is there and is no file is left alone. Raises
    OSError.
    """
    with reached_file(path) as place:
        draft = f".{place.name[:_LONGEST]}.{secrets.token_hex(4)}"
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, how, mode, dir_fd=place.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        except BaseException:
            os.unlink(draft, dir_fd=place.folder)
            raise


def try_replacing(path: Path) -> None:
    """Raise OSError where a file cannot be replaced: its draft is written, and removed again."""
    with contextlib.suppress(_Tried), replacing(path) as file:
        file.write(b"\n")  # an empty file takes no room, and can be made on a full disk
        file.flush()
        os.fsync(file.fileno())
        raise _Tried


class _Tried(Exception):
    """It can be written."""


def read(path: Path) -> bytes | None:
    """Return what a file holds, None where there is none. Raises OSError."""
    how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with (
            reached_file(path) as place,
            os.fdopen(os.open(place.name, how, dir_fd=place.folder), "rb") as file,
        ):
            return file.read()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def reached_file(path: Path) -> Iterator[ownership.Place]:
    """Yield where a file lies, or can be made. Raises OSError, also for what is no file."""
    with ownership.reached(path) as place:
        if place.entry is not None and not stat.S_ISREG(place.entry.st_mode):
            raise OSError(errno.EINVAL, "it is there, and is no file", str(path))
        yield place
