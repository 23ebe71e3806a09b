"""No command begins an inventory where another is, or where somebody else could change it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import STRANGER, needs_root

COMMANDS = [
    ["sync"],
    ["serve", "--http", "off"],
    ["images"],
    ["approve", "FRA-A", "--max", "1"],
    ["prune", "--keep", "30d"],
    ["check", "a"],
    ["db", "upgrade"],
    ["db", "dependents"],
    ["db", "status"],
    ["db", "url"],
    ["db", "roles"],
    ["db", "repair-clock"],
    ["db", "dump"],
    ["db", "move"],
]


async def test_what_only_asks_makes_no_inventory(syncer: Any, tmp_path: Path) -> None:
    """It says that there is none yet, and what makes one."""
    of_db = [["db", name] for name in ("status", "dump", "url", "dependents")]
    for command in (["zones"], ["history", "x"], ["check", "b"], *of_db):
        env = {"SYNCER_DATABASE_URL": "", "SYNCER_STATE_DIR": str(tmp_path / "state")}
        done = await syncer(*command, **env)
        assert (2, "") == (done.code, done.out), (command, done)
        assert "yet: 'syncer sync' makes it; if yours is elsewhere" in done.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_data_of_another_version_is_exit_2_with_what_to_do(
    command: list[str], syncer: Any, tmp_path: Path
) -> None:
    home = tmp_path / "state" / "postgres"
    (home / "data-9").mkdir(parents=True)
    done = await syncer(*command, SYNCER_DATABASE_URL="", SYNCER_STATE_DIR=str(home.parent))
    assert (2, "") == (done.code, done.out), done.err
    assert "is of PostgreSQL 9" in done.err
    assert "--programs" in done.err
    assert 1 == len(done.err.splitlines())
    assert ["data-9"] == [path.name for path in home.glob("data-*")]


@needs_root
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_folder_that_a_stranger_prepared_is_exit_2_with_what_to_do(
    command: list[str], syncer: Any, tmp_path: Path
) -> None:
    """Root neither reads nor makes anything there, whatever links lie in it."""
    (tmp_path / "roots").mkdir(mode=0o700)
    home = tmp_path / "state" / "postgres"
    home.mkdir(parents=True)
    for name in ("run-15", "run-18", "data-15", "data-18", "moving-18"):
        (home / name).symlink_to(tmp_path / "roots")
    for path in (home.parent, home, *home.iterdir()):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    done = await syncer(*command, SYNCER_DATABASE_URL="", SYNCER_STATE_DIR=str(home.parent))
    assert (2, "") == (done.code, done.out), done.err
    assert f"{home.parent} is not yours alone" in done.err
    assert f"sudo -u '#{STRANGER}' syncer" in done.err
    assert 1 == len(done.err.splitlines())
    assert [] == list((tmp_path / "roots").iterdir())
    assert {STRANGER} == {path.lstat().st_uid for path in (home.parent, home, *home.iterdir())}
