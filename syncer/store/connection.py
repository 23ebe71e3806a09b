"""PostgreSQL: the one way into it. Sessions, statements from ``sql/``, named errors.

Sessions are of two kinds. ``Server.session``, ``Server.connect`` and ``Server.pool`` are for what
writes: what correctness leans on is set in them after connecting, whatever the role, the database
or the server have for it. It is not asked for as startup parameters, which a pooler refuses.
``Server.reading`` is for what only reads, through any pooler: nothing is set and no statement is
prepared beyond a transaction, since the next one may be done by another session of the server.

Every error of the server and of the driver gets a name here; see ``named_errors``.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import asyncpg
import msgspec

from syncer.core.backoff import Backoff
from syncer.core.errors import (
    ConfigError,
    DatabaseGone,
    ServerTooOld,
    ServerUnable,
    StatementRefused,
    SyncerError,
    TransactionFailed,
)
from syncer.core.libpq import Address, of_url
from syncer.core.model import ADDED, TRACKED
from syncer.core.postgres import OLDEST_SERVER
from syncer.secrets import redacted
from syncer.store.dialling import advice_on, dial, longest, words

if TYPE_CHECKING:  # generic in the stubs only
    Connection = asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]
else:
    Connection = asyncpg.Connection

_GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
)
_FAILED: Final = (  # as far as it is none of those above
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)
_UNABLE: Final = (  # of these, whatever is written
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
)
_MISCONFIGURED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
_OF_ANOTHER: Final = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""A statement that we prepared is not there, or one that we did not is: the session is not ours."""
_STATEMENT_MODE: Final = "transaction blocks not allowed in statement pooling mode"
_POOLER_WAITS: Final = re.compile(
    r"server_login_retry|server login|query_wait_timeout|client_login_timeout|shutting down|"
    r"shut down|starting up|cannot connect|connect failed|crashed|no more connections|too many|"
    r"paused|timeout",
    re.IGNORECASE,
)
"""What PgBouncer says of a server that is away, in the SQLSTATE of everything that it says."""
SHARED: Final = (
    "a pooler in transaction mode (PgBouncer) cannot be used for syncing: the run lock lives in a "
    "session"
)
"""What is wrong where a pooler hands a session on to others; also in the README."""


STATEMENTS: Final = (
    "a pooler in statement mode (PgBouncer) cannot be used, as it allows no transaction: set its "
    "pool_mode to session, for SYNCER_QUEUE_URL and for reading to transaction"
)
"""What is wrong where a pooler hands a session on after each statement."""
_RIGHTS: Final = (
    "connect as a role that may: 'syncer db roles' makes syncer_reader, to read, and "
    "syncer_writer, to sync, approve and save"
)


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long the store waits, in seconds."""

    connect: float = 10.0
    """For a connection to be opened."""
    close: float = 5.0
    """For a connection to be closed or given back to its pool."""
    begin: float = 120.0
    """For a run to begin: more than its waits for locks."""
    transaction: float = 60.0
    """For the first try of a transaction, as many more for each further one: PostgreSQL may be
    slow, or have gone without a word."""
    retry: Backoff = Backoff(first=0.1)
    """Between tries of a transaction that was lost, or ended by the server."""
    recover: float = 5.0
    """For the database to come back to a run that is about to end."""
    read: float = 5.0
    """For what metrics and health ask between two runs."""
    prune: float = 600.0
    """For one transaction of a prune: a server that falls silent must not hold the daemon."""
    vacuum: float = 3600.0
    """For VACUUM after a prune, which reads whole tables."""
    migrate: float = 60.0
    """For another migrator to end."""
    lock: float = 5.0
    """For a lock that a transaction of another session holds; who hangs that long may be ended."""
    lock_waits: int = 6
    """How often that long for an account's row: together less than ``begin``."""
    poll: float = 0.1
    """Between two looks at who holds a lock."""
    answer: float = 5.0
    """For a session that may be dead to answer, or to be closed."""
    idle_transaction: float = 60.0
    """For a writer that is frozen in a transaction, before the server ends it with its locks."""

    def grace(self, run_timeout: float) -> float:
        """Return the seconds past a run's time in which what was read is still written.

        As many again to record its end, then a newcomer may take the run over.
        """
        return min(60.0, max(self.recover, run_timeout))


_TRACKED: Final = re.compile(r"\{(tracked|added)(?:: (.+?))?(?: from (\d+))?\}")

_REPLACED: Final = re.compile(r"\{replaced: (\w+)\}")
_REPLACEMENTS: Final = r"""(
           select jsonb_agg(jsonb_build_object('image_id', r.replacement_id, 'rule', r.rule)
                            order by r.candidate)
           from syncer.image_replacements as r
           where (r.account, r.service, r.zone_id, r.image_id)
               = (\1.account, \1.service, \1.zone_id, \1.image_id))"""


