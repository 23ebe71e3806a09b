"""Where the server's socket lies.

It lies in the state directory where clients can name it there. A socket's path has at most 107
bytes, and clients take a comma in it for the end of a host's name; so elsewhere it lies in a
private temporary directory, whose path is recorded in the state directory.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from syncer.embedded.user import ServerUser

PORT: Final = 5432
"""No TCP port: with a unix socket it is only the last part of the socket's name."""

SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_LONGEST_PATH: Final = 107  # bytes: sun_path of unix(7), without its closing zero


class SocketDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """The directory of the server's socket: ``state``, or a temporary one that is recorded there.

    The next server uses a recorded directory again; the last user to leave removes it.
    """

    state: Path
    user: ServerUser

    def make(self) -> Path:
        """Return the directory, made if need be."""
        if (known := self.find()) is not None:
            return known
        made = Path(tempfile.mkdtemp(prefix="syncer-pg-"))
        if not fits(made):
            made.rmdir()
            made = Path(tempfile.mkdtemp(prefix="syncer-pg-", dir="/tmp"))
        self.user.own(made)
        self._record.write_bytes(os.fsencode(made))
        return made

    def find(self) -> Path | None:
        """Return the directory, or None if it has yet to be made."""
        return self.state if fits(self.state) else self._recorded()

    def clear(self) -> None:
        """Remove what a killed server left: its socket, and the lock that names its pid."""
        folder = self.find() or self.state
        (folder / SOCKET_NAME).unlink(missing_ok=True)
        (folder / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove a temporary directory; the server has ended."""
        if (known := self._recorded()) is not None:
            with suppress(OSError):
                known.rmdir()
        self._record.unlink(missing_ok=True)

    def _recorded(self) -> Path | None:
        """Return the recorded directory, if it is still there and still private."""
        try:
            known = Path(os.fsdecode(self._record.read_bytes()))
            entry = known.lstat()
        except (OSError, ValueError):
            return None
        private = stat.S_ISDIR(entry.st_mode) and stat.S_IMODE(entry.st_mode) == stat.S_IRWXU
        return known if private and entry.st_uid == self.user.uid else None

    @property
    def _record(self) -> Path:
        return self.state / "socket-directory"


def fits(directory: Path) -> bool:
    """Return whether clients can open a socket there and name it in a URL."""
    path = os.fsencode(directory / SOCKET_NAME)
    return len(path) <= _LONGEST_PATH and b"," not in path
