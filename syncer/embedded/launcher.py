"""Starting PostgreSQL's programs: as which user, in which session, and how they are reaped.

PostgreSQL refuses to run as root. So root becomes somebody else first: ``Launcher.choose``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from syncer.core.errors import ConfigError
from syncer.embedded.binaries import ENVIRONMENT
from syncer.embedded.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.embedded.binaries import Binaries


class Child:
    """A started program that a thread of its own waits for, so that it never stays a zombie.

    The thread also outlives us politely: when we leave first and somebody else stops the server,
    it is reaped all the same.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._reaper = threading.Thread(target=process.wait, name="postgres-reaper", daemon=True)
        self._reaper.start()

    @property
    def pid(self) -> int:
        """Process id; only good for signals while ``returncode`` is None."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code once it has been reaped."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended (Popen looks at the exit code first)."""
        self._process.send_signal(number)

    def join(self, limit: float) -> None:
        """Wait up to ``limit`` seconds until it has been reaped."""
        self._reaper.join(limit)


def start(
    command: Sequence[str],
    *,
    log: IO[bytes],
    keep: Sequence[int] = (),
    stdin: IO[bytes] | None = None,
) -> Child:
    """Start ``command`` in a session of its own; it writes to ``log`` and inherits ``keep``.

    Its own session: Ctrl-C on our terminal must not reach a server that others use too.
    """
    return Child(
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=log,
            stderr=log,
            env=ENVIRONMENT,
            cwd="/",
            umask=0o077,
            pass_fds=keep,
            start_new_session=True,
        )
    )


def run(child: Child, *, limit: float, abort: threading.Event) -> int | None:
    """Exit code of ``child``, or None if it was ended because ``limit`` seconds had passed.

    Raises AbandonedError after ending it if ``abort`` was set.
    """
    code: int | None = None
    try:
        code = poll(lambda: child.returncode, limit=limit, abort=abort)
    finally:
        if code is None:
            child.send(signal.SIGTERM)
            child.join(5)
            child.send(signal.SIGKILL)
            child.join(5)
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """How to run the server's programs: what to put before the command, and who owns the files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int

    @classmethod
    def choose(cls, home: Path, binaries: Binaries) -> Launcher:
        """Launcher for our user and the owner of ``home``. Tries programs: call it from a thread.

        - not root: run directly (by way of a user namespace if our uid has no name, as in many
          containers: initdb wants one);
        - root, and ``home`` is somebody else's: become that user, so that it stays theirs;
        - root, and ``home`` is root's: a user namespace in which root is called nobody, so that
          nothing on disk changes hands; where those are closed, become nobody and give it ``home``.

        Raises ConfigError, with the reasons, if no way is open.
        """
        uid, gid = os.geteuid(), os.getegid()
        if uid != 0 and _has_name(uid):
            return cls(prefix=(), uid=uid, gid=gid)
        owner = home.stat()
        if uid == 0 and owner.st_uid != 0:
            return _checked(cls._become(owner.st_uid, owner.st_gid), home, binaries)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError as fault:
            raise ConfigError(
                "PostgreSQL needs a user that is not root, and this system has no user nobody: "
                "run as another user, or set SYNCER_DATABASE_URL"
            ) from fault
        inside = cls(prefix=_namespace(nobody.pw_uid, nobody.pw_gid), uid=uid, gid=gid)
        closed = inside.fault(binaries)
        if closed is None:
            return inside
        if uid != 0:
            raise ConfigError(
                f"uid {uid} has no entry in /etc/passwd, which PostgreSQL needs, and a user "
                f"namespace cannot stand in ({closed}): add an entry, or set SYNCER_DATABASE_URL"
            )
        outside = cls._become(nobody.pw_uid, nobody.pw_gid)
        return _checked(outside, home, binaries, f"a user namespace is not to be had ({closed}), ")

    @classmethod
    def _become(cls, uid: int, gid: int) -> Launcher:
        who = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--")
        return cls(prefix=(_program("setpriv"), *who), uid=uid, gid=gid)

    def fault(self, binaries: Binaries) -> str | None:
        """Why this way is closed, or None if PostgreSQL answers by it."""
        command = [*self.prefix, binaries.postgres, "--version"]
        try:
            tried = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
                env=ENVIRONMENT,
                cwd="/",
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            return str(fault)
        return (tried.stderr.strip() or f"exit {tried.returncode}") if tried.returncode else None

    def command(self, *program: str, die_with_parent: bool = False) -> list[str]:
        """Command line of ``program``; each step replaces the one before it, the pid stays.

        ``die_with_parent`` comes last: a change of user would clear it again.
        """
        wish = (_program("setpriv"), "--pdeathsig=INT", "--") if die_with_parent else ()
        return [*self.prefix, *wish, *program]

    def give(self, path: Path) -> None:
        """Let ``path`` and all below it belong to the server's user; links are not followed."""
        # Bottom up: should this be interrupted, the top still shows that it is not finished.
        for folder, _, files in os.walk(path, topdown=False):
            for file in files:
                self.give_one(Path(folder, file))
            self.give_one(Path(folder))

    def give_one(self, path: Path) -> None:
        """Let ``path`` itself belong to the server's user."""
        if os.geteuid() == 0 and path.lstat().st_uid != self.uid:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def _checked(launcher: Launcher, home: Path, binaries: Binaries, before: str = "") -> Launcher:
    reason = launcher.fault(binaries)
    if reason is None and (wall := _wall(home.parent, launcher.uid, launcher.gid)):
        reason = f"it cannot pass {wall}"
    if reason is None:
        return launcher
    if wall := _wall(binaries.directory, launcher.uid, launcher.gid):
        reason += f"; the programs lie under {wall}, which that user cannot pass"
    raise ConfigError(
        f"PostgreSQL does not run as root: {before}uid {launcher.uid} cannot run it ({reason}); "
        "run as another user, move the state or the programs to where that user can reach them "
        "(SYNCER_STATE_DIR, SYNCER_PG_BIN), or set SYNCER_DATABASE_URL"
    )


def _wall(path: Path, uid: int, gid: int) -> Path | None:
    """First directory on the way down to ``path`` that the user may not pass, by its mode."""
    for place in (*reversed(path.parents), path):
        try:
            entry = place.stat()
        except OSError:
            return place
        bit = stat.S_IXOTH
        if entry.st_uid == uid:
            bit = stat.S_IXUSR
        elif entry.st_gid == gid:
            bit = stat.S_IXGRP
        if not entry.st_mode & bit:
            return place
    return None


def _namespace(uid: int, gid: int) -> tuple[str, ...]:
    return (_program("unshare"), "--user", f"--map-user={uid}", f"--map-group={gid}", "--")


def _program(name: str) -> str:
    return shutil.which(name) or name


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
