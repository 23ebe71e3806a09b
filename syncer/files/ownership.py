"""Who can change what lies at a path: we and root alone, or it is not trusted.

A path is a name, and whoever may write in one of the folders on it can put something else there.
So a path is walked from / on, each part opened by a descriptor that follows no link:

- each folder on the way belongs to us or to root, and nobody else may write in it, unless it has
  the sticky bit, as /tmp has: there nobody can exchange what is ours;
- the folder itself belongs to us, and nobody else may write in it;
- a link counts if it belongs to us or to root; what it names is walked in the same way.

After that nobody else can exchange any part of the path, and it may be used by its name.

Members of our own groups are no strangers: a volume of Kubernetes belongs to root and to a group
of ours (fsGroup), which may write in it.

A file that somebody names for us to write may lie in a folder of another user, as the metrics file
does in that of node_exporter. There only strangers' links are refused, and the work is done by the
descriptor of the folder that was reached.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pwd
import shlex
import stat
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePath
from typing import Final

import msgspec

_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS: Final = 40
"""Links on one path, as the kernel counts them too."""


class NotTrusted(PermissionError):
    """Somebody else can change what lies at a path; ``advice`` says what to do, or is empty."""

    def __init__(self, path: Path, reason: str, advice: str) -> None:
        super().__init__(errno.EPERM, reason, str(path))
        self.advice = advice


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a path came to: a ``name`` in the open ``folder``, ``path`` without links.

    ``entry`` is what lies there, None if nothing does.
    """

    folder: int
    name: str
    path: Path
    entry: os.stat_result | None


_Judge = Callable[[Path, os.stat_result], None]


def trusted_folder(path: Path, *, make: bool = False, owners: Collection[int] = ()) -> Path:
    """Return the path of a folder without links; nobody else can change what lies there.

    ``make``: it is made for us alone if it is not there, with those above it. ``owners``: it may
    belong to these users as well. Raises NotTrusted, OSError.
    """
    with _walk(path, _check_on_the_way, make=make) as place:
        if place.entry is None:
            raise _error(errno.ENOENT, place.path)
        if not stat.S_ISDIR(place.entry.st_mode):
            raise _error(errno.ENOTDIR, place.path)
        if place.entry.st_uid not in {os.geteuid(), *owners}:
            raise _belongs(place.path, place.entry)
        if _open_to_others(place.entry):
            raise _writable(place.path, place.entry)
        return place.path


def check_file(path: Path) -> None:
    """Raise NotTrusted where somebody else can change a file, OSError where it is not there."""
    with _walk(path, _check_on_the_way) as place:
        if place.entry is None:
            raise _error(errno.ENOENT, place.path)
        if place.entry.st_uid not in _trusted_users():
            raise _belongs(place.path, place.entry)
        if _open_to_others(place.entry):
            raise _writable(place.path, place.entry)


@contextlib.contextmanager
def reached(path: Path) -> Iterator[Place]:
    """Yield where a file lies, or can be made, without following a stranger's link.

    Raises NotTrusted, also for what a stranger put into a folder like /tmp; OSError.
    """
    with _walk(path, lambda _, __: None) as place:
        entry, above = place.entry, os.fstat(place.folder)
        trusted = {*_trusted_users(), above.st_uid}
        if entry is not None and above.st_mode & stat.S_ISVTX and entry.st_uid not in trusted:
            raise _belongs(place.path, entry)
        yield place


