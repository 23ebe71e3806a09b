"""Everything that the bench's README shows and names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import syncer.bench
from syncer.bench.scenarios import GOALS, choose_goals
from syncer.cli.bench import bench

FOLDER = Path(syncer.bench.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_every_command_is_understood() -> None:
    """Options parse, and the goals that they name exist."""
    commands = re.findall(r"^\.venv/bin/syncer bench(.*?)(?:#.*)?$", README, re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        context = bench.make_context("bench", shlex.split(command))
        chosen = {name: context.params[name] for name in ("only", "peers", "far")}
        assert choose_goals(**chosen)


def test_every_goal_is_in_the_table() -> None:
    """Each goal has its figures, in order and nothing else."""
    named = re.findall(r"^\| (G\d+) \|", README, re.MULTILINE)
    assert tuple(dict.fromkeys(named)) == GOALS


def test_every_file_is_named() -> None:
    """Whoever opens the folder finds each of its files explained."""
    files = {path.name for path in FOLDER.iterdir()} - {"__init__.py", "__pycache__", "README.md"}
    named = re.findall(r"^\| `([\w.]+)/?`", README.partition("## The files")[2], re.MULTILINE)
    assert files == set(named)
