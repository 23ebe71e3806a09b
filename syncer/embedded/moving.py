"""Taking an inventory elsewhere: by which programs, and where its copy is made.

A copy is made under a home of its own within the home, and its data directory is moved to its
place when it is whole. Whoever is killed before leaves that home, and the next one goes on in it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from syncer.core.errors import ConfigError
from syncer.embedded.binaries import Binaries, ProgramsMissing, find_binaries
from syncer.embedded.home import check_home
from syncer.embedded.majors import (
    beginning_refused,
    current_majors,
    made_majors,
    note_origin,
    origin_of,
    other_majors,
)
from syncer.embedded.timing import Timing
from syncer.embedded.waiting import move

_COPY: Final = "moving-"


def source_programs(
    home: Path,
    programs: str | None,
    pg_bin: str | None,
    *,
    but: int | None = None,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> Binaries:
    """Return the programs of the inventory to be moved; ``but``: it is not that major's.

    ``programs`` (the value of --programs) go before ``pg_bin`` and those that are found. Starts
    programs: call it from a thread. Raises ConfigError, with how to get them.
    """
    made = _inventories(home, but)
    if programs is not None:
        found = find_binaries(programs, option="--programs", timing=timing)
        if found.major not in made:
            raise ConfigError(
                f"--programs: {programs} is PostgreSQL {found.major}, and the inventory under "
                f"{home} is of PostgreSQL {' and '.join(map(str, made))}"
            )
        return found
    if but is None and pg_bin:
        found = find_binaries(pg_bin, timing=timing)
        if found.major in made:
            return found
    major = max(set(current_majors(home)) & set(made) or made)
    try:
        return find_binaries(None, major=major, timing=timing)
    except ProgramsMissing as error:
        raise ConfigError(
            f"{error}: install PostgreSQL {major} (the package postgresql-{major} of your system "
            "or of postgresql.org) and name the folder of its programs, such as --programs "
            f"/usr/lib/postgresql/{major}/bin"
        ) from error


def target_programs(home: Path, pg_bin: str | None) -> tuple[Binaries, int | None]:
    """Return the programs of the present major, and from which one it was moved there already.

    None where it was not, or all that follows is done too. Starts programs: call it from a thread.
    Raises ConfigError where that major has an inventory of its own.
    """
    check_home(home)
    target = find_binaries(pg_bin)
    data = home / f"data-{target.major}"
    others = other_majors(home, target.major)
    if not data.exists() or not others:
        return target, None
    origin = origin_of(data)
    if origin in others:
        return target, origin
    raise ConfigError(
        f"{home} holds inventories of PostgreSQL {' and '.join(map(str, others))} and of "
        f"{target.major}: move the folder away that is not wanted ({data} for the other one to "
        "take its place)"
    )


def has_other(home: Path, major: int) -> bool:
    """Return whether there is an inventory to be moved into a major.

    Raises ConfigError where there is none at all.
    """
    return _inventories(home) != [major]


def _inventories(home: Path, but: int | None = None) -> list[int]:
    """Return the majors of inventories to be moved. Raises ConfigError where there is none."""
    check_home(home)
    if made := [major for major in made_majors(home) if major != but]:
        return made
    raise ConfigError(f"there is no embedded inventory under {home} to be moved")


def home_of_copy(home: Path, major: int) -> Path:
    """Return the home in which the copy for a major is made. Raises ConfigError, OSError."""
    return check_home(home / f"{_COPY}{major}", make=True)


def adopt(copy: Path, home: Path, major: int, origin: int) -> None:
    """Move a copy that is whole, and whose server has ended, to its place. Raises OSError."""
    data = copy / f"data-{major}"
    note_origin(data, origin)
    move(data, home / data.name)
    discard(copy)


def clear_left(home: Path, major: int) -> None:
    """Remove the home of a copy that is in its place: whoever moved it there was killed then."""
    copy = home / f"{_COPY}{major}"
    if copy.exists() and (home / f"data-{major}").exists():
        discard(copy)


def check_made(home: Path) -> None:
    """Raise ConfigError where there is no inventory: an empty one is not worth being made."""
    if not made_majors(home):
        why = beginning_refused(home, 0)  # it may be elsewhere
        raise ConfigError(
            why
            or f"there is no embedded inventory under {home} yet: 'syncer sync' makes it; if yours "
            "is elsewhere, name it in SYNCER_DATABASE_URL or SYNCER_STATE_DIR"
        )


def is_made(home: Path) -> bool:
    """Return whether there is an inventory, or one that is elsewhere now: none may be begun."""
    return bool(made_majors(home)) or beginning_refused(home, 0) is not None


def discard(copy: Path) -> None:
    """Remove the home of a copy; its server has ended."""
    shutil.rmtree(copy, ignore_errors=True)
