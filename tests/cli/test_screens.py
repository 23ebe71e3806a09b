"""What is seen on a real terminal: tables of its width, a pager, the bar, and answers to Ctrl-C."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import pytest

from syncer.cli.layout import width_of
from syncer.simulator import Simulator, World
from tests.terminal import on_a_terminal

SGR: Final = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS: Final = (80, 100, 120)
TABLES: Final = (
    ["zones"], ["runs"], ["images"], ["changes"], ["spread"], ["asof", "0s"], ["diff", "1", "2"],
    ["check", "pinned"], ["baseline", "list"],
)  # fmt: skip
IMAGE: Final = re.compile(r"img-\w+")


def left(written: str) -> list[str]:
    """The lines that a terminal shows at the end, after all that was drawn anew."""
    lines, at = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", SGR.sub("", written)):
        if part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif part == "\x1b[1A":
            at -= 1
        elif part == "\x1b[2K":
            lines[at] = ""
        elif not part.startswith(("\x1b", "\r")):
            lines[at] += part
    return [line for line in lines if line.strip()]


@pytest.fixture
async def stored(sync: Any, syncer: Any, world: World) -> set[str]:
    """Two runs with changes between, and a baseline; the ids that are stored."""
    world.add_image("FRA-A", imageName="東京の画像 " * 20, imageVersion="20.04.2019010.1")
    await sync()
    await syncer("baseline", "save", "pinned")
    ids = {image for zone in world.zones() for image in world.images(zone)}
    world.drift(3, appear=2, change=3, remove=2)
    await sync()
    return ids | {image for zone in world.zones() for image in world.images(zone)}


async def test_no_table_passes_the_width_of_the_terminal(
    stored: set[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """At any width no line is wider, and no id is broken; what is too long goes to the pager."""
    code = (
        "import os, sys; from syncer import streams; from syncer.cli import cli\n"
        "streams.protect()\n"
        f"for width in {WIDTHS!r}:\n"
        f"    for command in {list(TABLES)!r}:\n"
        "        os.environ['COLUMNS'] = str(width)\n"
        "        print('=' * width, flush=True)\n"
        "        try: cli(command)\n"
        "        except SystemExit as end: assert end.code in (0, 6), (command, end.code)\n"
        "        sys.stdout.flush(); sys.stderr.flush()\n"
    )
    env = {**environment, "LINES": "20", "PAGER": "cat -n"}
    run = partial(on_a_terminal, [sys.executable, "-c", code], env, tmp_path)
    done, said = await anyio.to_thread.run_sync(run)
    assert 0 == done, said[-2000:]
    shown = re.split(r"^(=+)\n", "\n".join(left(said)), flags=re.MULTILINE)[1:]
    assert len(WIDTHS) * len(TABLES) * 2 == len(shown)
    for at, (rule, text) in enumerate(zip(shown[::2], shown[1::2], strict=True)):
        command = TABLES[at % len(TABLES)]
        lines = text.splitlines()
        paged = [line for line in lines if "\t" in line]
        assert bool(paged) == (len(lines) >= 20), command
        plain = [re.sub(r"^ *\d+\t", "", line) for line in lines]
        assert [] == [line for line in plain if width_of(line) > len(rule)], command
        ids = {image for line in plain for image in IMAGE.findall(line)}
        assert ids <= stored | {"img-"}, command
        if command == ["images"]:
            assert stored <= ids, len(rule)


async def test_a_warning_is_written_above_the_bar_and_ctrl_c_is_answered(
    environment: dict[str, str], simulator: Simulator, tmp_path: Path, sync: Any
) -> None:
    """Log and bar do not mix; the run says at once that it stops, and at last what was not read."""
    await sync()
    simulator.add_fault("status=400,action=DescribeZones")
    simulator.add_fault("hang,zone=FRA-A,action=DescribeImages")
    command = [sys.executable, "-m", "syncer", "sync"]
    run = partial(
        on_a_terminal,
        command,
        environment | {"SYNCER_LOG_LEVEL": "auto"},
        tmp_path,
        interrupted_at="5/6 zones",
    )
    code, said = await anyio.to_thread.run_sync(run)
    assert 3 == code, said
    lines = left(said)
    assert re.match(r"\d\d:\d\d:\d\d The zones of vm were not listed: the API ", lines[0]), lines
    assert [] == [line for line in lines if "pages" in line]
    [stopping] = [line for line in lines if "Stopping: what was read is stored. Ctrl-C" in line]
    [summed_up] = [line for line in lines if line.startswith("Run 2 partial: 5 of 6 zones, ")]
    assert lines.index(stopping) < lines.index(summed_up)
    assert "zone vm/FRA-A not read: the run was asked to stop (SIGINT)" in " ".join(lines)


async def test_a_daemon_on_a_terminal_says_what_it_does(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Where it listens, what came of a run, when the next is, and that it ends."""
    command = [sys.executable, "-m", "syncer", "serve", "--http", "127.0.0.1:0", "--every", "1h"]
    run = partial(
        on_a_terminal,
        command,
        environment | {"SYNCER_LOG_LEVEL": "auto"},
        tmp_path,
        interrupted_at="Next run",
    )
    code, said = await anyio.to_thread.run_sync(run)
    assert 0 == code, said
    patterns = (
        r"Listening on http://127.0.0.1:\d+: /livez, /readyz, /metrics.",
        r"Run 1 succeeded: 6 zones, 120 images, \+120, in [\d.]+ s.",
        r"Next run in \d+ min, at \d\d:\d\d:\d\dZ.",
        r"Ending: what was read is stored. Ctrl-C again gives up at once.",
        r"Ended.",
    )
    lines = left(said)
    assert len(patterns) == len(lines), lines
    for pattern, line in zip(patterns, lines, strict=True):
        assert re.fullmatch(rf"\d\d:\d\d:\d\d {pattern}", line.strip()), line
