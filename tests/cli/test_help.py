"""What --help says: defaults, what may be repeated, and examples that are understood."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.cli.examples import EXAMPLES
from tests.cli.test_hints import parse


def commands() -> dict[str, click.Command]:
    """Every command and group, by its words after ``syncer``."""
    found: dict[str, click.Command] = {}

    def look(command: click.Command, words: list[str]) -> None:
        found[" ".join(words)] = command
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                if inner := command.get_command(click.Context(command), name):
                    look(inner, [*words, name])

    look(cli, [])
    return found


COMMANDS = commands()


def test_every_command_has_two_examples_that_are_of_it_and_understood() -> None:
    """What stands behind a > is the shell's; of a group they may be those of its commands."""
    assert COMMANDS.keys() == EXAMPLES.keys()
    for path, examples in EXAMPLES.items():
        assert len(examples) >= 2, path
        for text, line in examples:
            assert text[-1] in ":?", text
            inner = re.search(r"\$\((.*)\)", line)
            words = shlex.split(inner[1] if inner else line.partition(" > ")[0])
            assert f"syncer {path}".split() == words[: len(path.split()) + 1], line
            parse(shlex.join(words))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path or "syncer")
def test_help_shows_examples_defaults_and_what_may_be_repeated(path: str) -> None:
    """An option that takes a value is needed, or says what goes without it."""
    words = [*path.split(), "--help"]
    done = CliRunner().invoke(cli, words, prog_name="syncer", terminal_width=500)
    shown = " ".join(done.output.split())
    assert 0 == done.exit_code
    for _, line in EXAMPLES[path]:
        assert f"\n  {line}\n" in done.output
    options = shown.partition(" Options: ")[2].partition(" Examples: ")[0]
    for option in COMMANDS[path].params:
        if isinstance(option, click.Option) and not option.is_flag:
            about = re.search(rf"{option.opts[-1]} .*?(?= --?[a-z][a-z-]+[ ,]|$)", options)
            assert about is not None
            assert option.required or "[default: " in about[0], option.name
            assert not option.multiple or "may be repeated]" in about[0], option.name


def test_a_wrong_name_of_a_command_or_an_option_is_answered_with_the_right_one() -> None:
    for words, meant in (
        (["imagse"], "'images'"),
        (["db", "statsu"], "'status'"),
        (["baseline", "sav"], "'save'"),
        (["images", "--limti", "3"], "'--limit'"),
    ):
        done = CliRunner().invoke(cli, words, prog_name="syncer")
        assert 2 == done.exit_code
        assert f"Did you mean {meant}?" in done.output