@cache
def sql(name: str) -> str:
    """Return the statement of ``sql/<name>.sql``.

    ``{tracked}`` in it stands for the tracked columns: no statement spells their list.
    ``{tracked: i.@}`` is that list with each name in the place of ``@``, ``{tracked: $# from 5}``
    with ``#`` counted from 5. ``{added}`` is the list of the later ones, which are columns of views
    only: tables keep them together. ``{replaced: i}`` is what replaces the image of row ``i``, as
    JSON that ``core.replacement.decoded`` reads.
    """
    text = files("syncer.store").joinpath("sql", f"{name}.sql").read_text()
    return _REPLACED.sub(_REPLACEMENTS, _TRACKED.sub(_tracked_columns, text))


def _tracked_columns(marker: re.Match[str]) -> str:
    names = TRACKED if marker[1] == "tracked" else ADDED
    pattern, first = marker[2] or "@", int(marker[3] or 0)
    return ", ".join(
        pattern.replace("@", name).replace("#", str(number))
        for number, name in enumerate(names, first)
    )


@contextlib.contextmanager
def named_errors(where: str, connection: Closable | None = None) -> Iterator[None]:
    """Turn what asyncpg and the network raise into the named errors of the database.

    What nobody foresaw is a StatementRefused. With a ``connection``, an OSError is the database's
    only where that was lost: what is done beside its statements (printing, files) may fail as well.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _named(error, where) from error
    except OSError as error:
        if connection is not None and not is_lost(connection):
            raise
        raise DatabaseGone(f"the database at {where} is not available: {words(error)}") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if connection is None or not is_lost(connection, error):
            raise  # our own mistake in using the driver
        raise DatabaseGone(f"the connection to {where} was lost") from error


def _said(error: asyncpg.PostgresError, advice: str = "") -> str:
    """Return the server's words and its SQLSTATE, and what to do about it."""
    return f"{words(error)} (SQLSTATE {error.sqlstate}){advice and '; ' + advice}"


def _named(error: asyncpg.PostgresError, where: str, advice: str = "") -> SyncerError:
    """Return the named error for one of the server's, with its words and its SQLSTATE."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        advice = advice or _RIGHTS
    said = _said(error, advice)
    if _STATEMENT_MODE in str(error):
        return ConfigError(f"{STATEMENTS}; the database at {where} refused: {said}")
    if isinstance(error, _OF_ANOTHER):
        said = f"{error.args[0]} (SQLSTATE {error.sqlstate})"  # without the driver's own hint
        return ConfigError(f"{SHARED}; the database at {where} refused: {redacted(said)}")
    if isinstance(error, _MISCONFIGURED):
        return ConfigError(f"the database at {where} refused: {said}")
    if isinstance(error, _GONE):
        return DatabaseGone(f"the database at {where} is not available: {said}")
    message = f"the database at {where} refused: {said}"
    if isinstance(error, _UNABLE):
        return ServerUnable(message)
    return TransactionFailed(message) if isinstance(error, _FAILED) else StatementRefused(message)


@contextlib.contextmanager
def _opening(server: Server) -> Iterator[None]:
    """Name what ends the opening of a connection: a server that is away, else the configuration.

    Whatever a server refuses before anything was asked of it, it refuses again.
    """
    where = server.where
    try:
        yield
    except asyncpg.PostgresError as error:
        advice = advice_on(error, server.address)
        named = _named(error, where, advice)
        pooler = isinstance(error, asyncpg.ProtocolViolationError)
        if isinstance(named, StatementRefused) or (pooler and not _POOLER_WAITS.search(str(error))):
            raise ConfigError(f"the database at {where} refused: {_said(error, advice)}") from error
        raise named from error
    except OSError as error:
        raise DatabaseGone(f"the database at {where} is not available: {words(error)}") from error


@contextlib.contextmanager
def in_time(where: str, seconds: float | None) -> Iterator[None]:
    """Raise DatabaseGone where it takes longer (None: no limit): a server can fall silent."""
    if seconds is None:  # a session may be closed by another task than opened it; a scope may not
        yield
        return
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise DatabaseGone(f"the database at {where} does not answer")


def is_lost(connection: Closable, error: BaseException | None = None) -> bool:
    """Return whether a connection is of no more use; ``error`` is what happened to it.

    Where the driver is out of step with the server, which said its last words while it was asked
    nothing, the connection is ended here: the end that the server gives it may not be seen yet.
    """
    try:
        if any(isinstance(each, asyncpg.InternalClientError) for each in _contexts(error)):
            connection.terminate()
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool took it back already
        return True


def _contexts(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those during whose handling it arose."""
    while error is not None:
        yield error
        error = error.__context__


