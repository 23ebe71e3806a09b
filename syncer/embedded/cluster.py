"""One data directory: make it, start a server on it, find that server again, stop it.

Nothing here locks against others; ``server`` calls it only while it holds the turn.
Everything blocks: it is meant for a worker thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from syncer.core.errors import DatabaseGone
from syncer.embedded.launcher import Child, Launcher, run, start
from syncer.embedded.postmaster import Postmaster, signal_backends
from syncer.embedded.sockets import PORT, SocketDirectory
from syncer.embedded.waiting import lock, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncer.embedded.binaries import Binaries

ROLE: Final = "syncer"
START_LIMIT: Final = 120.0
STOP_LIMIT: Final = 30.0
QUIT_LIMIT: Final = 15.0
INIT_LIMIT: Final = 120.0
_ORPHANS_LIMIT: Final = 5.0
_LOG_LIMIT: Final = 4 * 1024 * 1024

DEFAULTS: Final[Mapping[str, str]] = {
    "shared_buffers": "128MB",
    "max_connections": "50",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "jit": "off",
}
# Whoever may reach the socket is trusted, so nobody else may; and others must find it.
FORCED: Final = frozenset(
    ("listen_addresses", "port", "unix_socket_directories", "unix_socket_permissions")
)

# Names are bound by psql's own quoting (:'name', %I), not pasted.
_CREATE_DATABASE: Final = b"""
select format('create database %I', :'name')
 where not exists (select from pg_database where datname = :'name') \\gexec
