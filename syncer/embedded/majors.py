"""Which inventories lie under a home: each major version of PostgreSQL has a data directory.

An empty one is made only where nothing lies there. Where there is data of another major, or data
that ``syncer db move`` took elsewhere, a new server would look like an inventory that lost all it
knew; so whoever wants that says so, by moving the folder away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from syncer.core.errors import ConfigError
from syncer.files import read, replacing

_MOVED: Final = ".moved-"
"""Within the name of a data directory: its inventory was moved elsewhere."""
_ORIGIN: Final = "moved-from"
"""A file in a data directory: the major whose data were moved into it."""


def data_directory(home: Path, major: int) -> Path:
    """Return where the data of a major lie; one for each, since they do not open each other's."""
    return home / f"data-{major}"


def state_directory(home: Path, major: int) -> Path:
    """Return where the locks of a major's server lie and, if its name is short, its socket."""
    return home / f"run-{major}"


def made_majors(home: Path) -> tuple[int, ...]:
    """Return the majors for which ``home`` holds data, lowest first."""
    found = (path.name.removeprefix("data-") for path in home.glob("data-*"))
    return tuple(sorted(int(name) for name in found if name.isdigit()))


def current_majors(home: Path) -> tuple[int, ...]:
    """Return the majors of inventories that may be the one in use, lowest first.

    One that was moved into another does not count, also where the move was cut short there.
    """
    made = made_majors(home)
    superseded = {origin_of(home / f"data-{major}") for major in made}
    return tuple(major for major in made if major not in superseded)


def origin_of(data: Path) -> int | None:
    """Return the major whose data were moved into a data directory, None where none were."""
    try:
        return int(read(data / _ORIGIN) or b"")
    except (OSError, ValueError):
        return None


def note_origin(data: Path, major: int) -> None:
    """Note in a data directory from which major's its data come."""
    owner = data.stat()
    with replacing(data / _ORIGIN, mode=0o600) as file:
        file.write(f"{major}\n".encode())
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)


def other_majors(home: Path, major: int) -> tuple[int, ...]:
    """Return the majors for which ``home`` holds data, without ``major``."""
    return tuple(other for other in made_majors(home) if other != major)


def moved_to(data: Path, stamp: str) -> Path:
    """Return what a data directory is called once its inventory is elsewhere, since ``stamp``."""
    return data.with_name(f"{data.name}{_MOVED}{stamp}")


def beginning_refused(home: Path, major: int) -> str | None:
    """Return why no empty data directory may be made for a major, and what to do; None: it may."""
    if others := other_majors(home, major):
        those = " and ".join(map(str, others))
        return (
            f"the inventory under {home} is of PostgreSQL {those}, which PostgreSQL {major} does "
            f"not open: take it into {major} with 'syncer db move', or set SYNCER_PG_BIN to the "
            f"programs of {others[-1]}; to begin anew, move {home / f'data-{others[-1]}'} away"
        )
    if moved := sorted(home.glob(f"data-*{_MOVED}*")):
        return (
            f"the inventory under {home} is elsewhere, and {moved[-1].name} is what 'syncer db "
            "move' left of it: set SYNCER_DATABASE_URL to where it is, or put its data directory "
            f"back; to begin anew, move {moved[-1]} away"
        )
    return None


def check_beginning(home: Path, major: int) -> None:
    """Raise ConfigError where an empty data directory would be taken for the inventory."""
    if (why := beginning_refused(home, major)) is not None:
        raise ConfigError(why)
