"""The command ``simulate`` as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from click.testing import CliRunner

import syncer
from syncer.cli.simulate import simulate

COMMAND = (sys.executable, "-c", "from syncer.cli.simulate import simulate; simulate()")
ENV = {**os.environ, "PYTHONPATH": str(Path(syncer.__file__).parents[1])}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(simulate, arguments)


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Process]:
    """Run the command, and leave no process behind when the test fails."""
    async with await anyio.open_process((*COMMAND, *arguments), env=ENV) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_a_signal_ends_it(client: Any, end: signal.Signals) -> None:
    """What it prints is right and can be pasted; a signal ends it with 0 and no traceback."""
    arguments = ("--port", "0", "--zones", "2", "--images", "3", "--token", "tok-123")
    faults = ("--access-key", "my id:it's:secret", "--fault", "hang,action=DescribeImages")
    hostile = ("--fault", "status=503,zone=\x1b[2J\nREADY=1")
    async with started(*arguments, *faults, *hostile) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        text = ""
        async for part in TextReceiveStream(process.stdout):
            text += part
            if "Ctrl-C" in text:
                break
        lines = text.splitlines()
        endpoint = re.search(r"export ZENLAYER_ENDPOINT=(\S+)", text)
        assert endpoint is not None
        assert "export ZENLAYER_ACCESS_KEY_ID='my id'" in lines
        assert "export ZENLAYER_ACCESS_KEY_SECRET='it'\"'\"'s:secret'" in lines
        assert "6 images in 2 zones" in text
        assert "Fault 1: hang,action=DescribeImages" in lines
        assert "\x1b" not in text
        assert "READY=1" not in lines

        running = SimpleNamespace(endpoint=endpoint[1])
        assert len((await client.zones(running)).response["zoneSet"]) == 2
        with anyio.move_on_after(0.1):  # a call that hangs must not keep it from ending
            await client.images(running)
        process.send_signal(end)
        with anyio.fail_after(10):
            assert await process.wait() == 0
        with pytest.raises(anyio.EndOfStream):
            await process.stderr.receive()


async def test_a_port_in_use_is_one_line_and_exit_2() -> None:
    """Whoever starts it twice reads what to do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        result = await anyio.run_process((*COMMAND, "--port", port), check=False, env=ENV)
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.decode() == (
        f"syncer simulate: cannot listen on port {port} of 127.0.0.1: it is in use;"
        " choose another with --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0"), "loopback addresses only"),  # noqa: S104
        (("--fault", "nonsense"), "unknown fault 'nonsense'"),
        (("--zones", "100000"), "zone ids to choose from"),
        (("--access-key", "onlyid"), "--access-key is ID:SECRET"),
        (("--rate", "0"), "--rate"),
        (("--port", "70000"), "--port"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: tuple[str, ...], message: str) -> None:
    """Each wrong option is named."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_kinds_of_faults_are_explained() -> None:
    """``--list-faults`` names every kind and the options that all share."""
    result = run("--list-faults")
    assert result.exit_code == 0
    assert "gzip_bomb[=MIB]: " in result.output
    assert "zone=GLOB" in result.output


def test_help_loads_no_server() -> None:
    """Importing the command does not import what it takes to run it."""
    code = (
        "import sys, syncer.cli.simulate; print('aiohttp' in sys.modules, 'msgspec' in sys.modules)"
    )
    done = subprocess.run((sys.executable, "-c", code), env=ENV, capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"False"]
