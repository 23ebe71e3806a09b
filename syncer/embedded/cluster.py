"""One data directory: make it, start a server on it, find that server again, stop it.

Whether any process of a server is alive is read from a flock, ``server.lock``, which the server
inherits when it is started: the kernel releases it when the last process of the server has ended,
however that ended. A process id in a file could be a zombie, another program that got the same
number, or a number from another container; a lock cannot.

PostgreSQL gets its directories as open descriptors too, and names them /proc/self/fd/<number>. So
its user need not be able to pass the folders above them, and their names may be of any length.

Nothing here locks against others who start or stop: ``server`` calls it only while it holds the
turn. Everything blocks: it is meant for a worker thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.embedded.binaries import Binaries
from syncer.embedded.majors import check_beginning, data_directory, state_directory
from syncer.embedded.postmaster import Postmaster, signal_backends
from syncer.embedded.process import Process, start, wait_for
from syncer.embedded.programs import Programs, reachable_programs
from syncer.embedded.sockets import PORT, SocketDirectory
from syncer.embedded.timing import Timing
from syncer.embedded.user import ServerUser
from syncer.embedded.waiting import poll, try_lock
from syncer.files.ownership import trusted_folder

ROLE: Final = "syncer"
_LOCKS: Final = ("turn", "users", "server")
_FULL: Final = re.compile(r"No space left on device|could not extend file|wrote only|quota")
"""What PostgreSQL says where it can write no more."""
_WHY: Final = re.compile(r"\b(FATAL|PANIC|error)\b")
"""In a line of the server's log, or of initdb's."""
_LEAST_ROOM: Final = 64 * 1024  # bytes, without which no log is written
_LARGEST_LOG: Final = 4 * 1024 * 1024  # bytes

DEFAULTS: Final[Mapping[str, str]] = {
    "shared_buffers": "128MB",
    "max_connections": "50",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "jit": "off",
}
# Whoever can reach the socket is trusted, so nobody else may reach it; and clients must find it.
FORCED: Final = frozenset(
    ("listen_addresses", "port", "unix_socket_directories", "unix_socket_permissions")
)

# Names are bound by psql's own quoting (:'name', %I), not pasted.
_CREATE_DATABASE: Final = b"""
select format('create database %I', :'name')
 where not exists (select from pg_database where datname = :'name') \\gexec
