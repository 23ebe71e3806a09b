"""Which user runs PostgreSQL, which refuses to run as root.

- We are not root: we run it ourselves. Where our uid has no name, as in many containers, a user
  namespace gives it one: initdb wants one.
- We are root: it runs in a user namespace in which root is called nobody. So nothing on disk
  changes hands, and other processes of nobody cannot reach the data. Where such namespaces are
  refused, as in most containers, it runs as nobody, who is given the data directory, for good:
  what nobody could write is not taken for root's later.

The server's user need not be able to pass the folders above its files (a home below /root is the
usual one): ``cluster`` hands it its directories open, ``programs`` copies the programs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from syncer.core.errors import ConfigError
from syncer.embedded.process import output_of
from syncer.embedded.timing import Timing


class ServerUser(msgspec.Struct, frozen=True, kw_only=True):
    """The user that the server runs as: the owner of its files, and how to become that user.

    ``become`` is what to put before a command; its last step replaces itself by the command, so
    that the process id stays. It is empty where we are that user.
    """

    uid: int
    gid: int
    become: tuple[str, ...] = ()

    def command(self, *program: str, die_with_parent: bool = False) -> list[str]:
        """Return the command line that runs ``program`` as this user.

        ``die_with_parent`` (the kernel sends SIGINT) comes last: a change of user would clear it.
        """
        wish = (_program("setpriv"), "--pdeathsig=INT", "--") if die_with_parent else ()
        return [*self.become, *wish, *program]

    def refusal(self, *program: str, timing: Timing) -> str | None:
        """Return why this user cannot run ``program``, or None if it can. Runs it."""
        # By way of env, as root's right to pass every folder ends only with the first program.
        command = self.command(_program("env"), *program)
        try:
            tried = output_of(command, timeout=timing.probe)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if tried.returncode == 0:
            return None
        return " ".join(tried.stderr.split()) or f"exit {tried.returncode}"

    def own(self, path: Path) -> None:
        """Make ``path`` itself belong to this user, if we are root; links are not followed."""
        if os.geteuid() == 0 and path.lstat().st_uid != self.uid:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, path: Path) -> None:
        """Make ``path`` and all below it belong to this user; we are root."""
        # Bottom up: should this be interrupted, the top still shows that it is not finished. By
        # descriptors: what belongs to that user already may change meanwhile.
        for _, folders, files, descriptor in os.fwalk(path.resolve(), topdown=False):
            for name in (*folders, *files):
                os.chown(name, self.uid, self.gid, dir_fd=descriptor, follow_symlinks=False)
        os.chown(path, self.uid, self.gid)


def choose_user(data: Path, timing: Timing) -> ServerUser:
    """Choose who runs the server of a data directory, made or not. Runs programs: in a thread.

    Raises ConfigError, with the reasons, if nobody can.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 and _has_name(uid):
        return ServerUser(uid=uid, gid=gid)
    reasons = []
    for description, user in _candidates(data, uid, gid):
        if (reason := user.refusal("true", timing=timing)) is None:
            return user
        reasons.append(f"{description} is refused ({reason})")
    why = (
        "PostgreSQL does not run as root" if uid == 0 else f"uid {uid} has no entry in /etc/passwd"
    )
    raise ConfigError(
        f"{why}, and nobody can run it instead: {', '.join(reasons)}: run as another user, or set "
        "SYNCER_DATABASE_URL"
    )


def _candidates(data: Path, uid: int, gid: int) -> Iterator[tuple[str, ServerUser]]:
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise ConfigError(
            "PostgreSQL needs a user that is not root and has a name, and this system has no user "
            "nobody: run as another user, or set SYNCER_DATABASE_URL"
        ) from error
    ids = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
    if uid != 0 or not _belongs_to(data, nobody.pw_uid):
        inside = (_program("unshare"), "--user", *ids, "--")
        yield "a user namespace", ServerUser(uid=uid, gid=gid, become=inside)
    if uid == 0:
        yield f"uid {nobody.pw_uid}", _other_user(nobody.pw_uid, nobody.pw_gid)


def _other_user(uid: int, gid: int) -> ServerUser:
    ids = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    return ServerUser(uid=uid, gid=gid, become=(_program("setpriv"), *ids, "--"))


def _belongs_to(data: Path, uid: int) -> bool:
    try:
        return data.stat().st_uid == uid
    except FileNotFoundError:
        return False


def _program(name: str) -> str:
    return shutil.which(name) or name


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
