"""Every command that a message offers exists, with each of its options."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.exceptions import NoArgsIsHelpError

from syncer.cli import cli
from syncer.core.hints import (
    approve_command,
    approve_run_command,
    place_options,
    withheld_command,
)
from tests.support import naming

ROOT = Path(__file__).parents[2]
ROOMS = ("syncer", "migrations", "deploy", "tests")
COMMANDS = "|".join(cli.list_commands(click.Context(cli)))
OFFERED = re.compile(
    rf"\bsyncer ((?:{COMMANDS})\b(?: (?:list|save|delete|upgrade|status|url|roles)\b)?"
    r"(?: --?[a-z][a-z-]*(?:[ =](?:\d[\w.]*|[A-Z][\w*-]+|[\w.]+(?=[';.,])))?| [A-Z][\w*-]+| \d+)*)"
)


def parse(command: str) -> dict[str, object]:
    """What the command line understands of a command; it is not run."""
    name, *arguments = shlex.split(command)
    assert "syncer" == name
    parsed: click.Command = cli
    context = cli.make_context("syncer", arguments)
    while isinstance(parsed, click.Group):
        rest = [*context._protected_args, *context.args]
        found, inner, rest = parsed.resolve_command(context, rest)
        assert inner is not None
        context = inner.make_context(found, rest, parent=context)
        parsed = inner
    return context.params


def test_an_approval_is_parsed_as_it_was_meant() -> None:
    """The zone, its account and service, and the number, whatever characters are in them."""
    for account, service, zone in (
        ("default", "vm", "FRA-A"),
        ("a b", "zec", "Z $x;y"),
        ("-a", "bmc", "--help"),
    ):
        command = approve_command(account=account, service=service, zone=zone, max_removals=12)
        assert {
            "account": account,
            "service": service,
            "zone": zone,
            "max_removals": 12,
            "run_id": None,
        } == parse(command)
        named = f"syncer approve Z --max 1 {place_options(account=account, service=service)}"
        assert (account, service) == (parse(named)["account"], parse(named)["service"])


def test_an_approval_of_a_run_is_parsed_as_it_was_meant() -> None:
    """The run and the number, and no zone."""
    params = parse(approve_run_command(run_id=7, max_removals=12))
    assert (None, 7, 12) == (params["zone"], params["run_id"], params["max_removals"])


def test_withheld_images_are_asked_for_as_it_was_meant() -> None:
    """All of them, or those of one zone."""
    assert "syncer images --withheld" == withheld_command()
    for zone in (None, "FRA-A", "a b"):
        params = parse(withheld_command(zone))
        assert params["withheld"]
        assert zone is None or params["zones"] == (zone,)


def texts(path: Path) -> list[str]:
    """The texts of a module as they come out, with X for what is filled in; or of another file."""
    if path.suffix != ".py":
        return [re.sub(r"\{\{.*?\}\}", "X", path.read_text())]
    tree = ast.parse(path.read_text())
    inner = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    return [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        if isinstance(node, ast.JoinedStr)
        else str(node.value)
        for node in ast.walk(tree)
        if id(node) not in inner
        and (
            isinstance(node, ast.JoinedStr)
            or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        )
    ]


FILES = [
    ROOT / "README.md",
    *ROOT.glob("syncer/**/*.py"),
    *(path for folder in ROOMS for path in (ROOT / folder).glob("**/README.md")),
    *ROOT.glob("deploy/**/*.y*ml"),
    *ROOT.glob("deploy/**/*.service"),
]


def test_every_command_that_is_offered_is_understood() -> None:
    """A command in a message, a README or an alert has no option that does not exist."""
    hints = {
        found[1].rstrip(".")
        for path in FILES
        for text in texts(path)
        for found in OFFERED.finditer(text)
    }
    # It looks at something: commands alone, with options, with arguments.
    assert {"sync", "db upgrade", "db url --hold", "images --withheld --zone FRA-A"} <= hints
    for hint in hints:
        # Placeholders such as T1, and what the scan cut off, are no fault of the hint.
        wrong = (click.BadParameter, click.BadOptionUsage, NoArgsIsHelpError)
        with naming(hint), contextlib.suppress(*wrong):
            parse(f"syncer {hint}")


@pytest.mark.parametrize(
    ("given", "meant"), [("--kind", ""), ("--acount", " Did you mean '--account'?")]
)
async def test_an_option_is_offered_only_if_it_may_be_meant(
    given: str, meant: str, syncer: Any
) -> None:
    done = await syncer("changes", given, "x")
    assert (2, f"Error: No such option '{given}'.{meant}") == (done.code, done.err.splitlines()[-1])
