"""Folders of this machine that a sync writes in."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from syncer import __version__
from syncer.config.settings import Loaded
from syncer.doctor import judge_machine as machine
from syncer.doctor.checks import Check
from syncer.doctor.finding import Finding, ok


def checks(loaded: Loaded) -> list[Check]:
    """Return the checks of this machine."""

    async def program() -> Sequence[Finding]:
        return [ok("program", f"syncer {__version__}, Python {platform.python_version()}")]

    async def spool() -> Sequence[Finding]:
        return [machine.spool(await folder(loaded.temporary))]

    found = [
        Check(name="program", look=program, advice="install it anew"),
        Check(name="spool", look=spool, advice="set TMPDIR to a folder that answers"),
    ]
    path = loaded.settings.metrics_file
    if path is not None:

        async def metrics_file() -> Sequence[Finding]:
            usable = await anyio.to_thread.run_sync(_is_replaceable, path, abandon_on_cancel=True)
            return [machine.metrics_file(str(path), await folder(path.parent), usable=usable)]

        found.append(
            Check(
                name="metrics_file",
                look=metrics_file,
                advice="name a file in a folder that answers: SYNCER_METRICS_FILE",
            )
        )
    return found


async def folder(path: Path, *, nearest: bool = False) -> machine.Folder:
    """Look at a folder in a thread; ``nearest``: or at the first above it that is there."""
    return await anyio.to_thread.run_sync(_folder, path, nearest, abandon_on_cancel=True)


def _folder(path: Path, nearest: bool) -> machine.Folder:  # noqa: FBT001  (a thread's argument)
    while nearest and not path.exists() and path != path.parent:
        path = path.parent
    if not path.exists():
        return machine.Folder(path=str(path), exists=False)
    return machine.Folder(
        path=str(path),
        exists=True,
        directory=path.is_dir(),
        writable=os.access(path, os.W_OK | os.X_OK),
        free=shutil.disk_usage(path).free,
    )


def _is_replaceable(path: Path) -> bool:
    return path.is_file() or not path.exists()
