"""The machine: the program itself, and the folders that a sync writes in."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio.to_thread
import msgspec

from syncer import __version__, files
from syncer.config.settings import LoadedSettings
from syncer.doctor.checks import Check, Timing
from syncer.doctor.finding import Finding, failed, ok, size, warning
from syncer.files.ownership import NotTrusted

LITTLE_ROOM: Final = 1024**3
"""Bytes: below this much free room there is a warning."""


def checks(loaded: LoadedSettings, timing: Timing) -> list[Check]:
    """Return the checks of this machine."""

    async def program() -> Sequence[Finding]:
        return [ok("program", f"syncer {__version__}, Python {platform.python_version()}")]

    async def spool() -> Sequence[Finding]:
        return [judge_spool(await look_at_folder(loaded.temporary))]

    found = [
        Check(name="program", probe=program, advice="install it anew", timeout=timing.check),
        Check(
            name="spool",
            probe=spool,
            advice="set TMPDIR to a folder that answers",
            timeout=timing.check,
        ),
    ]
    path = loaded.settings.metrics_file
    if path is not None:

        async def metrics_file() -> Sequence[Finding]:
            fault = await anyio.to_thread.run_sync(_not_replaceable, path, abandon_on_cancel=True)
            folder = await look_at_folder(path.parent)
            return [judge_metrics_file(str(path), folder, fault)]

        found.append(
            Check(
                name="metrics_file",
                probe=metrics_file,
                advice="name a file in a folder that answers: SYNCER_METRICS_FILE",
                timeout=timing.check,
            )
        )
    return found


async def look_at_folder(path: Path, *, nearest: bool = False) -> Folder:
    """Look at a folder in a thread; ``nearest``: or at the first above it that is there."""
    return await anyio.to_thread.run_sync(_folder, path, nearest, abandon_on_cancel=True)


def _folder(path: Path, nearest: bool) -> Folder:  # noqa: FBT001  (a thread's argument)
    while nearest and not path.exists() and path != path.parent:
        path = path.parent
    if not path.exists():
        return Folder(path=str(path), exists=False)
    return Folder(
        path=str(path),
        exists=True,
        directory=path.is_dir(),
        writable=os.access(path, os.W_OK | os.X_OK),
        free=shutil.disk_usage(path).free,
    )


def _not_replaceable(path: Path) -> str | None:
    """Return why what lies there is not replaced by a file; a folder's fault is none of it."""
    try:
        with files.reached_file(path):
            return None
    except NotTrusted as error:
        return f"{error.filename} is not yours: {error.strerror}"
    except OSError as error:
        return f"{path} is not a file" if error.errno == errno.EINVAL else None


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


def judge_spool(folder: Folder) -> Finding:
    """Judge the folder in which large zones are spooled while they are read."""
    if folder.fault is not None:
        return warning(
            "spool",
            f"{folder.fault}: large zones are held in memory, or spooled elsewhere",
            "make it a folder that syncer may write in, or set TMPDIR to another",
        )
    if folder.free < LITTLE_ROOM:
        return warning(
            "spool",
            f"{folder.path} has {size(folder.free)} left: large zones may not fit",
            "make room, or set TMPDIR to a folder that has some",
        )
    return ok("spool", f"{folder.path} can be written, {size(folder.free)} free")


def judge_metrics_file(path: str, folder: Folder, fault: str | None) -> Finding:
    """Judge whether the metrics file can be replaced; ``fault``: why what lies there is not."""
    advice = "let syncer write in that folder, or unset SYNCER_METRICS_FILE"
    if folder.fault is not None:
        return failed("metrics_file", folder.fault, advice)
    if fault is not None:
        return failed("metrics_file", fault, "name a file of yours, such as syncer.prom")
    return ok("metrics_file", f"{path} can be written")
