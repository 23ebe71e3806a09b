"""Where the server's socket lies.

It lies in the state directory where clients can name it there, or in a directory within, if the
server's user is another: what that user may write in is not where our locks are. A socket's path
has at most 107 bytes, and clients take a comma in it for the end of a host's name; so elsewhere it
lies in a private temporary directory, whose path is recorded in the state directory.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from syncer.core.errors import ConfigError
from syncer.embedded.user import ServerUser
from syncer.files.ownership import NotTrusted, trusted_folder

PORT: Final = 5432
"""No TCP port: with a unix socket it is only the last part of the socket's name."""

SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_SHORT: Final = "/tmp"  # noqa: S108  (what is made there is looked at)
_PEER: Final = struct.Struct("iII")
"""What the kernel says of who listens: pid, uid, gid."""
_LONGEST_ANSWER: Final = 5.0
"""Seconds for the kernel to take a connection, which it does unless very many wait."""
_LONGEST_PATH: Final = 107  # bytes: sun_path of unix(7), without its closing zero


class SocketDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """The directory of the server's socket: in ``state``, or a temporary one recorded there.

    The next server uses a recorded directory again; the last user to leave removes it.
    """

    state: Path
    user: ServerUser

    def make(self) -> Path:
        """Return the directory, made if need be."""
        if fits(self._within):
            self._within.mkdir(mode=0o700, exist_ok=True)
            self.user.own(self._within)
        if (known := self.find()) is not None:
            return known
        made = _made_in(None) or _made_in(_SHORT)
        if made is None:
            raise ConfigError(
                f"the socket of the embedded PostgreSQL has no place: its path in {self.state} "
                "would be too long, and others could exchange what lies in TMPDIR and in /tmp: "
                "set SYNCER_STATE_DIR to a shorter path"
            )
        self.user.own(made)
        self._record.write_bytes(os.fsencode(made))
        return made

    def find(self) -> Path | None:
        """Return the directory, or None if it has yet to be made."""
        return self._within if fits(self._within) else self._recorded()

    def listener(self) -> int | None:
        """Return the user whose process listens at the socket, None if none does."""
        if (folder := self.find()) is None:
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.settimeout(_LONGEST_ANSWER)
                probe.connect(str(folder / SOCKET_NAME))
            except OSError:
                return None
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        uid: int = _PEER.unpack(peer)[1]
        return uid

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
            private = stat.S_IMODE(known.lstat().st_mode) == stat.S_IRWXU
            return trusted_folder(known, owners=[self.user.uid]) if private else None
        except (OSError, ValueError):
            return None

    @property
    def _within(self) -> Path:
        return self.state if self.user.uid == os.geteuid() else self.state / "socket"

    @property
    def _record(self) -> Path:
        return self.state / "socket-directory"


def _made_in(folder: str | None) -> Path | None:
    """Return a new private directory in TMPDIR or another folder, None where it will not do."""
    made = Path(tempfile.mkdtemp(prefix="syncer-pg-", dir=folder))
    with suppress(NotTrusted):
        if fits(made):
            return trusted_folder(made)
    made.rmdir()
    return None


def fits(directory: Path) -> bool:
    """Return whether clients can open a socket there and name it in a URL."""
    path = os.fsencode(directory / SOCKET_NAME)
    return len(path) <= _LONGEST_PATH and b"," not in path
