"""The command: formats, exit codes, secrets, and what cannot be cancelled."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.cli.doctor import show_findings
from syncer.doctor.finding import exit_code
from syncer.simulator import Simulator
from tests.doctor.support import (
    PLANTED,
    RunChecks,
    answering,
)
from tests.support import rows


@pytest.fixture
def ill(simulator: Simulator, tmp_path: Path) -> dict[str, str]:
    """Much is wrong, and a secret is planted wherever one can be."""
    file = tmp_path / "s.toml"
    file.write_text(f"zenlayer_token = {PLANTED!r}\nmax_rates = 5\n")
    return {
        "SYNCER_CONFIG": str(file),
        "ZENLAYER_ENDPOINT": simulator.endpoint,
        "ZENLAYER_ACCESS_KEY_ID": PLANTED,
        "ZENLAYER_ACCESS_KEY_SECRET": PLANTED,
        "SYNCER_DATABASE_URL": f"postgresql://u:{PLANTED}@127.0.0.1:1/x?sslpassword={PLANTED}",
        "HTTP_PROXY": f"http://u:{PLANTED}@127.0.0.1:9",
        "SYNCER_MAX_RATE": "none",
        "SYNCER_RUN_TIMEOUT": "soon",
    }


async def test_no_format_shows_a_secret(
    check: RunChecks,
    ill: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Table, JSON and CSV: the same lines, never a secret, exit 1."""
    monkeypatch.setenv("HTTP_PROXY", ill["HTTP_PROXY"])
    findings = await check(defaults=True, **ill)
    assert 1 == exit_code(findings)
    out: dict[str, str] = {}
    for output in ("table", "json", "csv"):
        await show_findings(findings, output)
        out[output], err = capsys.readouterr()
        assert not err
        assert PLANTED not in out[output], output
        assert "\x1b" not in out[output]
    array = json.loads(out["json"])
    assert {"check", "status", "message", "advice"} == set().union(*array)
    table = list(csv.DictReader(io.StringIO(out["csv"])))
    assert [row["check"] for row in array] == [row["check"] for row in table]
    shown = "".join(out["table"].split())  # a long path is cut where a line ends
    failed = [row for row in array if row["status"] == "failed"]
    assert {"SYNCER_RUN_TIMEOUT", "settings_file", "credentials", "database"} == {
        row["check"] for row in failed
    }
    for row in failed:
        assert "".join(row["advice"].split()) in shown
    assert out["table"].endswith("skipped.\n")


async def test_only_a_failed_line_is_exit_1(syncer: Any, url: str) -> None:
    """Warnings are exit 0 (a superuser syncs here); lines of JSON where nobody looks."""
    done = await syncer("doctor")
    assert (0, "") == (done.code, done.err)
    assert ["privileges"] == [row["check"] for row in rows(done) if row["status"] == "warning"]


@pytest.mark.parametrize(
    "wrong", [["--max-age", "old"], ["--account", "a b"], ["-o", "xml"], ["now"]]
)
def test_wrong_usage_is_exit_2(wrong: list[str]) -> None:
    """What cannot be understood is no finding."""
    done = CliRunner().invoke(cli, ["doctor", *wrong])
    assert (2, "") == (done.exit_code, done.stdout)


async def test_on_a_terminal_problems_come_last_and_in_colour(
    environment: dict[str, str], ill: dict[str, str]
) -> None:
    """What is well first, then warnings, then failures with what to do, at last the count."""
    ours, theirs = os.openpty()
    with contextlib.closing(open(ours, "rb", buffering=0)) as terminal:  # noqa: ASYNC230, PTH123
        process = await anyio.open_process(
            [sys.executable, "-m", "syncer", "doctor"],
            env={
                "PATH": os.environ["PATH"],
                "TERM": "xterm",
                "COLUMNS": "100",
                **environment,
                **ill,
            },
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while data := await anyio.to_thread.run_sync(terminal.read, 65_536):
                shown += data
        async with process:
            assert 1 == await process.wait()
    text = shown.decode()
    yellow, red = "\x1b[33m\x1b[1m", "\x1b[31m\x1b[1m"
    parts = ("\x1b[32mok", f"{yellow}warning", "\u2192 ", f"{red}failed", "4 failed")
    order = [text.index(part) for part in parts]
    assert sorted(order) == order
    assert text.rindex(parts[0]) < order[1]
    assert PLANTED not in text


async def test_what_cannot_be_cancelled_ends_with_the_process(
    environment: dict[str, str],
) -> None:
    """A thread that hangs, as in a resolver, keeps nobody waiting once all is shown."""
    program = """
import functools, threading
import anyio
from syncer import log
from syncer.cli.doctor import check_and_show
from syncer.config.settings import load_with_faults
from syncer.doctor.checks import Timing
log.configure("auto", "error")
threading.Thread(target=threading.Event().wait).start()
timing = Timing(api=0.2, close=0.2)
command = functools.partial(check_and_show, load_with_faults(), output="json", timing=timing)
raise SystemExit(anyio.run(command))
"""
    async with answering(b"") as endpoint:
        env = {"PATH": os.environ["PATH"], **environment, "ZENLAYER_ENDPOINT": endpoint}
        done = await anyio.run_process([sys.executable, "-c", program], check=False, env=env)
    assert 1 == done.returncode
    failed = [row for row in json.loads(done.stdout) if row["status"] == "failed"]
    assert [("endpoint", "no answer in 0 s")] == [(row["check"], row["message"]) for row in failed]


async def test_a_reader_that_had_enough_is_no_error(environment: dict[str, str]) -> None:
    """`syncer doctor | head -1` prints one line and no complaint."""
    command = f"{sys.executable} -m syncer doctor --all -o table | head -1"
    done = await anyio.run_process(
        ["bash", "-c", command], env={"PATH": os.environ["PATH"], **environment}
    )
    assert (1, b"") == (len(done.stdout.splitlines()), done.stderr)
