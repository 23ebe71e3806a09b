"""Where the socket lies: its name has a length limit, and clients have opinions about commas."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from syncer.embedded.launcher import Launcher

PORT: Final = 5432
"""No TCP port: with a unix socket it is only the last part of the socket's name."""

SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_PATH_LIMIT: Final = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketDirectory:
    """The state directory, or a private temporary one where its name cannot be a socket's.

    Others read the name from line 5 of ``postmaster.pid``; it is recorded only so that the next
    server uses the same one again, and the last one to leave removes it.
    """

    state: Path
    launcher: Launcher

    def make(self) -> Path:
        """The directory, made if need be."""
        if fits(self.state):
            return self.state
        if (known := self.recorded()) is not None:
            return known
        made = Path(tempfile.mkdtemp(prefix="syncer-pg-"))
        if not fits(made):
            made.rmdir()
            made = Path(tempfile.mkdtemp(prefix="syncer-pg-", dir="/tmp"))
        self.launcher.give_one(made)
        self._record.write_bytes(os.fsencode(made))
        return made

    def recorded(self) -> Path | None:
        """The temporary directory of the last server, if it is still there and still private."""
        try:
            known = Path(os.fsdecode(self._record.read_bytes()))
            entry = known.lstat()
        except (OSError, ValueError):
            return None
        private = stat.S_ISDIR(entry.st_mode) and stat.S_IMODE(entry.st_mode) == stat.S_IRWXU
        return known if private and entry.st_uid == self.launcher.uid else None

    def clear(self) -> None:
        """Remove what a killed server left: its socket, and the lock that names its pid."""
        folder = self.recorded() or self.state
        (folder / SOCKET_NAME).unlink(missing_ok=True)
        (folder / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove a temporary directory; the server has ended."""
        if (known := self.recorded()) is not None:
            with suppress(OSError):
                known.rmdir()
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.state / "socket-directory"


def fits(directory: Path) -> bool:
    """Whether a socket there can be opened and named in a URL (clients split hosts at commas)."""
    path = os.fsencode(directory / SOCKET_NAME)
    return len(path) <= _PATH_LIMIT and b"," not in path