@contextlib.asynccontextmanager
async def acquired(pool: asyncpg.Pool[Any], server: Server) -> AsyncIterator[Connection]:
    """Take a connection of the pool, with named errors. Raises ConfigError or DatabaseGone."""
    where, timing = server.where, server.timing
    with _opening(server):
        connection = await pool.acquire(timeout=server.opening)
    try:
        with named_errors(where, connection):
            yield connection
    except anyio.get_cancelled_exc_class():
        connection.terminate()  # given up: whatever it waits for, it must not be waited for
        raise
    finally:
        if not is_lost(connection) and connection.is_in_transaction():
            connection.terminate()  # even its rollback failed: nobody may go on with it
        # Shielded: a release that is cancelled goes on by itself, and fails unseen when the pool
        # is ended under it.
        with named_errors(where, connection), anyio.CancelScope(shield=True):
            await pool.release(connection, timeout=timing.close)


class Closable(Protocol):
    """A connection, pooled or not."""

    def is_closed(self) -> bool:
        """Return whether the connection is of no more use."""
        ...

    def terminate(self) -> None:
        """End the connection without waiting for the server."""
        ...


class Server:
    """Where PostgreSQL is, how to connect, and how long to wait for it.

    ``place`` may be a URL that says everything. ``where`` is safe to show; ``url`` may hold a
    password, and is None where there is none.
    ``revive`` starts a server of ours again if it is gone; it returns its URL.
    """

    def __init__(
        self,
        place: Address | str,
        *,
        url: str | None = None,
        revive: Callable[[], Awaitable[str]] | None = None,
        timing: Timing = Timing(),  # noqa: B008  (frozen)
    ) -> None:
        self.timing = timing
        self._revive = revive
        self._settle(place, url)

    def _settle(self, place: Address | str, url: str | None = None) -> None:
        self.address = of_url(place) if isinstance(place, str) else place
        self.url = place if isinstance(place, str) else url
        self.where = self.address.where

    @property
    def opening(self) -> float:
        """Seconds in which a connection is open, or no host can be reached."""
        return longest(self.address, self.timing.connect)

    async def revive(self) -> None:
        """Start the server again if it is gone, where it is ours to start. Raises DatabaseGone."""
        if self._revive is not None:
            self._settle(await self._revive())

    async def connect(self, *, name: str = "syncer") -> asyncpg.Connection[Any]:
        """Open a connection in which all is set that we lean on. Raises ConfigError, DatabaseGone.

        Whether a pooler keeps it for us is not asked: see ``session``, and ``fitness``.
        """
        connection = await self._open()
        try:
            with _opening(self):
                await self._pin(connection, name)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _open(self, **how: Any) -> asyncpg.Connection[Any]:  # noqa: ANN401  (asyncpg's)
        with _opening(self):
            connection = await self._dial(**how)
        major = connection.get_server_version().major
        if major < OLDEST_SERVER:
            await connection.close()
            raise ServerTooOld(
                f"PostgreSQL {major} at {self.where} is too old: syncer needs {OLDEST_SERVER}"
            )
        return connection

    async def _dial(self, **how: Any) -> asyncpg.Connection[Any]:  # noqa: ANN401  (asyncpg's)
        return await dial(self.address, within=self.timing.connect, **how)

    async def _pin(self, connection: Connection, name: str) -> None:
        """Set what we lean on for the rest of the session, in one round trip."""
        idle = f"{self.timing.idle_transaction * 1000:.0f}"
        pinned = PINNED | {
            "idle_in_transaction_session_timeout": idle,
            "application_name": name[:63],
            **_KEEPALIVES,
        }
        await connection.execute(pins(pinned, connection), timeout=self.timing.connect)

    @contextlib.asynccontextmanager
    async def session(
        self, *, name: str = "syncer", within: float | None = None
    ) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Open a session of our own and close it at the end; errors of the database get names.

        ``within`` is the seconds for all that is done with it (None: no limit). Raises ConfigError
        (also where a pooler hands sessions on) or DatabaseError.
        """
        async with self._closed(self.connect(name=name), within) as connection:
            if await self.is_shared(connection):
                raise ConfigError(SHARED)
            yield connection

    @contextlib.asynccontextmanager
    async def reading(
        self, *, name: str = "syncer", within: float | None = None
    ) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Open a connection for ``reading_transaction``, through whatever pooler, and close it.

        ``within`` as for ``session``. Raises ConfigError or DatabaseError.
        """
        settings = {"application_name": name[:63]}  # which every pooler takes
        opening = self._open(statement_cache_size=0, server_settings=settings)
        async with self._closed(opening, within) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _closed(
        self, opening: Awaitable[asyncpg.Connection[Any]], within: float | None
    ) -> AsyncIterator[asyncpg.Connection[Any]]:
        with in_time(self.where, within):
            connection = await opening
            try:
                with named_errors(self.where, connection):
                    yield connection
            except DatabaseGone:
                connection.terminate()  # the other side is gone
                raise
            finally:
                # Where that fails it is closed as well.
                with contextlib.suppress(*_GONE, OSError, asyncpg.InterfaceError):
                    await connection.close(timeout=self.timing.close)

    @contextlib.asynccontextmanager
    async def pool(self, *, size: int, name: str) -> AsyncIterator[asyncpg.Pool[Any]]:
        """Open a pool of at most ``size`` connections as of ``connect``; close it at the end."""

        async def pin(connection: Connection) -> None:
            await self._pin(connection, name)

        async def connect(*_url: Any, **how: Any) -> Any:  # noqa: ANN401  (asyncpg's)
            return await self._dial(**how)

        with _opening(self):
            pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
                min_size=0,
                max_size=size,
                connect=connect,
                # A transaction of ours leaves nothing behind; a reset costs one more round trip.
                reset=_leave_as_it_is,
                init=pin,
            )
        try:
            yield pool
        finally:
            pool.terminate()

    async def is_shared(self, connection: Connection, pid: int | None = None) -> bool:
        """Return whether a pooler hands our sessions on to others from transaction to transaction.

        ``pid`` is the process that answers, where it was asked for already. A server that is
        reached directly names that process when it lets us in; a pooler has a name of its own, and
        is tried. Raises asyncpg's errors.
        """
        if pid is None:
            pid = await connection.fetchval(sql("session/pid"))
        return pid != connection.get_server_pid() and await self._hands_on()

    async def _hands_on(self) -> bool:
        """Try whether one session leads to what another has set, or another process answers it.

        One sets a variable, and is idle; another looks for it in a transaction, which it keeps open
        while the first is asked again, and once more in a second transaction.
        """
        mark = secrets.token_hex(8)
        with in_time(self.where, self.timing.connect):
            async with self.reading() as first, self.reading() as second:
                async with first.transaction():
                    process = await first.fetchval(sql("session/mark"), mark)
                async with second.transaction():
                    other, seen = await _seen(second)
                    if seen == mark:
                        return True
                    async with first.transaction():
                        if (process, mark) != await _seen(first):
                            return True
                async with second.transaction():
                    later, seen = await _seen(second)
        return seen == mark or later != other


