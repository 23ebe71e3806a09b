"""What the machine says of this process beside the settings: supervisor, user, environment."""

from __future__ import annotations

import getpass
import os
import pwd
import socket

import msgspec


class Supervisor(msgspec.Struct, frozen=True):
    """What systemd asks of this process.

    ``socket`` is where it is notified (None: nowhere); ``watchdog`` is the seconds within which it
    must be notified again (None: never).
    """

    socket: str | None
    watchdog: float | None


def supervisor() -> Supervisor:
    """Return what systemd asks of this process (sd_notify(3), sd_watchdog_enabled(3))."""
    pid, microseconds = os.environ.get("WATCHDOG_PID"), os.environ.get("WATCHDOG_USEC", "")
    ours = microseconds.isdigit() and pid in {None, str(os.getpid())}
    return Supervisor(
        os.environ.get("NOTIFY_SOCKET") or None, int(microseconds) / 1e6 if ours else None
    )


def operator() -> str:
    """Return who is at work here, as ``name@host``, for the record."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def user_name() -> str | None:
    """Return the name of the user id at work, as libpq asks for it; None: it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in many containers
        return None


def libpq_environment() -> dict[str, str]:
    """Return what libpq reads of the environment, for programs of PostgreSQL."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PG") or name in {"HOME", "PATH", "LANG", "SSL_CERT_FILE"}
    }


def bare_environment() -> dict[str, str]:
    """Return the environment without what would configure this program or a database."""
    ours = ("ZENLAYER", "SYNCER_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def let_less_show_colours() -> None:
    """Have the pager ``less``, unless the user has set it up, show colours and leave its last page.

    The same as git does.
    """
    os.environ.setdefault("LESS", "-FRX")
