"""The crontab: its lines run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import anyio

from tests.deploy.tools import DEPLOY, check_command

CRONTAB = (DEPLOY / "cron/syncer").read_text()
LINE = re.compile(r"(?P<when>(?:[\d*/,-]+ +){5})(?P<user>[a-z]+) +(?P<command>.+)")
PROGRAM = "/opt/syncer/venv/bin/syncer"


def test_every_line_is_a_comment_a_variable_or_a_job() -> None:
    """Also those that a # keeps back, which cron would refuse only when somebody needs them."""
    jobs = []
    for line in CRONTAB.splitlines():
        bare = line.removeprefix("#")
        if job := LINE.fullmatch(bare):
            jobs.append(job)
            assert "%" not in bare  # cron makes a new line of it
        else:
            assert not bare or bare.startswith(" ") or re.fullmatch(r"[A-Z_]+=\S+", bare), line
    assert CRONTAB.endswith("\n")
    assert ["syncer"] * 2 == [job["user"] for job in jobs]
    words = [job["command"].removesuffix(" >/dev/null").split() for job in jobs]
    assert [PROGRAM] * 2 == [word[0] for word in words]
    for word in words:
        check_command(*word[1:])


async def test_the_job_works_and_is_silent(environment: dict[str, str], tmp_path: Path) -> None:
    """With cron's bare environment the run does its work and prints nothing to mail."""
    command = next(LINE.finditer(CRONTAB))["command"]
    program = tmp_path / "syncer"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m syncer "$@"\n')
    program.chmod(0o755)
    for name in ("ZENLAYER_ACCESS_KEY_ID", "ZENLAYER_ACCESS_KEY_SECRET", "SYNCER_DATABASE_URL"):
        (tmp_path / name.lower()).write_text(environment[name])
    crontab: dict[str, Any] = dict(re.findall("^([A-Z_]+)=(.*)$", CRONTAB, re.MULTILINE))
    done = await anyio.run_process(
        ["/bin/sh", "-c", command.replace(PROGRAM, str(program))],
        env={
            **crontab,
            "CREDENTIALS_DIRECTORY": str(tmp_path),
            "ZENLAYER_ENDPOINT": environment["ZENLAYER_ENDPOINT"],
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(sys.path),
        },
        check=False,
    )
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