"""


def url_of(socket_directory: Path, database: str) -> str:
    """Return the URL of a database, for asyncpg and libpq.

    The port is part of the socket's name. It is spelt out because both would otherwise take it
    from PGPORT.
    """
    host = quote(str(socket_directory), safe="/")
    return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={host}&port={PORT}"


class Cluster(msgspec.Struct, kw_only=True):
    """A data directory and what is needed to run a server on it."""

    home: Path
    binaries: Binaries
    copies: Path
    """Where a copy of the programs is made, if the server's user cannot run them in place."""
    user: ServerUser
    settings: Mapping[str, str]
    log_path: Path
    die_with_parent: bool
    spawn: Callable[[Callable[[], Process]], Process]
    """Calls its argument in a thread that lives as long as the process, for ``die_with_parent``."""
    timing: Timing
    process: Process | None = None
    """The server, if it was started here."""
    begun: bool = False
    """Whether the data directory was made here."""

    @property
    def data(self) -> Path:
        """The data directory."""
        return data_directory(self.home, self.binaries.major)

    @property
    def state(self) -> Path:
        """Directory of the locks and, where its name is short enough, of the socket."""
        return state_directory(self.home, self.binaries.major)

    @property
    def socket_directory(self) -> Path:
        """Where clients find the server's socket, once it has been started. Raises DatabaseGone."""
        if (found := self._sockets.find()) is None:
            raise DatabaseGone(f"the socket of the PostgreSQL server of {self.data} is gone")
        return found

    @property
    def _sockets(self) -> SocketDirectory:
        return SocketDirectory(state=self.state, user=self.user)

    def prepare(self) -> None:
        """Make what must be there before a lock can be taken. Raises NotTrusted, OSError."""
        trusted_folder(self.state, make=True)
        try:
            trusted_folder(self.data, owners=[self.user.uid])
        except FileNotFoundError:
            if self.data.is_symlink():  # the disk that it names may not be mounted
                raise
        for path in (*(self.state / f"{name}.lock" for name in _LOCKS), self.log_path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))

    def postmaster(self) -> Postmaster | None:
        """Return the server that runs on this data directory, or None."""
        return Postmaster.of(self.data)

    def start(self, *, turn: int, abort: threading.Event, again: bool = False) -> Postmaster:
        """Return the server, ready for queries: the one that runs already, or a new one.

        ``again``: it ran before, so that its data are there; none are made.
        ``turn`` is the descriptor of the turn's lock: initdb inherits it, so that after kill -9
        of ours nobody gets the turn before that has ended too.
        Raises DatabaseGone with the end of its log, ConfigError, WaitCancelled, OSError.
        """
        log_size = self._rotate_log()
        found = self._running_or_lock(log_size=log_size, abort=abort)
        if isinstance(found, Postmaster):
            self._check_listener()
            return found
        try:
            with reachable_programs(
                self.binaries, self.user, copies=self.copies, timing=self.timing, abort=abort
            ) as programs:
                if not self.data.exists():
                    if again:
                        raise DatabaseGone(f"its data directory {self.data} is gone")
                    check_beginning(self.home, self.binaries.major)
                    self._initialize(programs, turn=turn, abort=abort)
                    self.begun = True
                elif self.data.stat().st_uid != self.user.uid:
                    self.user.own_tree(self.data)
                self._remove_stale_files()
                self.process = self._start_server(programs, server_lock=found)
        finally:
            os.close(found)  # from here on only the server holds it
        return self._wait_until_ready(self.process, log_size=log_size, abort=abort)

    def create_database(self, name: str, running: Postmaster, *, abort: threading.Event) -> None:
        """Create the database unless it is there; the first query the server answers.

        Raises DatabaseGone if the ``running`` server cannot be asked, WaitCancelled.
        """
        host = str(self.socket_directory)
        command = [self.binaries.psql, "-Xqw", "-v", "ON_ERROR_STOP=1", "-v", f"name={name}"]
        command += ["-h", host, "-p", str(PORT), "-U", ROLE, "-d", "postgres", "-f", "-"]
        here = self.state  # as TMPDIR may be read-only, full or missing
        with tempfile.TemporaryFile(dir=here) as script, tempfile.TemporaryFile(dir=here) as output:
            script.write(_CREATE_DATABASE)
            script.seek(0)
            psql = start(command, log=output, stdin=script)
            code = wait_for(psql, limit=self.timing.start, timing=self.timing, abort=abort)
            if code != 0:
                output.seek(0)
                reason = " ".join(output.read().decode(errors="replace").split())
                raise DatabaseGone(
                    f"the embedded PostgreSQL runs (pid {running.pid}), but database {name} could "
                    f"not be made: {reason}"
                )

    def stop(self) -> None:
        """Stop the server and wait until its last process has ended: SIGINT, at last SIGQUIT.

        Raises DatabaseGone if even that does not help.
        """
        never = threading.Event()

        def ended_now() -> bool | None:
            if (lock := try_lock(self.state / "server.lock", fcntl.LOCK_EX)) is None:
                return None
            os.close(lock)
            return True

        # Again every second: between fork and exec, or before it has written its file, the server
        # may miss the first one. Further ones change nothing.
        ended = ended_now()
        for second in range(round(self.timing.stop)):
            if ended or (second >= self.timing.orphans and self.postmaster() is None):
                break  # in the second case there is no postmaster left that could stop the backends
            self._signal(signal.SIGINT)
            ended = poll(ended_now, limit=1, abort=never)
        if not ended:
            self._signal(signal.SIGQUIT)
            signal_backends(self.data, signal.SIGQUIT)
            ended = poll(ended_now, limit=self.timing.quit, abort=never)
        if self.process is not None:
            self.process.join(self.timing.quit)
            self.process = None
        if not ended:
            raise DatabaseGone(
                f"the PostgreSQL server of {self.data} did not stop, not even for SIGQUIT; "
                f"see {self.log_path}"
            )
        self._sockets.remove()

    def _running_or_lock(self, *, log_size: int, abort: threading.Event) -> Postmaster | int:
        """Return the server that is ready, or ``server.lock`` if no process of one is alive."""

        def look() -> Postmaster | int | None:
            if (lock := try_lock(self.state / "server.lock", fcntl.LOCK_EX)) is not None:
                return lock
            running = self.postmaster()
            return running if running and running.status == "ready" else None

        found: Postmaster | int | None = poll(look, limit=self.timing.orphans, abort=abort)
        if found is None:
            if self.postmaster() is None:
                # The postmaster was killed, and a backend of it has not noticed.
                signal_backends(self.data, signal.SIGQUIT)
            found = poll(look, limit=self.timing.start, abort=abort)
        if found is None:
            raise DatabaseGone(
                f"the PostgreSQL server of {self.data} was neither ready nor gone after "
                f"{self.timing.start:.0f} s:{self._log_end(log_size)}"
            )
        return found

    def _check_listener(self) -> None:
        """Raise ConfigError if somebody else's process answers at the socket; nothing is sent."""
        if (uid := self._sockets.listener()) not in {None, self.data.stat().st_uid}:
            raise ConfigError(
                f"a process of uid {uid} listens at the socket of the PostgreSQL server of "
                f"{self.data}, and the server is another user's: end that process"
            )

    def _signal(self, number: signal.Signals) -> None:
        if (running := self.postmaster()) is not None:
            try:
                os.kill(running.pid, number)
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise DatabaseGone(
                    f"we may not end the PostgreSQL server of {self.data} (pid {running.pid})"
                ) from error
        elif self.process is not None:
            self.process.send(number)

    def _initialize(self, programs: Programs, *, turn: int, abort: threading.Event) -> None:
        """Make the data directory beside its place and move it there when it is whole."""
        for unfinished in self.home.glob(f"{self.data.name}.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix=f"{self.data.name}.new-", dir=self.home))
        try:
            self.user.own(new)
            self._run_initdb(programs, new, turn=turn, abort=abort)
            new.rename(self.data)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        with _opened(self.home) as home:
            os.fsync(home)

    def _run_initdb(
        self, programs: Programs, new: Path, *, turn: int, abort: threading.Event
    ) -> None:
        log_size = self.log_path.stat().st_size
        options = [f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        options += ["--data-checksums", "--no-instructions"]
        if self.settings.get("fsync") == "off":
            options.append("--no-sync")
        with self.log_path.open("ab") as log, _opened(new) as directory:
            options.append(f"--pgdata={_path_of(directory)}")
            command = self.user.command(programs.binaries.initdb, *options)
            initdb = start(command, log=log, keep=[turn, directory, *programs.keep])
        code = wait_for(initdb, limit=self.timing.initialize, timing=self.timing, abort=abort)
        if code != 0:
            raise DatabaseGone(
                f"initdb could not make {self.data} (exit {code}):{self._log_end(log_size)}"
            )

    def _remove_stale_files(self) -> None:
        """Remove the pid files of a server that was killed.

        PostgreSQL would believe them if their pid had been given to another process of the same
        user. We hold ``server.lock``, so it is not one of ours; a server that somebody started by
        hand on our directory keeps its file, and makes ours refuse to start.
        """
        if self.postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._sockets.clear()

    def _start_server(self, programs: Programs, *, server_lock: int) -> Process:
        with (
            self.log_path.open("ab") as log,
            _opened(self.data) as data,
            _opened(self._sockets.make()) as sockets,
        ):
            command = self._server_command(programs, data=data, sockets=sockets)
            keep = [server_lock, data, sockets, *programs.keep]
            return self.spawn(lambda: start(command, log=log, keep=keep))

    def _server_command(self, programs: Programs, *, data: int, sockets: int) -> Sequence[str]:
        settings = {
            **DEFAULTS,
            **self.settings,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": _path_of(sockets),
            "unix_socket_permissions": "0700",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # The last -D counts. The first is how others know the server (see Postmaster.of).
        directories = ["-D", str(self.data), "-D", _path_of(data)]
        return self.user.command(
            programs.binaries.postgres,
            *directories,
            *options,
            die_with_parent=self.die_with_parent,
        )

    def _wait_until_ready(
        self, process: Process, *, log_size: int, abort: threading.Event
    ) -> Postmaster:
        def ready_or_ended() -> Postmaster | int | None:
            running = self.postmaster()
            if running and running.status == "ready":
                return running
            return process.exit_code

        limit = self.timing.start
        found = poll(ready_or_ended, limit=limit, abort=abort)
        if isinstance(found, Postmaster):
            return found
        how = f"was not ready after {limit:.0f} s" if found is None else f"ended ({found})"
        raise DatabaseGone(f"the PostgreSQL server of {self.data} {how}:{self._log_end(log_size)}")

    def _rotate_log(self) -> int:
        """Return the size of the log, after moving it away if it had grown too long."""
        size = self.log_path.stat().st_size
        if size > _LARGEST_LOG:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
            self.log_path.touch(mode=0o600)
            return 0
        return size

    def _silence(self) -> str:
        full = shutil.disk_usage(self.home).free < _LEAST_ROOM
        return "the disk is full" if full else "it said nothing"

    def _log_end(self, since: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        if any(_FULL.search(line) for line in lines):
            return f" its disk is full, make room there (log: {self.log_path})"
        lines = [line.strip() for line in lines if line.strip()] or [self._silence()]
        why = [line for line in lines if _WHY.search(line)] or lines  # in one line with the error
        return f" {'; '.join(why[-3:])} (log: {self.log_path})"


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _path_of(descriptor: int) -> str:
    """Return a path by which the process that has this descriptor reaches what it stands for."""
    return f"/proc/self/fd/{descriptor}"