"""


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A data directory and what is needed to run a server on it.

    Whether anything of a server lives is read from a flock (``server.lock``) that the server
    inherits when it is started: the kernel lets go of it when the last process of the server has
    ended, however it ended. A pid in a file could be a zombie, another program that got the same
    number, or a number from another container; a lock cannot.
    """

    home: Path
    binaries: Binaries
    launcher: Launcher
    settings: Mapping[str, str]
    log_path: Path
    die_with_parent: bool
    spawn: Callable[[Callable[[], Child]], Child]
    """Calls its argument in a thread that lives as long as the process, for ``die_with_parent``."""
    child: Child | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        """The data directory; one for each major, since they do not open each other's."""
        return self.home / f"data-{self.binaries.major}"

    @property
    def state(self) -> Path:
        """Directory of the locks and, where its name is short enough, of the socket."""
        return self.home / f"run-{self.binaries.major}"

    @property
    def _socket(self) -> SocketDirectory:
        return SocketDirectory(state=self.state, launcher=self.launcher)

    def prepare(self) -> None:
        """Make what must be there before a lock can be taken. Raises OSError."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        locks = [self.state / f"{name}.lock" for name in ("turn", "users", "server")]
        for path in (*locks, self.log_path):
            # Not following links: root may be at work in somebody else's directory.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        for path in (*locks, self.log_path, self.state, self.home):
            self.launcher.give_one(path)

    def postmaster(self) -> Postmaster | None:
        """The server that runs on this data directory, if its file names one that really does."""
        return Postmaster.of(self.data)

    def start(self, *, turn: int, abort: threading.Event) -> Postmaster:
        """The server, ready for queries: the one that runs already, or a new one.

        ``turn`` is the descriptor of the turn's lock: initdb inherits it, so that after kill -9
        of ours nobody gets the turn before that has ended too.
        Raises DatabaseGone with the end of its log, AbandonedError, OSError.
        """
        log_size = self._rotate_log()

        def attached_or_claimed() -> Postmaster | int | None:
            if (claim := lock(self.state / "server.lock", fcntl.LOCK_EX)) is not None:
                return claim
            running = self.postmaster()
            return running if running and running.status == "ready" else None

        found: Postmaster | int | None = poll(
            attached_or_claimed, limit=_ORPHANS_LIMIT, abort=abort
        )
        if found is None:
            if self.postmaster() is None:
                # The postmaster was killed, and a backend of it has not noticed.
                signal_backends(self.data, signal.SIGQUIT)
            found = poll(attached_or_claimed, limit=START_LIMIT, abort=abort)
        if found is None:
            raise DatabaseGone(
                f"the PostgreSQL server of {self.data} was neither ready nor gone after "
                f"{START_LIMIT:.0f} s:{self._log_end(log_size)}"
            )
        if isinstance(found, Postmaster):
            return found
        claim = found
        try:
            if not self.data.exists():
                self._initialize(turn=turn, abort=abort)
            elif self.data.lstat().st_uid != self.launcher.uid:
                self.launcher.give(self.data)
            self._forget_the_dead()
            with self.log_path.open("ab") as log:
                command = self._server_command(self._socket.make())
                self.child = self.spawn(lambda: start(command, log=log, keep=[claim]))
        finally:
            os.close(claim)  # from here on only the server holds it
        return self._wait_until_ready(self.child, log_size=log_size, abort=abort)

    def create_database(self, name: str, running: Postmaster, *, abort: threading.Event) -> None:
        """Create the database unless it is there; the first query the server answers."""
        host = str(running.socket_directory)
        command = [self.binaries.psql, "-Xqw", "-v", "ON_ERROR_STOP=1", "-v", f"name={name}"]
        command += ["-h", host, "-p", str(PORT), "-U", ROLE, "-d", "postgres", "-f", "-"]
        with tempfile.TemporaryFile() as script, tempfile.TemporaryFile() as output:
            script.write(_CREATE_DATABASE)
            script.seek(0)
            code = run(start(command, log=output, stdin=script), limit=START_LIMIT, abort=abort)
            if code != 0:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise DatabaseGone(
                    f"the embedded PostgreSQL runs, but database {name} could not be made: {said}"
                )

    def stop(self) -> None:
        """Stop the server and wait until its last process has ended: SIGINT, at last SIGQUIT.

        Raises DatabaseGone if even that does not help.
        """
        never = threading.Event()

        def gone() -> bool | None:
            if (claim := lock(self.state / "server.lock", fcntl.LOCK_EX)) is None:
                return None
            os.close(claim)
            return True

        # Again every second: between fork and exec, or before it has written its file, the server
        # may not hear the first one. Further ones change nothing.
        ended = gone()
        for second in range(round(STOP_LIMIT)):
            if ended or (second >= _ORPHANS_LIMIT and self.postmaster() is None):
                break  # in the second case there is nobody left who could tell the backends
            self._signal(signal.SIGINT)
            ended = poll(gone, limit=1, abort=never)
        if not ended:
            self._signal(signal.SIGQUIT)
            signal_backends(self.data, signal.SIGQUIT)
            ended = poll(gone, limit=QUIT_LIMIT, abort=never)
        if self.child is not None:
            self.child.join(QUIT_LIMIT)
            self.child = None
        if not ended:
            raise DatabaseGone(
                f"the PostgreSQL server of {self.data} did not stop, not even for SIGQUIT; "
                f"see {self.log_path}"
            )
        self._socket.forget()

    def _signal(self, number: signal.Signals) -> None:
        if (running := self.postmaster()) is not None:
            with suppress(ProcessLookupError):
                os.kill(running.pid, number)
        elif self.child is not None:
            self.child.send(number)

    def _initialize(self, *, turn: int, abort: threading.Event) -> None:
        """Make the data directory beside its place and move it there when it is whole."""
        for torn in self.home.glob(f"{self.data.name}.new-*"):
            shutil.rmtree(torn, ignore_errors=True)
        log_size = self.log_path.stat().st_size
        new = Path(tempfile.mkdtemp(prefix=f"{self.data.name}.new-", dir=self.home))
        try:
            self.launcher.give_one(new)
            options = [f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
            options += ["--data-checksums", "--no-instructions", f"--pgdata={new}"]
            if self.settings.get("fsync") == "off":
                options.append("--no-sync")
            with self.log_path.open("ab") as log:
                command = self.launcher.command(self.binaries.initdb, *options)
                child = start(command, log=log, keep=[turn])
            if (code := run(child, limit=INIT_LIMIT, abort=abort)) != 0:
                raise DatabaseGone(  # noqa: TRY301 (the same clean-up as for any other fault)
                    f"initdb could not make {self.data} (exit {code}):{self._log_end(log_size)}"
                )
            new.rename(self.data)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        home = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(home)
        finally:
            os.close(home)

    def _forget_the_dead(self) -> None:
        """Remove the pid files of a server that was killed.

        PostgreSQL would believe them if their pid had been given to another process of the same
        user. We hold ``server.lock``, so it is not one of ours; a server that somebody started by
        hand on our directory keeps its file, and makes ours refuse to start.
        """
        if self.postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._socket.clear()

    def _server_command(self, socket_directory: Path) -> Sequence[str]:
        # The setting is a list: quotes keep a comma or a space in the name from splitting it.
        quoted = '"' + str(socket_directory).replace('"', '""') + '"'
        settings = {
            **DEFAULTS,
            **self.settings,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": quoted,
            "unix_socket_permissions": "0700",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self.launcher.command(
            self.binaries.postgres,
            "-D",
            str(self.data),
            *options,
            die_with_parent=self.die_with_parent,
        )

    def _wait_until_ready(
        self, child: Child, *, log_size: int, abort: threading.Event
    ) -> Postmaster:
        def ready_or_ended() -> Postmaster | int | None:
            running = self.postmaster()
            if running and running.status == "ready":
                return running
            return child.returncode

        found = poll(ready_or_ended, limit=START_LIMIT, abort=abort)
        if isinstance(found, Postmaster):
            return found
        how = f"was not ready after {START_LIMIT:.0f} s" if found is None else f"ended ({found})"
        raise DatabaseGone(f"the PostgreSQL server of {self.data} {how}:{self._log_end(log_size)}")

    def _rotate_log(self) -> int:
        """Size of the log, after it was put aside if it had grown too long."""
        size = self.log_path.stat().st_size
        if size > _LOG_LIMIT:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
            self.log_path.touch(mode=0o600)
            self.launcher.give_one(self.log_path)
            return 0
        return size

    def _log_end(self, since: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        return "".join(f"\n    {line}" for line in lines[-12:]) + f"\n  (log: {self.log_path})"
