"""The embedded server seen from outside: nothing is made, started or locked."""

from __future__ import annotations

from pathlib import Path

import msgspec

from syncer.core.errors import ConfigError
from syncer.embedded.binaries import Binaries, ProgramsMissing, find_binaries
from syncer.embedded.cluster import ROLE, url_of
from syncer.embedded.home import check_home
from syncer.embedded.majors import (
    beginning_refused,
    current_majors,
    data_directory,
    other_majors,
    state_directory,
)
from syncer.embedded.postmaster import Postmaster
from syncer.embedded.sockets import SocketDirectory
from syncer.embedded.timing import Timing
from syncer.embedded.user import ServerUser


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of an embedded server.

    ``made`` says whether there is data for these programs, ``running`` is the server on it, and
    ``other_majors`` are those for which there is data too. ``refused`` says why none may be made
    for these programs, and what to do.
    """

    binaries: Binaries
    made: bool
    running: Postmaster | None
    other_majors: tuple[int, ...]
    refused: str | None


def running_url(home: Path) -> str | None:
    """Return the URL of the inventory under ``home`` while a server runs on it, else None.

    No program is started. Raises ConfigError where the home is not ours alone; OSError.
    """
    home = check_home(home)
    for major in current_majors(home):
        data = data_directory(home, major)
        running = Postmaster.of(data)
        if running is not None and running.status == "ready":
            owner = data.stat()
            user = ServerUser(uid=owner.st_uid, gid=owner.st_gid)
            sockets = SocketDirectory(state=state_directory(home, major), user=user)
            if (folder := sockets.find()) is not None and sockets.listener() == owner.st_uid:
                return url_of(folder, ROLE)
    return None


def choose_binaries(home: Path, pg_bin: str | None, timing: Timing) -> Binaries:
    """Return the programs for the data under ``home``: it says which version they must have.

    ``pg_bin`` goes before that. Raises ConfigError where there are no such programs, and where
    several inventories may be meant: which one is not guessed, as its history would go on.
    """
    majors = () if pg_bin else current_majors(home)
    if len(majors) > 1:
        raise ConfigError(
            f"{home} holds inventories of PostgreSQL {' and '.join(map(str, majors))}: move the "
            "folder away that is not wanted ("
            f"{', '.join(f'data-{major}' for major in majors)}), or set SYNCER_PG_BIN to the "
            "programs of the one that is"
        )
    major = majors[0] if majors else None
    try:
        return find_binaries(pg_bin, major=major, timing=timing)
    except ProgramsMissing as error:
        raise ConfigError(
            f"{error}: set SYNCER_PG_BIN to the bin directory of PostgreSQL {major}, or, where "
            "another version is to take its place, 'syncer db move --programs' to it"
        ) from error


def inspect(home: Path, pg_bin: str | None) -> Inspection:
    """Look at the server under ``home``. Starts a program: call it from a thread.

    Raises ConfigError where there are no programs, or where the home is not ours alone; OSError.
    """
    home = check_home(home)
    binaries = choose_binaries(home, pg_bin, Timing())
    data = data_directory(home, binaries.major)
    return Inspection(
        binaries=binaries,
        made=data.is_dir(),
        running=Postmaster.of(data),
        other_majors=other_majors(home, binaries.major),
        refused=None if data.is_dir() else beginning_refused(home, binaries.major),
    )
