"""The folders that a sync writes in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from syncer.doctor import embedded, machine
from tests.doctor.support import (
    RunChecks,
    only,
    problems,
)
from tests.support import STRANGER


async def test_folders_that_cannot_be_written(check: RunChecks, tmp_path: Path) -> None:
    """The metrics file's folder and TMPDIR are tried, not found out by a run at night."""
    path = tmp_path / "none" / "syncer.prom"
    findings = await check(SYNCER_METRICS_FILE=str(path))
    only(findings, "metrics_file", "failed", f"no folder {path.parent}", "SYNCER_METRICS_FILE")
    findings = await check(SYNCER_METRICS_FILE=str(tmp_path))
    only(findings, "metrics_file", "failed", "is not a file", "a file of yours")
    assert [] == problems(await check(SYNCER_METRICS_FILE=str(tmp_path / "syncer.prom")))
    if not os.geteuid():
        link = tmp_path / "link.prom"
        link.symlink_to("syncer.prom")
        os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
        findings = await check(SYNCER_METRICS_FILE=str(link))
        only(
            findings,
            "metrics_file",
            "failed",
            f"it is a link of uid {STRANGER}'s",
            "a file of yours",
        )
    if os.geteuid():
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        findings = await check(SYNCER_METRICS_FILE=str(closed / "syncer.prom"))
        only(findings, "metrics_file", "failed", "cannot be written in", "let syncer write")
    only(await check(TMPDIR=str(path)), "spool", "warning", f"no folder {path}", "set TMPDIR")


def folder(**values: Any) -> machine.Folder:
    usual = {"path": "/x", "exists": True, "directory": True, "writable": True, "free": 5 << 30}
    return machine.Folder(**{**usual, **values})


def test_room_is_warned_of_before_there_is_none() -> None:
    """Below 1 GiB a warning; below 128 MiB PostgreSQL is about to stop."""
    for free, status in ((1 << 30, "ok"), ((1 << 30) - 1, "warning"), ((128 << 20) - 1, "failed")):
        assert status == embedded.judge_room(folder(free=free)).status
    assert "warning" == machine.judge_spool(folder(free=(1 << 30) - 1)).status


def test_why_a_folder_will_not_do() -> None:
    """Absent, no folder, closed."""
    for values, says in (
        ({"exists": False}, "there is no folder /x"),
        ({"directory": False}, "/x is no folder"),
        ({"writable": False}, "/x cannot be written in"),
    ):
        for found in (
            machine.judge_spool(folder(**values)),
            machine.judge_metrics_file("/x/f", folder(**values), None),
        ):
            assert says in found.message
