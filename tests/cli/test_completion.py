"""A shell completes commands, options and names; nothing is started, said or waited for."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.simulator import World
from tests.support import naming

ROOT = Path(__file__).parents[2]

PROGRAM = f"""#!{sys.executable}
from syncer.cli import main, names
names.AT_MOST = 30  # seconds: a machine that is busy is no database that is away
main()
"""


@pytest.fixture
def env(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a shell, which finds syncer there."""
    program = tmp_path / "bin/syncer"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return {**environment, **path}


async def completed(
    shell: str, words: str, env: dict[str, str], *program: str
) -> tuple[int, list[str], str]:
    """What the program answers a shell that completes the last word; its code and stderr."""
    typed = words.split(" ")
    word = typed[-1] if shell == "fish" else str(len(typed) - 1)
    asked = {"_SYNCER_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    done = await anyio.run_process(
        program or ["syncer"], check=False, env={**env, **asked, "COMP_CWORD": word}
    )
    return done.returncode, done.stdout.decode().split(), done.stderr.decode()


async def test_bash_completes_names_that_are_stored(
    env: dict[str, str], syncer: Any, sync: Any, world: World, tmp_path: Path
) -> None:
    """By the script that is printed. A name in which a shell sees a command is not offered."""
    bash = shutil.which("bash")
    assert bash is not None
    world.add_zone("$(touch pwned)", images=1)
    world.add_zone("*", images=1)
    await sync()
    await syncer("baseline", "save", "release-1")
    image = min(world.images("FRA-A"))
    (tmp_path / "completion").write_text((await syncer("completion", "bash")).out)
    script = """
        source completion
        complete -p syncer
        compopt() { :; }  # which is of a completion that runs
        ask() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _syncer_completion syncer; echo "$*: ${COMPREPLY[*]}"
        }
        ask syncer ima
        ask syncer images --zone ''
        ask syncer check rel
        ask syncer diff ''
        ask syncer history """
    done = await anyio.run_process(
        [bash, "--norc", "-c", script + image[:-2]],
        env=env,
        cwd=tmp_path,
        stderr=subprocess.STDOUT,
        check=False,
    )
    zones = " ".join(sorted(zone for zone in world.zones() if "-" in zone))
    assert done.stdout.decode().splitlines() == [
        "complete -o nosort -F _syncer_completion syncer",
        "syncer ima: images",
        f"syncer images --zone : {zones}",
        "syncer check rel: release-1",
        "syncer diff : 1",
        f"syncer history {image[:-2]}: {image}",
    ]
    assert not (tmp_path / "pwned").exists()


async def test_zsh_and_fish_are_answered_in_their_own_way(env: dict[str, str], sync: Any) -> None:
    await sync()
    zone = ["plain", "FRA-A", "Frankfurt"]
    assert (0, zone, "") == await completed("zsh", "syncer zones --zone F", env)
    assert (0, ["plain,FRA-A", "Frankfurt"], "") == await completed("fish", "syncer approve F", env)


async def test_a_database_that_is_away_completes_nothing_and_nothing_is_started(
    env: dict[str, str], tmp_path: Path
) -> None:
    """One that does not answer, and an embedded one that does not run."""
    state = tmp_path / "state"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for url in (f"postgresql://u:p@127.0.0.1:{port}/x", ""):
            away = {**env, "SYNCER_DATABASE_URL": url, "SYNCER_STATE_DIR": str(state)}
            ours = [sys.executable, "-m", "syncer"]
            with naming(url):
                done = await completed("bash", "syncer images --zone ", away, *ours)
                assert (0, [], "") == done
    assert not state.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell], prog_name="syncer")
    assert 0 == done.exit_code
    assert f"_SYNCER_COMPLETE={shell}_complete" in done.output