async def _seen(connection: Connection) -> tuple[int, str | None]:
    """Return the process that answers, and what is set in its session."""
    row = await connection.fetchrow(sql("session/seen"))
    assert row is not None  # noqa: S101  (it selects from nothing)
    return row["pid"], row["mark"]


@contextlib.asynccontextmanager
async def reading_transaction(
    connection: asyncpg.Connection[Any], *, statement: float = 0.0
) -> AsyncIterator[None]:
    """Read in one snapshot, on a connection of ``Server.reading``.

    A ``statement`` may take that many seconds (0: any time). Raises asyncpg's errors.
    """
    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    try:
        limit = {"statement_timeout": f"{statement * 1000:.0f}"}
        await connection.execute(pins(PINNED | limit, connection, local=True))
        yield
    except anyio.get_cancelled_exc_class():
        connection.terminate()  # given up: whatever it waits for, it must not be waited for
        raise
    finally:
        if not connection.is_closed():
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await transaction.rollback()


PINNED: Final[dict[str, str]] = {
    # What follows the wait for a lock must see what was committed meanwhile.
    "default_transaction_isolation": "read committed",
    "search_path": "",  # every name in a statement is qualified
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    # How long we wait is ours to decide, at the side that can say so: see Timing.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",  # who reads may read a page for a while
}
"""What our statements lean on, and how it is set, whoever set it otherwise."""
_SINCE: Final[dict[str, tuple[int, str]]] = {"transaction_timeout": (17, "0")}
"""Likewise, from a major version of PostgreSQL on."""


_KEEPALIVES: Final = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""A machine that is gone without a word keeps its run lock for a minute, not for two hours."""


def pins(values: Mapping[str, str], connection: Connection, *, local: bool = False) -> str:
    """Return the statements that set values, for the session or (``local``) for a transaction."""
    major = connection.get_server_version().major
    later = {name: value for name, (since, value) in _SINCE.items() if major >= since}
    scope = "local" if local else "session"
    return "; ".join(
        f"set {scope} {name} = {_quoted(value)}" for name, value in {**values, **later}.items()
    )


async def limit_lock_waits(connection: Connection, timing: Timing) -> None:
    """Let no statement of the transaction wait for a lock longer than ``Timing.lock``."""
    await connection.execute(sql("run/lock_timeout"), f"{timing.lock * 1000:.0f}")


def _quoted(value: str) -> str:
    # E'': whatever standard_conforming_strings was until then.
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


async def _leave_as_it_is(_connection: object) -> None:
    """Do nothing."""