@contextlib.contextmanager
def _walk(path: Path, judge: _Judge, *, make: bool = False) -> Iterator[Place]:
    """Yield where a path leads; ``judge`` looks at each folder on the way.

    ``make`` makes no folder that a link names: its disk may not be mounted.
    """
    absolute = path if path.is_absolute() else Path.cwd() / path  # which may be gone
    parts, links, named_by_link = deque(absolute.parts[1:] or ["."]), 0, 0
    with contextlib.ExitStack() as opened:
        folder, at = _open_root(opened), Path("/")
        judge(at, os.fstat(folder))
        while True:
            name = parts.popleft()
            here = at.parent if name == ".." else at / name
            mode = 0o755 if parts else 0o700
            new = mode if make and not named_by_link else None
            named_by_link = max(named_by_link - 1, 0)
            found = _open_part(folder, name, here, opened, make=new)
            entry = None if found is None else os.fstat(found)
            if entry is not None and found is not None and stat.S_ISLNK(entry.st_mode):
                links += 1
                target = _target(found, here, entry, links)
                parts.extendleft(reversed(target.parts))
                if target.is_absolute():
                    parts.popleft()
                    folder, at = _open_root(opened), Path("/")
                    named_by_link -= 1
                named_by_link += len(target.parts)
                if not parts:
                    parts.append(".")
            elif not parts:
                yield Place(folder=folder, name=name, path=here, entry=entry)
                return
            elif found is None or entry is None:
                raise _error(errno.ENOENT, here)
            elif not stat.S_ISDIR(entry.st_mode):
                raise _error(errno.ENOTDIR, here)
            else:
                judge(here, entry)
                folder, at = found, here


def _open_root(opened: contextlib.ExitStack) -> int:
    descriptor = os.open("/", _LOOK)
    opened.callback(os.close, descriptor)
    return descriptor


def _open_part(
    folder: int, name: str, path: Path, opened: contextlib.ExitStack, *, make: int | None
) -> int | None:
    """Return a descriptor of what has this name, or None; ``make`` is a new folder's mode."""
    try:
        try:
            # As a folder: only so does the kernel mount what an automounter has for it.
            found = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=folder)
        except NotADirectoryError:
            found = os.open(name, _LOOK, dir_fd=folder)
        except FileNotFoundError:
            if make is None:
                return None
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, make, dir_fd=folder)
            found = os.open(name, _LOOK, dir_fd=folder)
    except OSError as error:
        raise _error(error.errno or 0, path) from error
    opened.callback(os.close, found)
    return found


def _target(link: int, path: Path, entry: os.stat_result, links: int) -> PurePath:
    if entry.st_uid not in _trusted_users():
        raise NotTrusted(path, f"it is a link of {_name(entry.st_uid)}'s", _as_owner(entry))
    if links > _MOST_LINKS:
        raise _error(errno.ELOOP, path)
    return PurePath(os.readlink("", dir_fd=link))


def _check_on_the_way(path: Path, entry: os.stat_result) -> None:
    if entry.st_uid not in _trusted_users():
        raise _belongs(path, entry)
    if _open_to_others(entry) and not entry.st_mode & stat.S_ISVTX:
        raise _writable(path, entry)


def _open_to_others(entry: os.stat_result) -> bool:
    ours = {0, os.getegid(), *os.getgroups()}
    by_group = entry.st_mode & stat.S_IWGRP and entry.st_gid not in ours
    return bool(entry.st_mode & stat.S_IWOTH or by_group)


def _trusted_users() -> set[int]:
    return {os.geteuid(), _root()}


@functools.cache
def _root() -> int:
    """Return the user that root appears as: in a user namespace that lacks it, as nobody."""
    try:
        spans = Path("/proc/self/uid_map").read_text("ascii").splitlines()
        if any(int(span.split()[0]) == 0 for span in spans):
            return 0
        return int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    except (OSError, ValueError, IndexError):
        return 0


def _belongs(path: Path, entry: os.stat_result) -> NotTrusted:
    whose = _name(entry.st_uid)
    return NotTrusted(path, f"it belongs to {whose}, who can change it", _as_owner(entry))


def _writable(path: Path, entry: os.stat_result) -> NotTrusted:
    others = "everybody" if entry.st_mode & stat.S_IWOTH else f"group {entry.st_gid}"
    mode = stat.S_IMODE(entry.st_mode)
    return NotTrusted(
        path, f"{others} may write in it (mode {mode:04o})", f"chmod go-w {shlex.quote(str(path))}"
    )


def _as_owner(entry: os.stat_result) -> str:
    """Return how root does this as the user that something belongs to."""
    if os.geteuid() != 0:
        return ""
    user = _name(entry.st_uid)
    login = user if " " not in user else f"#{entry.st_uid}"
    return f"run it as {user}: sudo -u {shlex.quote(login)} syncer ..."


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
