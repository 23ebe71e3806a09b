"""What cannot be shown harms nothing that is done: streams that are full, closed or not read.

``SYNCER_TEST_STREAMS=1 pytest tests/e2e/test_streams.py`` has every output with every stream.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.simulator import Simulator, World
from tests.support import assert_exact, naming, until

pytestmark = pytest.mark.any_server

STREAMS = ["full", "closed", "broken", "unread"]
"""A full disk; nothing is open there; a pipe whose reader went; one whose reader sleeps."""
# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
EVERY = bool(os.environ.get("SYNCER_TEST_STREAMS"))
OUTPUTS = {
    "full": ["table", "json", "ndjson", "csv"],
    "closed": ["table", "ndjson"],
    "broken": ["json", "csv"],
}
USES = [  # what is asked, and the streams that are of no use meanwhile
    (["--help"], [1, 2]),
    (["images", "--nonsense"], [1, 2] if EVERY else [2]),
    (["sync", "--zone", "["], [1, 2] if EVERY else [2]),
]


@contextlib.contextmanager
def useless(kind: str, number: int) -> Iterator[tuple[int, str]]:
    """A file descriptor to write to in vain, and how a shell has it as a stream of a command."""
    if kind == "closed":
        yield os.open(os.devnull, os.O_WRONLY), f"{number}>&-"
        return
    if kind == "full":
        yield os.open("/dev/full", os.O_WRONLY), ""
        return
    reading, writing = os.pipe()
    if kind == "broken":
        os.close(reading)
    else:
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
    yield writing, ""
    if kind == "unread":
        os.close(reading)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Any:
    """Start the command with one of its streams as useless as that; the others are pipes."""
    started: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def start(*arguments: str, kind: str, number: int, **env: str) -> Iterator[Any]:
        with useless(kind, number) as (descriptor, redirection):
            command = [sys.executable, "-m", "syncer", *arguments]
            shell = ["sh", "-c", f'exec "$@" {redirection}', "sh"] if redirection else []
            process = subprocess.Popen(
                [*shell, *command],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"], **environment, "SYNCER_LOG_LEVEL": "info", **env},
                stdin=subprocess.DEVNULL,
                stdout=descriptor if number == 1 else subprocess.PIPE,
                stderr=descriptor if number == 2 else subprocess.PIPE,
            )
            os.close(descriptor)
            started.append(process)
            yield process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("kind", STREAMS)
async def test_a_run_is_what_it_is_though_it_cannot_say_so(  # noqa: PLR0917
    kind: str, number: int, start: Any, simulator: Simulator, world: World, db: Any
) -> None:
    """A failing zone too: what is stored, the row of the run, and the exit code."""
    simulator.add_fault("status=400,code=NOT_TODAY,zone=SEL-A")
    # Who does not read is waited for: once is enough to see.
    once = kind == "unread" or (number == 2 and not EVERY)
    ends = [(3, "partial"), (0, "succeeded")][: 1 if once else 2]
    for expected, status in ends:
        with start("sync", kind=kind, number=number) as process:
            out, err = await anyio.to_thread.run_sync(process.communicate)
        assert expected == process.returncode, (out, err)
        assert status == await db.fetchval(
            "select status from syncer.runs order by run_id desc limit 1"
        )
        if number == 1:
            assert "the output" in err.decode()
        elif number == 2:
            assert json.loads(out)["status"] == status
        simulator.clear_faults()
    if not once:
        await assert_exact(db, world)


@pytest.mark.parametrize("kind", STREAMS)
async def test_the_daemon_outlives_a_log_that_nobody_takes(
    kind: str, start: Any, db: Any, simulator: Simulator
) -> None:
    simulator.add_fault("status=503,probability=30%")  # it has much to say
    with start("serve", "--every", "1s", "--http", "off", kind=kind, number=2) as process:
        await until(lambda: db.fetchval("select count(*) >= 2 from syncer.runs"))
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert 0 == await anyio.to_thread.run_sync(process.wait)
    assert 0 == await db.fetchval("select count(*) from syncer.runs where error_code <> 'STOPPED'")


@pytest.mark.parametrize("kind", OUTPUTS)
async def test_results_that_cannot_be_written_are_an_error(
    kind: str, start: Any, sync: Any
) -> None:
    """One line that says why, exit 1; where the reader wants no more, nothing, and exit 0."""
    await sync()
    for output in OUTPUTS["full" if EVERY else kind]:
        with start("images", "-o", output, kind=kind, number=1) as process:
            _, err = await anyio.to_thread.run_sync(process.communicate)
        said = err.decode().splitlines()
        with naming(output):
            if kind == "broken":
                assert (0, []) == (process.returncode, said)
                continue
            [line] = said
            assert 1 == process.returncode
            assert line.startswith("syncer: the output cannot be written: ")


@pytest.mark.parametrize("kind", STREAMS[:3])
async def test_help_and_wrong_usage_need_no_stream(kind: str, start: Any) -> None:
    for arguments, number in ((use, n) for use, numbers in USES for n in numbers):
        with start(*arguments, kind=kind, number=number) as process:
            _, err = await anyio.to_thread.run_sync(process.communicate)
        failed = arguments == ["--help"] and number == 1 and kind != "broken"
        with naming((arguments, number)):
            expected = 1 if failed else 0 if arguments == ["--help"] else 2
            assert expected == process.returncode
            assert b"Traceback" not in (err or b"")


def test_lines_are_kept_for_a_reader_who_is_late_and_counted_if_he_is_too_late() -> None:
    """A log says how many of its lines are missing, as soon as it takes lines again."""
    code = (
        "import os, sys, structlog; from syncer import log, streams\n"
        "streams.protect(); log.configure('json', 'info'); logger = structlog.get_logger()\n"
        "for number in range(3000): logger.info('said', number=number, text='x' * 1000)\n"
        "print(streams.lost_lines(), flush=True); streams.finish()\n"
        "logger.info('again')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        lost = int(process.stdout.readline())
        assert 1000 < lost < 3000
        said = process.stderr.readlines()
    lines = [json.loads(line) for line in said]
    assert [*range(3000 - lost)] == [line["number"] for line in lines if "number" in line]
    assert ["log.lines_lost", "again"] == [line["event"] for line in lines[-2:]]
    assert lost == lines[-2]["lines"]
