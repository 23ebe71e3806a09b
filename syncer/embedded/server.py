"""The embedded server as one process sees it: take part, use it, leave; the last one stops it."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import anyio
import anyio.from_thread
import anyio.to_thread

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.embedded.binaries import find_binaries
from syncer.embedded.cluster import (
    FORCED,
    INIT_LIMIT,
    QUIT_LIMIT,
    ROLE,
    START_LIMIT,
    STOP_LIMIT,
    Cluster,
)
from syncer.embedded.inspection import other_majors
from syncer.embedded.launcher import Child, Launcher
from syncer.embedded.postmaster import Postmaster
from syncer.embedded.sockets import PORT
from syncer.embedded.waiting import AbandonedError, lock, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

# Longer than anybody who keeps to the limits can hold the turn.
TURN_LIMIT: Final = INIT_LIMIT + START_LIMIT + STOP_LIMIT + QUIT_LIMIT
_LONGEST_NAME: Final = 63  # bytes; PostgreSQL cuts longer names


class EmbeddedPostgres:
    """A PostgreSQL server under ``home``, shared by all processes that enter it at the same time.

    An async context manager: entering starts the server or joins the one that runs; leaving stops
    it if nobody else uses it. Two flocks decide that: ``turn.lock`` (one process at a time enters
    or leaves) and ``users.lock`` (shared by all inside; who can have it alone is the last). The
    kernel lets go of both for a process that is killed, so nobody has to clean up after it: a
    server it leaves behind is joined by the next one that enters, and stopped by the last.

    Cancelling is safe at any point: whatever was begun is undone before the cancellation goes on.

    ``home`` is made if need be (mode 0700). ``settings`` are server settings over our defaults;
    they count for who starts the server, not for who joins it. ``die_with_parent`` is for tests:
    the server is stopped by the kernel when the process (more exactly: the event loop's thread)
    that started it dies, even if others use it. Each major version of PostgreSQL has its own data
    directory: after a change of major the old data is still there, but not opened; see
    ``other_majors``.

    Entering raises ConfigError (no programs, no way to run as root, ``home`` not writable) or
    DatabaseGone (the server does not start; with the end of its log).
    """

    def __init__(
        self,
        home: Path,
        *,
        pg_bin: str | None = None,
        database: str = ROLE,
        settings: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
    ) -> None:
        settings = dict(settings or {})
        for name, value in settings.items():
            if name in FORCED or not re.fullmatch(r"[a-z_][a-z0-9_.]*", name) or "\0" in value:
                raise ValueError(f"not a setting of the embedded server: {name}")
        if not 1 <= len(database.encode()) <= _LONGEST_NAME or "\0" in database:
            raise ValueError(f"not a name of a database: {database!r}")
        self._home = Path(os.path.abspath(home))  # noqa: PTH100 (resolve() would touch the disk)
        self._pg_bin = pg_bin
        self._database = database
        self._settings = settings
        self._die_with_parent = die_with_parent
        self._mutex = threading.Lock()
        self._cluster: Cluster | None = None
        self._running: Postmaster | None = None
        self._users: int | None = None

    async def __aenter__(self) -> Self:
        if self._users is not None:
            raise RuntimeError("this EmbeddedPostgres is in use already; make another one")
        try:
            await _in_thread(self._enter)
        except BaseException:
            # Cancelled, perhaps: then the thread is still at it, and may even have succeeded.
            await _to_the_end(self._leave)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _to_the_end(self._leave)

    async def revive(self) -> None:
        """Start the server again if it is gone; only inside the context. Raises DatabaseGone."""
        await _in_thread(self._revive)

    @property
    def home(self) -> Path:
        """Where everything of it lives."""
        return self._home

    @property
    def log_path(self) -> Path:
        """The log of the server and of initdb."""
        return self._home / "postgres.log"

    @property
    def major(self) -> int:
        """PostgreSQL's major version; only inside the context."""
        return self._inside[0].binaries.major

    @property
    def origin(self) -> str:
        """Where the programs were found, in words; only inside the context."""
        return self._inside[0].binaries.origin

    @property
    def running_pid(self) -> int | None:
        """Process id of the server at this moment, None if it is gone; only inside the context."""
        running = self._inside[0].postmaster()
        return running.pid if running else None

    @property
    def other_majors(self) -> tuple[int, ...]:
        """Majors of which ``home`` holds data that this server does not open; inside only."""
        return other_majors(self._home, self.major)

    def dsn(self, database: str | None = None) -> str:
        """URL of a database (the one named at birth), for asyncpg and libpq; inside only.

        The port is part of the socket's name. It is spelt out because both would otherwise take
        it from PGPORT.
        """
        name = quote(database or self._database, safe="")
        host = quote(str(self._inside[1].socket_directory), safe="/")
        return f"postgresql://{ROLE}@/{name}?host={host}&port={PORT}"

    @property
    def _inside(self) -> tuple[Cluster, Postmaster]:
        if self._cluster is None or self._running is None:
            raise RuntimeError("the embedded PostgreSQL is only there inside `async with`")
        return self._cluster, self._running

    def _enter(self, abort: threading.Event) -> None:
        """Start or join the server (in a thread)."""
        with self._mutex:
            if abort.is_set():
                raise AbandonedError
            try:
                self._cluster = cluster = self._open_home()
                turn = self._take_turn(cluster, abort)
                try:
                    self._take_part(cluster, turn, abort)
                finally:
                    os.close(turn)
            except OSError as fault:
                place = fault.filename or self._home
                raise ConfigError(
                    f"cannot keep the embedded database under {self._home}: {fault.strerror} "
                    f"({place}): mend that, or set SYNCER_STATE_DIR or SYNCER_DATABASE_URL"
                ) from fault

    def _revive(self, abort: threading.Event) -> None:
        with self._mutex:
            cluster, _ = self._inside
            if cluster.postmaster() is not None:
                return
            turn = self._take_turn(cluster, abort)
            try:
                self._running = cluster.start(turn=turn, abort=abort)
            except OSError as fault:
                raise DatabaseGone(f"the embedded PostgreSQL does not start: {fault}") from fault
            finally:
                os.close(turn)

    def _open_home(self) -> Cluster:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = self._home.resolve()
        binaries = find_binaries(self._pg_bin)
        launcher = Launcher.choose(home, binaries)
        cluster = Cluster(
            home=home,
            binaries=binaries,
            launcher=launcher,
            settings=self._settings,
            log_path=home / "postgres.log",
            die_with_parent=self._die_with_parent,
            spawn=self._spawn,
        )
        cluster.prepare()
        return cluster

    def _spawn(self, start: Callable[[], Child]) -> Child:
        # The kernel takes the thread that forked for the parent, and worker threads come and go.
        return anyio.from_thread.run_sync(start) if self._die_with_parent else start()

    def _take_turn(self, cluster: Cluster, abort: threading.Event) -> int:
        path = cluster.state / "turn.lock"
        turn = poll(lambda: lock(path, fcntl.LOCK_EX), limit=TURN_LIMIT, abort=abort)
        if turn is None:
            raise DatabaseGone(
                f"another process has been starting or stopping the embedded PostgreSQL for "
                f"{TURN_LIMIT:.0f} s; `fuser {path}` names it"
            )
        return turn

    def _take_part(self, cluster: Cluster, turn: int, abort: threading.Event) -> None:
        users = lock(cluster.state / "users.lock", fcntl.LOCK_SH)
        if users is None:  # it is only ever held alone by who has the turn
            raise DatabaseGone(f"another program holds {cluster.state / 'users.lock'}")
        try:
            running = cluster.start(turn=turn, abort=abort)
            try:
                cluster.create_database(self._database, running, abort=abort)
            except DatabaseGone:
                if cluster.postmaster() == running:
                    raise
                # It was killed or told to stop just when we joined it.
                running = cluster.start(turn=turn, abort=abort)
                cluster.create_database(self._database, running, abort=abort)
        except BaseException:
            self._give_up_part(cluster, users)
            raise
        self._running, self._users = running, users

    def _leave(self) -> None:
        """Leave, and stop the server if nobody else is inside (in a thread); again is harmless."""
        with self._mutex:
            if self._cluster is None or self._users is None:
                return
            cluster, users = self._cluster, self._users
            self._cluster = self._running = self._users = None
            try:
                turn = self._take_turn(cluster, threading.Event())
            except BaseException:
                os.close(users)
                raise
            try:
                self._give_up_part(cluster, users)
            finally:
                os.close(turn)

    def _give_up_part(self, cluster: Cluster, users: int) -> None:
        """Stop the server if we are the last. Only with the turn."""
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            cluster.stop()
        finally:
            os.close(users)


async def _in_thread(work: Callable[[threading.Event], None]) -> None:
    """Do it in a thread, whose event is set where nobody waits for it any more."""
    abort = threading.Event()
    try:
        await anyio.to_thread.run_sync(work, abort, abandon_on_cancel=True)
    except BaseException:
        abort.set()
        raise


async def _to_the_end(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread and wait for its end, whatever cancels the task meanwhile.

    anyio's shield does not keep out asyncio's own ``Task.cancel``, which is how Ctrl-C arrives.
    So after each one ``work``, which must be harmless to repeat, is asked for again: it waits for
    the one under way.
    """
    cancelled: BaseException | None = None
    # A limiter of its own: a server must be stopped even if all worker threads are taken.
    limiter = anyio.CapacityLimiter(1)
    with anyio.CancelScope(shield=True):
        while True:
            try:
                await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
                break
            except anyio.get_cancelled_exc_class() as again:
                cancelled = again
    if cancelled is not None:
        raise cancelled
