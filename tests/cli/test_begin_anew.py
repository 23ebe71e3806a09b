"""No command takes the place of an inventory with an empty one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
