"""The JSON Schemas are those of what commands print."""

from __future__ import annotations

import json
from typing import Any

import click
import jsonschema
from click.testing import CliRunner

from syncer.cli import cli
from syncer.simulator import Simulator, World
from tests.cli.schemas import COMMANDS, FOLDER, file_of, printed, schema_of
from tests.cli.test_help import COMMANDS as ALL
from tests.support import Done, lose, lose_zone, naming


def test_every_command_with_an_output_format_has_one() -> None:
    """Also what a dry run prints, which are other rows."""
    formatted = {
        path
        for path, command in ALL.items()
        if any(isinstance(p, click.Option) and p.name == "output" for p in command.params)
    }
    assert formatted | {"sync --dry-run"} == COMMANDS.keys()
    assert {file_of(command) for command in COMMANDS} == {*FOLDER.iterdir()}


async def test_the_files_are_what_statements_and_structures_say(db: Any) -> None:
    """After a change: make schema."""
    for command in COMMANDS:
        with naming(command):
            assert printed(await schema_of(command, db)) == file_of(command).read_text()


def test_a_user_of_the_command_is_shown_them() -> None:
    for command in COMMANDS:
        done = CliRunner().invoke(cli, ["schema", *command.split()], prog_name="syncer")
        assert (0, file_of(command).read_text()) == (done.exit_code, done.output)
    named = CliRunner().invoke(cli, ["schema"]).output.split()
    assert sorted(file_of(command).stem for command in COMMANDS) == named


def check(command: str, done: Done, *, array: bool) -> int:
    """The rows of an output, all as the schema says; how many they are."""
    schema = json.loads(file_of(command).read_text())
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    answers = [json.loads(done.out)] if array else [json.loads(n) for n in done.out.splitlines()]
    for answer in answers:
        validator.validate(answer)
        for row in answer if array else [answer]:
            assert schema["$defs"]["row"]["required"] == list(row)
    return len(answers[0]) if array else len(answers)


async def test_what_commands_print_is_as_their_schema_says(
    syncer: Any, world: World, simulator: Simulator
) -> None:
    """After drift, a zone that went, removals that are withheld, and a run that failed."""
    expected = {"sync", "sync --dry-run"}
    assert 1 == check("sync", await syncer("sync"), array=False)
    await syncer("baseline", "save", "b")
    world.drift(5, appear=5, change=5, remove=5)
    lose(world, "FRA-A", 15)
    lose_zone(simulator, max(world.zones()))
    assert 0 < check("sync --dry-run", await syncer("sync", "--dry-run"), array=False)
    assert 1 == check("sync", await syncer("sync", "-o", "json"), array=True)
    wrong = await syncer("sync", ZENLAYER_ACCESS_KEY_SECRET="wrong")
    assert (1, 1) == (check("sync", wrong, array=False), json.loads(wrong.out)["exit_code"])
    history = next(iter(world.images("FRA-A")))
    for command, arguments in (
        ("images", []), ("zones", []), ("runs", []), ("changes", []), ("history", [history]),
        ("diff", ["1", "0s"]), ("asof", ["0s"]), ("spread", []), ("check", ["b"]),
        ("baseline list", []), ("prune", ["--keep", "1d", "--dry-run"]), ("db status", []),
        ("db repair-clock", []),
    ):  # fmt: skip
        expected.add(command)
        with naming(command):
            words = [*command.split(), *arguments]
            rows = check(command, await syncer(*words, "-o", "json"), array=True)
            assert rows or command == "db repair-clock"
    assert 0 < check("zones", await syncer("zones", "-o", "ndjson"), array=False)
    assert expected | {"doctor"} == COMMANDS.keys()  # tests/doctor has its findings
