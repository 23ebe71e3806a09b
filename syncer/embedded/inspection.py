"""The embedded server looked at from outside: nothing is made, started or locked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncer.embedded.binaries import Binaries, find_binaries
from syncer.embedded.postmaster import Postmaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The programs, whether there is data for them, who serves it, and data of other majors."""

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
    """Majors of which ``home`` holds data, but for this one."""
    found = (path.name.removeprefix("data-") for path in home.glob("data-*"))
    return tuple(sorted(int(name) for name in found if name.isdigit() and int(name) != major))
