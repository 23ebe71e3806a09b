"""Arguments that nobody means: one line and exit 2, for every command that takes them."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import anyio
import click
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.cli.common import run
from syncer.core.errors import LockHeld
from syncer.simulator import World
from tests.support import naming

NOT_UTF8 = "\udcff"
"""How Python has the byte 0xff of a command line."""
OF_THEIR_OWN = {"doctor", "serve", "demo", "bench", "simulate"}


def with_text() -> list[list[str]]:
    """Every command with one of its arguments or options that take a text, given that."""
    found: list[list[str]] = []

    def look(command: click.Command, words: list[str]) -> None:
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                if inner := command.get_command(click.Context(command), name):
                    look(inner, [*words, name])
            return
        needed = [
            word
            for p in command.params
            if p.required
            for word in ([p.opts[0], "1"] if isinstance(p, click.Option) else ["1"])
        ]
        for each in command.params:
            if type(each.type) is type(click.STRING) and words[0] not in OF_THEIR_OWN:
                given = [each.opts[0]] if isinstance(each, click.Option) else []
                rest = needed if given or not each.required else needed[:-1]
                found.append([*words, *rest, *given, NOT_UTF8])

    look(cli, [])
    return found


async def test_what_is_not_utf8_is_wrong_usage(syncer: Any) -> None:
    found = with_text()
    assert len(found) > 60
    for arguments in found:
        with naming(arguments):
            done = await syncer(*arguments)
            assert (2, "") == (done.code, done.out)
            assert "Traceback" not in done.err
            assert done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["history", "a\0b"], "argument 'a\\x00b' holds a NUL"),
        (["images", "--limit", "x"], "'x' is not a valid whole number"),
        (["images", "--limit", "0"], "0 is not in the range"),
        (["changes", "--after", "9" * 19], "is not in the range"),
        (["bench", "--database-url", "nonsense"], "--database-url: is not a PostgreSQL URL"),
        (["simulate", "--latency", "nan"], "nan is too much, or no number"),
        (["simulate", "--rate", "inf"], "inf is too much, or no number"),
        (["simulate", "--clock-skew", "1e300"], "1e+300 is too much, or no number"),
        (["worker", "--at-once", "0"], "--at-once: '0' is not a whole number"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["images", "x" * 5000], "..."),
    ],
)
def test_an_odd_value_is_wrong_usage(arguments: list[str], why: str) -> None:
    """In lines that are short, whatever was typed."""
    done = CliRunner().invoke(cli, arguments, prog_name="syncer")
    assert (2, "") == (done.exit_code, done.stdout)
    assert why in done.stderr
    assert all(len(line) < 1100 for line in done.stderr.splitlines())


async def test_a_standard_input_that_was_closed_has_no_pins(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = f"exec {sys.executable} -m syncer check - <&-"
    done = await anyio.run_process(
        ["/bin/sh", "-c", command], check=False, env=environment, cwd=tmp_path
    )
    assert (2, b"") == (done.returncode, done.stdout)
    assert done.stderr.startswith(b"syncer: standard input: the file is empty")


@pytest.mark.parametrize(
    "command",
    [
        ["images", "--image"],
        ["zones", "--zone"],
        ["sync", "--zone"],
        ["sync", "--not-zone"],
        ["spread", "--image"],
    ],
)
async def test_a_glob_that_cannot_be_searched_for_is_wrong_usage(
    command: list[str], syncer: Any, sync: Any
) -> None:
    await sync()
    for glob in ("*a" * 200, "x" * 3000, "[z-a]"):
        with naming(glob):
            done = await syncer(*command, glob)
            assert (2, "") == (done.code, done.out)
            assert len(done.err) < 400
    # No class, as it is not closed: a zone may be called so.
    assert (await syncer(*command, "[a-")).code in {0, 2}


async def test_many_stars_say_what_one_says(syncer: Any, sync: Any) -> None:
    await sync()
    every = await syncer("images", "-o", "csv")
    assert every == await syncer("images", "-o", "csv", "--image", "*" * 3000)


async def test_a_cursor_that_cannot_be_written_shows_nothing(
    syncer: Any, sync: Any, tmp_path: Path
) -> None:
    """Or the next call would show it all again."""
    await sync()
    for path in (tmp_path / "none/cursor", Path("/proc/cursor")):
        done = await syncer("changes", "--initial", "--cursor", str(path))
        assert (2, "") == (done.code, done.out)
        assert "cannot be written" in done.err


async def test_a_cursor_may_be_a_link(syncer: Any, sync: Any, world: World, tmp_path: Path) -> None:
    """The file that it leads to is written, and it stays a link."""
    await sync()
    link = tmp_path / "cursor"
    link.symlink_to(tmp_path / "kept")
    assert 0 == (await syncer("changes", "--cursor", str(link))).code
    assert link.is_symlink()
    assert (tmp_path / "kept").read_text().strip().isdigit()


def test_what_the_system_refuses_several_tasks_is_one_line() -> None:
    """Too few open files, met at once by tasks that run side by side: no traceback."""

    @click.command()
    @run
    async def crowded() -> None:
        raise ExceptionGroup("", [OSError(errno.EMFILE, "Too many open files", "f"), LockHeld("x")])

    done = CliRunner().invoke(crowded)
    assert (1, 1) == (done.exit_code, done.stderr.count("\n"))
    assert "syncer: f: Too many open files: let it have more at once (ulimit -n" in done.stderr
