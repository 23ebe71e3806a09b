"""The embedded server as one process sees it: enter, use it, leave.

Entering starts the server or joins the one that runs; leaving stops it if nobody else uses it. Two
flocks in the state directory decide that:

- ``turn.lock``: one process at a time starts, joins, revives or leaves;
- ``users.lock``: shared by all who are inside; whoever can have it alone is the last.

The kernel releases both for a process that is killed, so nobody has to clean up after it: a server
that it leaves behind is joined by the next one that enters, and stopped by the last. A third lock,
held by the server itself, shows whether it is alive: see ``cluster``.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.from_thread
import anyio.to_thread

from syncer.core.errors import ConfigError, DatabaseGone, LockHeld
from syncer.embedded.cluster import FORCED, ROLE, Cluster, url_of
from syncer.embedded.home import check_home, untrusted
from syncer.embedded.inspection import choose_binaries
from syncer.embedded.majors import data_directory, moved_to, other_majors
from syncer.embedded.postmaster import holders
from syncer.embedded.process import Process
from syncer.embedded.programs import COPIES
from syncer.embedded.timing import Timing
from syncer.embedded.user import choose_user
from syncer.embedded.waiting import WaitCancelled, move, poll, try_lock
from syncer.files.ownership import NotTrusted

_LONGEST_NAME: Final = 63  # bytes; PostgreSQL cuts longer names


class EmbeddedPostgres:
    """A PostgreSQL server under ``home``, shared by all processes that enter it at the same time.

    An async context manager. Cancelling is safe at any point: whatever was begun is undone before
    the cancellation goes on.

    ``home`` is made if need be (mode 0700); nobody else may be able to change what lies there.
    ``settings`` are server settings over our defaults; they count for who starts the server, not
    for who joins it. ``die_with_parent`` is for tests: the server is stopped by the kernel when the
    process (more exactly: the event loop's thread) that started it dies, even if others use it.
    ``alone``: nobody else may use it meanwhile, and entering raises LockHeld where somebody does.
    ``copies`` is where root keeps a copy of the programs, if the server's user cannot run them in
    place. Each major version of PostgreSQL has its own data directory. The data that is there
    chooses the programs, unless ``pg_bin`` does; where it is of another version, or was moved
    elsewhere, nothing is begun beside it.

    Entering raises ConfigError (no programs, no user to run them, ``home`` not writable or not ours
    alone, data of another major) or DatabaseGone (the server does not start; with the end of its
    log).
    """

    def __init__(
        self,
        home: Path,
        *,
        pg_bin: str | None = None,
        database: str = ROLE,
        settings: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        alone: bool = False,
        copies: Path = COPIES,
        timing: Timing = Timing(),  # noqa: B008  (frozen)
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
        self._alone = alone
        self._copies = copies
        self._timing = timing
        self._mutex = threading.Lock()
        self._entered: tuple[Cluster, int] | None = None  # and the descriptor of users.lock

    async def __aenter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeError("this EmbeddedPostgres is in use already; make another one")
        try:
            await _in_thread(self._enter)
        except BaseException:
            # If cancelled, the thread is still at work, and may even have succeeded.
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

    async def retire(self, stamp: str) -> Path:
        """Stop the server for good and return what its data directory is called from now on.

        Only inside, and alone: its inventory is elsewhere, since ``stamp``. Raises OSError.
        """
        if not self._alone:
            raise RuntimeError("others may use this server")
        await _to_the_end(lambda: self._retire(stamp))
        return moved_to(self._inside.data, stamp)

    @property
    def home(self) -> Path:
        """The folder of its data, its log and its locks."""
        return self._home

    @property
    def log_path(self) -> Path:
        """The log of the server and of initdb."""
        return self._home / "postgres.log"

    @property
    def major(self) -> int:
        """PostgreSQL's major version; only inside the context."""
        return self._inside.binaries.major

    @property
    def origin(self) -> str:
        """Where the programs were found, in words; only inside the context."""
        return self._inside.binaries.origin

    @property
    def running_pid(self) -> int | None:
        """Process id of the server at this moment, None if it is gone; only inside the context."""
        running = self._inside.postmaster()
        return running.pid if running else None

    @property
    def begun(self) -> bool:
        """Whether this one made the data directory, which was not there; inside only."""
        return self._inside.begun

    @property
    def other_majors(self) -> tuple[int, ...]:
        """The other majors that ``home`` holds data for; inside only."""
        return other_majors(self._home, self.major)

    def dsn(self, database: str | None = None) -> str:
        """URL of a database (the one named at birth), for asyncpg and libpq; inside only."""
        return url_of(self._inside.socket_directory, database or self._database)

    @property
    def _inside(self) -> Cluster:
        if self._entered is None:
            raise RuntimeError("the embedded PostgreSQL is only there inside `async with`")
        return self._entered[0]

    def _enter(self, abort: threading.Event) -> None:
        """Start or join the server (in a thread)."""
        with self._mutex:
            if abort.is_set():
                raise WaitCancelled
            try:
                cluster = self._open_home()
                turn = self._take_turn(cluster, abort)
                try:
                    self._entered = cluster, self._start_or_join(cluster, turn, abort)
                finally:
                    os.close(turn)
            except NotTrusted as error:
                raise untrusted(self._home, error) from error
            except OSError as error:
                place = error.filename or self._home
                raise ConfigError(
                    f"cannot keep the embedded database under {self._home}: {error.strerror} "
                    f"({place}): fix that, or set SYNCER_STATE_DIR or SYNCER_DATABASE_URL"
                ) from error

    def _revive(self, abort: threading.Event) -> None:
        """Start the server again if it is gone (in a thread)."""
        with self._mutex:
            cluster = self._inside
            if cluster.postmaster() is not None:
                return
            turn = self._take_turn(cluster, abort)
            try:
                cluster.start(turn=turn, abort=abort, again=True)
            except (OSError, ConfigError) as error:
                raise DatabaseGone(f"the embedded PostgreSQL does not start: {error}") from error
            finally:
                os.close(turn)

    def _retire(self, stamp: str) -> None:
        """Stop the server and rename its data (in a thread); again is harmless."""
        with self._mutex:
            cluster = self._inside
            turn = self._take_turn(cluster, threading.Event())
            try:
                cluster.stop()
                if cluster.data.exists():
                    move(cluster.data, moved_to(cluster.data, stamp))
            finally:
                os.close(turn)

    def _open_home(self) -> Cluster:
        home = check_home(self._home, make=True)
        binaries = choose_binaries(home, self._pg_bin, self._timing)
        cluster = Cluster(
            home=home,
            binaries=binaries,
            copies=self._copies,
            user=choose_user(data_directory(home, binaries.major), self._timing),
            settings=self._settings,
            log_path=home / "postgres.log",
            die_with_parent=self._die_with_parent,
            spawn=self._spawn,
            timing=self._timing,
        )
        cluster.prepare()
        return cluster

    def _spawn(self, start: Callable[[], Process]) -> Process:
        # The kernel takes the thread that forked for the parent, and worker threads come and go.
        return anyio.from_thread.run_sync(start) if self._die_with_parent else start()

    def _take_turn(self, cluster: Cluster, abort: threading.Event) -> int:
        path, limit = cluster.state / "turn.lock", self._timing.turn
        turn = poll(lambda: try_lock(path, fcntl.LOCK_EX), limit=limit, abort=abort)
        if turn is None:
            raise DatabaseGone(
                f"another process has been starting or stopping the embedded PostgreSQL for "
                f"{limit:.0f} s; `fuser {path}` names it"
            )
        return turn

    def _start_or_join(self, cluster: Cluster, turn: int, abort: threading.Event) -> int:
        """Return a descriptor that holds ``users.lock``; the server runs and has our database."""
        path = cluster.state / "users.lock"
        users = try_lock(path, fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH)
        if users is None:
            who = ", ".join(f"process {pid}" for pid in holders(path)) or "another process"
            if self._alone:
                raise LockHeld(f"the embedded PostgreSQL of {cluster.data} is in use by {who}")
            raise LockHeld(
                f"{who} has the embedded PostgreSQL of {cluster.data} for itself, to move it; try "
                "again when it ended"
            )
        try:
            running = cluster.start(turn=turn, abort=abort)
            try:
                cluster.create_database(self._database, running, abort=abort)
            except DatabaseGone:
                if cluster.postmaster() == running:
                    raise
                # It was killed or asked to stop just when we joined it.
                running = cluster.start(turn=turn, abort=abort)
                cluster.create_database(self._database, running, abort=abort)
        except BaseException:
            self._stop_if_last(cluster, users)
            raise
        return users

    def _leave(self) -> None:
        """Leave, and stop the server if nobody else is inside (in a thread); again is harmless."""
        with self._mutex:
            if self._entered is None:
                return
            (cluster, users), self._entered = self._entered, None
            try:
                turn = self._take_turn(cluster, threading.Event())
            except BaseException:
                os.close(users)
                raise
            try:
                self._stop_if_last(cluster, users)
            finally:
                os.close(turn)

    def _stop_if_last(self, cluster: Cluster, users: int) -> None:
        """Release ``users.lock``, and stop the server if nobody else holds it. Needs the turn."""
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            cluster.stop()
        finally:
            os.close(users)


async def _in_thread(work: Callable[[threading.Event], None]) -> None:
    """Do ``work`` in a thread; its event is set once nobody waits for it any more."""
    abort = threading.Event()
    try:
        await anyio.to_thread.run_sync(work, abort, abandon_on_cancel=True)
    except BaseException:
        abort.set()
        raise


async def _to_the_end(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread and wait for its end, whatever cancels the task meanwhile.

    anyio's shield does not keep out asyncio's own ``Task.cancel``, which is how Ctrl-C arrives.
    So after each one ``work``, which must be harmless to repeat, is called again: it waits for the
    call that is under way.
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
