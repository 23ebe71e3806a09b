"""Whatever the API says: no terminal is steered by it, no line forged; programs read it exactly.

One inventory holds each text in each place that the API fills, and every command that prints is
asked about it, on a terminal and into a file.
"""

from __future__ import annotations

import ast
import csv
import io
import itertools
import json
import os
import re
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncer import cli as cli_room
from syncer.cli import _print_redacted_traceback
from syncer.cli.output import FORMATS, each, write
from syncer.core.normalise import clean
from syncer.serve.systemd import Notifier
from syncer.simulator import Simulator, World
from syncer.simulator.faults import InjectedFault
from tests.support import Done, lose
from tests.terminal import on_a_terminal

HOSTILE: Final = {
    "escape": "\x1b[2J\x1b[7;95mx\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJm\x1b\\",
    "c1": "\x9b2J\x9d52;c;cm0=\x9c\x85",
    "bidi": "\u202egpj.exe\u2066x\u2069\u200f",
    "invisible": "a\u200bb\u2060\ufeff\u00ad\U000e0041",
    "lines": "a\u2028forged\u2029forged\x0bforged\x0cforged\x1cforged",
    "return": "harmless\rforged",
    "newline": 'x\nforged: all is well\r\n{"event": "forged"}',
    "nul": "a\x00b",
    "surrogate": "a\ud800b\udfff",
    "long": "x" * 10_000,
    "shell": "$(touch pwned)`touch pwned`; touch pwned #",
    "option": "--help",
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+1+1",
    "minus": "-2+3",
    "at": "@SUM(1,1)",
    "tab": "\t=1+1",
    "markup": "[red]x[/red][link=file:///etc]y[/link] :smile:",
    "label": 'x"} 1\nsyncer_forged_total{a="b\\',
    "status": "x\nREADY=1\nSTATUS=forged",
    "statement": "'; drop schema syncer cascade; --",
    "format": "%s %n {0} {zone} %(x)s",
}
READING: Final = [
    ["images"], ["zones"], ["runs"], ["changes", "--initial"], ["history", "*"], ["asof", "0s"],
    ["diff", "1", "0s"], ["spread"], ["check", "pinned"], ["check", "pins.csv"],
    ["baseline", "list"], ["sync", "--dry-run"], ["doctor"], ["db", "status"],
    ["db", "repair-clock"], ["prune", "--keep", "1d", "--dry-run"],
]  # fmt: skip
"""Every command that prints rows or findings."""
IDS: Final = [text for text in HOSTILE.values() if clean(text) == text and len(text) < 100]
"""Those that can be the id of a zone, or of an image."""
SAYING: Final = [
    *([*command, "--", text] for command, text in zip(
        itertools.cycle((["retire"], ["approve", "--max", "1"], ["history"])), IDS)),
    ["approve", "--max", "9", "FRA-A"], ["retire", IDS[0]], ["sync"], ["baseline", "save", "again"],
]  # fmt: skip
"""Commands that say what they did, and to what."""
OURS: Final = re.compile(
    r"\x1b\[(?:\?25[lh]|2K|1A|[0-3]?m|(?:1;|2;)?[39][0-6]m)|\r(?=\x1b\[(?:1A|2K))"
)
"""What is written to a terminal to colour a text or to draw a progress bar anew."""


def fields(text: str) -> dict[str, str]:
    """What an image has to say."""
    names = ("Name", "Version", "Status", "Description", "Size", "Type")
    return {f"image{name}": text for name in names} | {"category": text, "osType": text}


@pytest.fixture
def world() -> World:
    """A zone of each id that a zone can have, and in one of them an image of each text."""
    world = World.generate(seed=3, zones=0, sizes={"FRA-A": 4})
    for text in HOSTILE.values():
        world.add_image("FRA-A", **fields(text))
    for text in IDS:
        world.add_zone(text, images=0, zoneName=text)
        world.add_row(text, {"imageId": text, **fields(text)}, key=text)
    return world


@pytest.fixture
async def stored(
    sync: Any, syncer: Any, simulator: Simulator, world: World, tmp_path: Path
) -> World:
    """Two runs with changes between; in the second some zones fail, and removals are withheld."""
    assert 0 == (await sync()).exit_code
    assert 0 == (await syncer("baseline", "save", "pinned")).code
    pins = await syncer("images", "-o", "csv")
    (tmp_path / "pins.csv").write_bytes(pins.out.encode())
    lose(world, "FRA-A", 12)
    for text in IDS[::2]:
        world.change_image(text, text, imageVersion="2")
    for number, text in enumerate(IDS[1::4]):
        simulator.add_fault(InjectedFault("status", 400, code=text, zone="*" + text[-4:]))
        world.remove_image(IDS[4 * number], IDS[4 * number])
    assert 3 == (await sync()).exit_code
    return world


def in_one_process(commands: list[list[str]], env: dict[str, str], folder: Path) -> str:
    """What commands print, one after the other in one process, on a terminal."""
    code = (
        "import sys; from syncer import streams; from syncer.cli import cli; streams.protect()\n"
        f"for command in {commands!r}:\n"
        "    try: cli(command)\n"
        "    except SystemExit as end: assert end.code in range(7), (command, end.code)\n"
        "    sys.stdout.flush(); sys.stderr.flush()\n"
    )
    ended, said = on_a_terminal([sys.executable, "-c", code], env, folder, size=(0, 0))
    assert 0 == ended, said[-2000:]
    return said


def forged(text: str) -> list[str]:
    """Lines that only the API can have begun; within a table a cell may go on below."""
    return [line for line in text.splitlines() if line.startswith(("forged", "READY", "syncer_f"))]


