"""What a terminal is sent: nothing that came from the API steers it, whatever the output."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from typing import Any

import anyio
import pytest

from syncer.simulator import World

HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b31m\u202e\u200b\u2028\x85\r\nforged"
COLOURS = re.compile(r"\x1b\[[\d;]*m")
COMMANDS = [
    ["images"],
    ["zones"],
    ["runs"],
    ["changes", "--initial"],
    ["history", "*"],
    ["asof", "0s"],
    ["diff", "1", "0s"],
    ["spread"],
    ["check", "pinned"],
    ["baseline", "list"],
    ["sync", "--dry-run"],
]


@pytest.fixture
def world() -> World:
    """Two zones whose images say hostile things, and not the same."""
    world = World.generate(seed=3, zones=0, sizes={"FRA-A": 4, "HKG-A": 4})
    for number, zone in enumerate(("FRA-A", "HKG-A")):
        for image_id in sorted(world.images(zone))[:2]:
            world.change_image(
                zone,
                image_id,
                imageName=f"name {HOSTILE}",
                imageVersion=f"{HOSTILE}{number}",
                imageStatus=f"status {HOSTILE}{number}",
                imageSize=f"{number}{HOSTILE}",
                imageDescription=HOSTILE,
            )
    return world


def on_a_terminal(commands: list[list[str]], env: dict[str, str]) -> str:
    """What commands print, one after the other in one process, on a terminal."""
    code = (
        "import sys; from syncer.cli import cli\n"
        f"for command in {commands!r}:\n"
        "    try: cli(command)\n"
        "    except SystemExit as end: assert end.code in (0, 3, 6, None), (command, end.code)\n"
    )
    ours, theirs = pty.openpty()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-c", code], env=env, stdin=theirs, stdout=theirs, stderr=errors
        ) as process,
    ):
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # nobody has the terminal any more
                break
            if not part:
                break
            said += part
        process.wait()
        errors.seek(0)
        assert 0 == process.returncode, errors.read().decode()
    os.close(ours)
    return said.decode()


@pytest.mark.parametrize("output", ["table", "csv", "ndjson", "json"])
async def test_what_the_api_says_steers_no_terminal(
    output: str, sync: Any, syncer: Any, world: World, environment: dict[str, str]
) -> None:
    await sync()
    assert 0 == (await syncer("baseline", "save", "pinned")).code
    world.change_image("FRA-A", min(world.images("FRA-A")), imageVersion=f"2{HOSTILE}")
    world.remove_image("HKG-A", min(world.images("HKG-A")))
    world.add_image("HKG-A", imageName=f"new {HOSTILE}")
    await sync()
    world.change_image("FRA-A", min(world.images("FRA-A")), imageVersion=f"3{HOSTILE}")
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "200", **environment}
    commands = [[*command, "-o", output] for command in COMMANDS]
    said = await anyio.to_thread.run_sync(on_a_terminal, commands, env)
    assert "forged" in said
    left = COLOURS.sub("", said).replace("\r\n", "\n")
    assert set() == {c for c in left if not c.isprintable() and c != "\n"}
    assert [] == [line for line in left.split("\n") if line.startswith("forged")]


async def test_a_file_gets_what_the_api_said_as_it_is(sync: Any, syncer: Any, world: World) -> None:
    """Not a character is lost where a program reads."""
    await sync()
    lines = (await syncer("images", "-o", "ndjson")).out.rstrip("\n").split("\n")
    names = {json.loads(line)["image_name"] for line in lines}
    assert f"name {HOSTILE}" in names
