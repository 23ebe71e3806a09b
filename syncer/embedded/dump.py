"""A backup by PostgreSQL's own pg_dump.

Dumped are our two schemas and the extension, which a dump of schemas alone leaves out, and with it
the constraint that keeps versions from overlapping. pg_dump must be as new as the server; that of
the server's own version is best, since what it writes is restored by that version too.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

import anyio
import anyio.to_thread

from syncer.core.errors import BackupFailed, ConfigError
from syncer.core.libpq import read_url, to_url
from syncer.embedded.binaries import SYSTEM, candidates
from syncer.embedded.process import ENVIRONMENT, Unusable, version_of
from syncer.embedded.timing import Timing

_WHAT: Final = ("--schema=syncer", "--schema=syncer_store", "--extension=btree_gist")
_HOW: Final = ("--format=custom", "--no-owner", "--no-privileges", "--no-password")


async def dump(
    url: str | None,
    output: IO[bytes],
    *,
    server: int,
    pg_bin: str | None,
    environment: Mapping[str, str] | None,
    system: Path = SYSTEM,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> int:
    """Write a backup of a database to ``output``, in pg_dump's custom format; return its major.

    ``url`` None: where ``environment`` says (None: nothing of it counts). ``server`` is the
    server's major. Raises ConfigError where there is no pg_dump that will do, BackupFailed.
    """
    program, major = await anyio.to_thread.run_sync(_find, server, pg_bin, system, timing)
    variables = {**ENVIRONMENT, **(environment or {})}
    command = [str(program), *_WHAT, *_HOW]
    if url is not None:
        address, password = _without_password(url)
        command.append(f"--dbname={address}")  # on the command line, which all users may read
        if password is not None:
            variables["PGPASSWORD"] = password
    try:
        done = await anyio.run_process(
            command, stdout=output, stderr=subprocess.PIPE, env=variables, check=False
        )
    except OSError as error:
        raise BackupFailed(f"{program} does not run: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or b"").decode(errors="replace").split())
        raise BackupFailed(f"the backup is not whole: {said or _ended(done.returncode)}")
    return major


def _ended(code: int) -> str:
    if code == -signal.SIGPIPE:
        return "whoever read it went away"
    return f"pg_dump ended with {code}"


def _find(server: int, pg_bin: str | None, system: Path, timing: Timing) -> tuple[Path, int]:
    """Return the oldest pg_dump that is as new as the server, and its major."""
    found: dict[int, Path] = {}
    for folder in _folders(pg_bin, system):
        with contextlib.suppress(Unusable):
            program = folder / "pg_dump"
            found.setdefault(version_of(program, timing=timing), program)
    if fit := sorted(major for major in found if major >= server):
        return found[fit[0]], fit[0]
    older = " (found: that of " + ", ".join(map(str, sorted(found))) + ")" if found else ""
    raise ConfigError(
        f"a backup of PostgreSQL {server} needs its pg_dump, or a newer one{older}: install "
        f"postgresql-client-{server}, or set SYNCER_PG_BIN to the folder of PostgreSQL's programs"
    )


def _folders(pg_bin: str | None, system: Path) -> Iterator[Path]:
    if pg_bin:
        yield Path(pg_bin).expanduser()
    if on_path := shutil.which("pg_dump"):
        # Debian's is a script that chooses among versions; what it links to lies elsewhere.
        yield Path(on_path).parent
    yield from (folder for folder, _ in candidates(system))


def _without_password(url: str) -> tuple[str, str | None]:
    """Return a URL without its password, and that.

    Raises ConfigError for the other secret that a URL may hold, which no variable can hold.
    """
    parameters = read_url(url)
    if "sslpassword" in parameters:
        raise ConfigError(
            "sslpassword would stand on pg_dump's command line, which every user may read: "
            "for a backup give a URL without it, and a key (sslkey) that needs none"
        )
    password = parameters.pop("password", None)
    return to_url(parameters), password
