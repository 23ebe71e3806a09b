"""Folders as they were found, their room, and the embedded server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from syncer.doctor.finding import Finding, failed, number, ok, size, warning

_TIGHT: Final = 1024**3
_FULL: Final = 128 * 1024**2


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder. ``free`` is its file system's room for us, in bytes."""

    path: str
    exists: bool
    directory: bool = False
    writable: bool = False
    free: int = 0

    @property
    def fault(self) -> str | None:
        """Why nothing can be written there, or None."""
        if not self.exists:
            return f"there is no folder {self.path}"
        if not self.directory:
            return f"{self.path} is no folder"
        return None if self.writable else f"{self.path} cannot be written in"


def spool(folder: Folder) -> Finding:
    """Judge where large zones are put aside while they are read."""
    if folder.fault is not None:
        return warning(
            "spool",
            f"{folder.fault}: large zones are held in memory, or put aside elsewhere",
            "make it a folder that syncer may write in, or set TMPDIR to another",
        )
    if folder.free < _TIGHT:
        return warning(
            "spool",
            f"{folder.path} has {size(folder.free)} left: large zones may not fit",
            "make room, or set TMPDIR to a folder that has some",
        )
    return ok("spool", f"{folder.path} can be written, {size(folder.free)} free")


def metrics_file(path: str, folder: Folder, *, usable: bool) -> Finding:
    """Judge whether the metrics file can be replaced; ``usable``: it is absent or a file."""
    advice = "let syncer write in that folder, or unset SYNCER_METRICS_FILE"
    if folder.fault is not None:
        return failed("metrics_file", folder.fault, advice)
    if not usable:
        return failed(
            "metrics_file", f"{path} is not a file", "name a file in it, such as syncer.prom"
        )
    return ok("metrics_file", f"{path} can be written")


def room(folder: Folder) -> Finding:
    """Judge the room that the embedded server has: PostgreSQL stops where there is none."""
    said = f"{size(folder.free)} free for the embedded server in {folder.path}"
    advice = "make room, or move it: SYNCER_STATE_DIR"
    if folder.free < _FULL:
        return failed("room", said, advice)
    return warning("room", said, advice) if folder.free < _TIGHT else ok("room", said)


class EmbeddedSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded server: its programs, and whether its data is there and it runs (its pid)."""

    major: int
    origin: str
    home: str
    made: bool
    pid: int | None
    other_majors: Sequence[int]


def embedded(seen: EmbeddedSeen) -> Finding:
    """Tell of the embedded server, as it was before the doctor used it."""
    said = f"PostgreSQL {seen.major} ({seen.origin}) under {seen.home}"
    if seen.other_majors and not seen.made:
        others = ", ".join(map(str, seen.other_majors))
        return warning(
            "embedded",
            f"{said}: the data there is of PostgreSQL {others}, which this one does not open",
            "set SYNCER_PG_BIN to the programs of that version, or begin anew with syncer sync",
        )
    if not seen.made:
        return ok("embedded", f"{said}: made by the first syncer sync")
    state = f"in use (pid {seen.pid})" if seen.pid else "at rest, it runs while a command uses it"
    return ok("embedded", f"{said}: {state}")


def exposed(path: str, names: Sequence[str]) -> Finding:
    """Tell of a settings file with secrets that everybody on this machine may read."""
    return warning(
        "settings_file",
        f"everybody on this machine may read {path}, which holds {number(len(names), 'secret')}",
        f"chmod o-r {path}",
    )
