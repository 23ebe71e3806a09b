"""The folder of an embedded server: ours alone, or nothing in it is read, made or started.

Whoever could change what lies there could have us talk to a server of theirs, and root write where
they like. Root does not work in another user's folder either: it would leave files there that the
user cannot use, by paths that the user can change.
"""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

from syncer.core.errors import ConfigError
from syncer.files.ownership import NotTrusted, trusted_folder


class HomeRefused(ConfigError):
    """A home is not ours alone; after the first colon the message says what to do."""


def check_home(home: Path, *, make: bool = False) -> Path:
    """Return a home without links; what is not there is left so, unless ``make`` says make it.

    Raises HomeRefused, OSError.
    """
    if "\n" in str(home):
        raise HomeRefused(
            f"the embedded database cannot be kept under {str(home)!r}, as PostgreSQL takes no "
            "name of several lines: set SYNCER_STATE_DIR, or SYNCER_DATABASE_URL"
        )
    try:
        return trusted_folder(home, make=make)
    except FileNotFoundError:
        if make:
            raise
        return home
    except NotTrusted as error:
        raise untrusted(home, error) from error


def untrusted(home: Path, error: NotTrusted) -> HomeRefused:
    """Return the error of a home in which something is not ours alone."""
    first = f"{error.advice}, or " if error.advice else ""
    if _was_given_to_nobody(home):
        first += f"if root kept it there before, chown -R root {shlex.quote(str(home))}, or "
    return HomeRefused(
        f"the embedded database cannot be kept under {home}, as {error.filename} is not yours "
        f"alone ({error.strerror}): {first}set SYNCER_STATE_DIR to a folder that is, or "
        "SYNCER_DATABASE_URL"
    )


def _was_given_to_nobody(home: Path) -> bool:
    """Return whether a home is nobody's, and we are root.

    Older versions gave it to that user, with the data, where user namespaces are closed.
    """
    try:
        return os.geteuid() == 0 and home.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    except (OSError, KeyError):
        return False