def steering(text: str) -> set[str]:
    """What could do more to a terminal than to fill its cells, one after the other."""
    return {char for char in text if not char.isprintable() and char != "\n"}


async def test_nothing_steers_a_terminal(
    stored: World, environment: dict[str, str], tmp_path: Path
) -> None:
    """Every command, each format; what is logged at debug, and what is said of a failure, too."""
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "200", **environment}
    env["PAGER"] = "cat"
    env |= {"SYNCER_LOG_LEVEL": "debug", "SYNCER_LOG_FORMAT": "console"}
    commands = [[*command, "-o", form] for command in READING for form in FORMATS]
    said = await anyio.to_thread.run_sync(in_one_process, commands + SAYING, env, tmp_path)
    assert "forged" in said
    left = OURS.sub("", said.replace("\r\n", "\n"))
    assert set() == steering(left), [line for line in left.split("\n") if steering(line)][:5]
    assert [] == forged(left)
    assert not (tmp_path / "pwned").exists()


async def test_what_goes_elsewhere_than_results_forges_no_line(stored: World, syncer: Any) -> None:
    """Stderr that goes to a file is read on a terminal later; a log line is a line."""
    for form, commands in (("console", READING + SAYING), ("json", [["sync"], ["prune"]])):
        env = {"SYNCER_LOG_LEVEL": "debug", "SYNCER_LOG_FORMAT": form, "SYNCER_KEEP": "1d"}
        for command in commands:
            done = await syncer(*command, **env)
            assert set() == steering(done.err), (command, done.err)
            assert [] == forged(done.err), (command, done.err)
            if form == "json":
                lines = [line for line in done.err.splitlines() if not line.startswith("syncer: ")]
                assert "forged" not in {json.loads(line)["event"] for line in lines}


def test_a_traceback_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug's error may quote anything."""
    _print_redacted_traceback(ValueError, ValueError("".join(HOSTILE.values())), None)
    assert set() == steering(capsys.readouterr().err)


@pytest.mark.parametrize("before", [[], ["images"], ["db", "move"], ["images", "-o"], ["bench"]])
async def test_wrong_usage_steers_no_terminal(before: list[str], syncer: Any) -> None:
    """Its error quotes what was given, which may be what the API said."""
    done = await syncer(*before, "".join(IDS))
    assert 2 == done.code
    assert 4 == len(done.err.splitlines())
    assert set() == steering(done.err)
    assert [] == forged(done.err)


def test_what_is_filled_in_is_printed_by_say() -> None:
    """A message with a value in it, which may be the API's, is made printable."""
    filled = {
        path.stem
        for path in Path(cli_room.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "click.echo"
        if any(isinstance(argument, ast.JoinedStr) for argument in node.args)
    }
    assert {"simulate"} == filled, "which fill in our own words"


async def test_programs_read_what_the_api_said(stored: World, syncer: Any) -> None:
    """Not a character is lost in a file. In ``csv-safe`` no text is a formula, and none is lost."""
    names = set()
    for command, key in (("images", "image_name"), ("zones", "zone_name")):
        lines = (await syncer(command, "-o", "ndjson")).out
        rows = [json.loads(line) for line in lines.removesuffix("\n").split("\n")]
        assert rows == json.loads((await syncer(command, "-o", "json")).out)
        assert set(IDS) <= {row[key] for row in rows} & {row["zone_id"] for row in rows}
        names |= {row[key] for row in rows}
        plain = read_csv(await syncer(command, "-o", "csv"))
        assert [row[key] for row in rows] == [row[key] for row in plain]
        safe = read_csv(await syncer(command, "-o", "csv-safe"))
        for row, same in zip(plain, safe, strict=True):
            for name, text in row.items():
                formula = text.lstrip().startswith(("=", "+", "-", "@"))
                assert same[name] == (f"'{text}" if formula or text[:1] in set("\t\r\n") else text)
    assert {clean(text) for text in HOSTILE.values()} <= names


def read_csv(done: Done) -> list[dict[str, str]]:
    assert 0 == done.code
    return list(csv.DictReader(io.StringIO(done.out, newline="")))


async def test_a_number_is_a_number_to_a_spreadsheet_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"whole": -5, "exact": Decimal("-1.50"), "text": "-5", "none": None, "yes": True}
    await write(each([row]), list(row), "csv-safe")
    assert (
        '"whole","exact","text","none","yes"\n-5,-1.50,"\'-5","",True\n' == capsys.readouterr().out
    )


async def test_metrics_name_zones_as_they_are(stored: World, process: Any, tmp_path: Path) -> None:
    """A label holds its zone and no more: no series is forged, and counters go on from a file."""
    file = tmp_path / "metrics.prom"
    for runs in (1, 2):
        assert 3 == (await process("sync", SYNCER_METRICS_FILE=str(file))).code
        text = file.read_bytes().decode()
        samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]
        zones = [sample.labels["zone"] for sample in samples if "zone" in sample.labels]
        assert {"FRA-A", *IDS} == set(zones)
        assert all(sample.name.startswith("syncer_") for sample in samples)
        assert "syncer_forged_total" not in {sample.name for sample in samples}
        ended = [sample.value for sample in samples if sample.name == "syncer_runs_total"]
        assert runs == sum(ended)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_status_is_one_line_of_its_own(text: str, tmp_path: Path) -> None:
    """Systemd takes each line of a message for an assignment."""
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(place)
        Notifier(place).status(f"zone {text} failed")
        said = systemd.recv(65536).decode()
    assert said.startswith("STATUS=zone ")
    assert said.isprintable()
