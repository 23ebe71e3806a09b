"""The embedded server seen from outside: nothing is made, started or locked."""

from __future__ import annotations

from pathlib import Path

import msgspec

from syncer.embedded.binaries import Binaries, find_binaries
from syncer.embedded.postmaster import Postmaster


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of an embedded server.

    ``made`` says whether there is data for these programs, ``running`` is the server on it, and
    ``other_majors`` are those for which there is data too.
    """

    binaries: Binaries
    made: bool
    running: Postmaster | None
    other_majors: tuple[int, ...]


def inspect(home: Path, pg_bin: str | None) -> Inspection:
    """Look at the server under ``home``. Starts a program: call it from a thread.

    Raises ConfigError where there are no programs.
    """
    binaries = find_binaries(pg_bin)
    data = home.resolve() / f"data-{binaries.major}"
    return Inspection(
        binaries=binaries,
        made=data.is_dir(),
        running=Postmaster.of(data),
        other_majors=other_majors(home, binaries.major),
    )


def other_majors(home: Path, major: int) -> tuple[int, ...]:
    """Return the majors for which ``home`` holds data, without ``major``."""
    found = (path.name.removeprefix("data-") for path in home.glob("data-*"))
    return tuple(sorted(int(name) for name in found if name.isdigit() and int(name) != major))
