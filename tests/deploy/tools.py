"""The tools that the tests of deploy/ use; where one is absent the test is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from syncer.cli import cli

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# Not the one of the tests, which may lie under /home or /root: the units hide those.
PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"


def tool(name: str, package: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed (package {package})")
    return path


def run(*command: str | Path, code: int = 0, **kwargs: Any) -> str:
    """Run a program; return what it printed on both streams. It must end with ``code``."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **{"cwd": ROOT, **kwargs},
    )
    assert code == done.returncode, done.stdout
    return done.stdout


def documents(text: str) -> list[Any]:
    """Return what is in a YAML text; a key given twice is an error."""
    return list(YAML(typ="safe").load_all(text))


def yaml(path: Path) -> list[Any]:
    """Return what is in a YAML file."""
    return documents(path.read_text())


def check_command(*words: str) -> None:
    """A command line of syncer that does not parse fails the test."""
    command: Any = cli
    context = click.Context(cli)
    rest = list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"syncer has no command {name}"
    command.make_context(" ".join(words), rest)


def install(root: Path, *variables: str, python: str = PYTHON) -> str:
    """`make install-systemd` into a folder."""
    if not Path(PYTHON).exists():
        pytest.skip(f"there is no {PYTHON} (package python3-venv)")
    make = tool("make", "make")
    return run(
        make, "--silent", "install-systemd", f"DESTDIR={root}", f"PYTHON={python}", *variables
    )


class Box:
    """A machine that systemd runs, with syncer installed; see box.sh."""

    def __init__(self, init: int) -> None:
        self._enter = [tool("nsenter", "util-linux"), f"--target={init}", "--all", "--"]

    def run(self, *command: str | Path, code: int = 0) -> str:
        """Run a program in the box."""
        return run(*self._enter, *command, code=code, cwd="/")

    def state(self) -> str:
        """What systemd says of itself."""
        command = [*self._enter, "systemctl", "is-system-running"]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
        ).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file in the box; one that is there keeps its mode."""
        run(*self._enter, "tee", path, input=text, cwd="/")

    def copy(self, folder: Path, into: str) -> None:
        """Copy a folder into the box, below another."""
        packed = subprocess.run(
            [tool("tar", "tar"), "--create", f"--directory={folder.parent}", folder.name],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        unpack = [*self._enter, "tar", "--extract", "--no-same-owner", "--directory", into]
        subprocess.run(unpack, input=packed, check=True)

    def start(self, unit: str, *command: str | Path) -> None:
        """Start a program in the box, as a service of this name; it ends with the box."""
        self.run("systemd-run", "--quiet", f"--unit={unit}", *command)
