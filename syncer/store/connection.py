"""PostgreSQL: connections, statements from ``sql/``, named errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import anyio
import asyncpg
import msgspec

from syncer.core.errors import (
    ConfigError,
    DatabaseGone,
    ServerTooOld,
    StatementRefused,
    TransactionFailed,
)
from syncer.core.model import TRACKED
from syncer.core.postgres import OLDEST_SERVER
from syncer.secrets import redacted

if TYPE_CHECKING:  # generic in the stubs only
    Connection = asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]
else:
    Connection = asyncpg.Connection

_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
)
_FAILED = (  # as far as it is none of those above
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)
_MISCONFIGURED = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
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


_TRACKED: Final = re.compile(r"\{tracked(?:: (.+?))?(?: from (\d+))?\}")


@cache
def sql(name: str) -> str:
    """Return the statement of ``sql/<name>.sql``.

    ``{tracked}`` in it stands for the tracked columns: no statement spells their list.
    ``{tracked: i.@}`` is that list with each name in the place of ``@``, ``{tracked: $# from 5}``
    with ``#`` counted from 5.
    """
    text = files("syncer.store").joinpath("sql", f"{name}.sql").read_text()
    return _TRACKED.sub(_tracked_columns, text)


def _tracked_columns(marker: re.Match[str]) -> str:
    pattern, first = marker[1] or "@", int(marker[2] or 0)
    return ", ".join(
        pattern.replace("@", name).replace("#", str(number))
        for number, name in enumerate(TRACKED, first)
    )


@contextlib.contextmanager
def named_errors(where: str, connection: Closable | None = None) -> Iterator[None]:
    """Turn what asyncpg and the network raise into the named errors of the database.

    With a ``connection``, an OSError is the database's only where that was lost: what is done
    beside its statements (printing, files) may fail as well.
    """
    try:
        yield
    except _MISCONFIGURED as error:
        raise ConfigError(f"the database at {where} refused: {_line(error)}") from error
    except OSError as error:
        if connection is not None and not is_lost(connection):
            raise
        raise DatabaseGone(f"the database at {where} is not available: {_line(error)}") from error
    except _GONE as error:
        raise DatabaseGone(f"the database at {where} is not available: {_line(error)}") from error
    except _FAILED as error:
        raise TransactionFailed(f"the database at {where} refused: {_line(error)}") from error
    except asyncpg.PostgresError as error:  # what nobody foresaw
        raise StatementRefused(
            f"the database at {where} refused: {_line(error)} (SQLSTATE {error.sqlstate})"
        ) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if connection is None or not is_lost(connection):
            raise  # our own mistake in using the driver
        raise DatabaseGone(f"the connection to {where} was lost") from error


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


def is_lost(connection: Closable) -> bool:
    """Return whether a connection is of no more use."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool took it back already
        return True


@contextlib.asynccontextmanager
async def acquired(pool: asyncpg.Pool[Any], server: Server) -> AsyncIterator[Connection]:
    """Take a connection of the pool, with named errors. Raises ConfigError or DatabaseGone."""
    where, timing = server.where, server.timing
    with named_errors(where):
        connection = await pool.acquire(timeout=timing.connect)
    try:
        with named_errors(where, connection):
            yield connection
    except anyio.get_cancelled_exc_class():
        connection.terminate()  # given up: whatever it waits for, it must not be waited for
        raise
    finally:
        # Shielded: a release that is cancelled goes on by itself, and fails unseen when the pool
        # is ended under it.
        with named_errors(where, connection), anyio.CancelScope(shield=True):
            await pool.release(connection, timeout=timing.close)


class Closable(Protocol):
    """A connection, pooled or not."""

    def is_closed(self) -> bool:
        """Return whether the connection is of no more use."""
        ...


def _line(error: BaseException) -> str:
    return " ".join(redacted(str(error)).split()) or type(error).__name__


class Server:
    """Where PostgreSQL is, how to connect, and how long to wait for it.

    ``where`` is safe to show; ``url`` (None: libpq's PG* variables) may hold a password.
    ``revive`` starts a server of ours again if it is gone; it returns its URL.
    """

    def __init__(
        self,
        url: str | None,
        *,
        revive: Callable[[], Awaitable[str]] | None = None,
        timing: Timing = Timing(),  # noqa: B008  (frozen)
    ) -> None:
        self.url = url
        self.where = _where(url)
        self.timing = timing
        self._revive = revive

    async def revive(self) -> None:
        """Start the server again if it is gone, where it is ours to start. Raises DatabaseGone."""
        if self._revive is not None:
            self.url = await self._revive()

    async def connect(self, *, name: str = "syncer") -> asyncpg.Connection[Any]:
        """Open a connection. Raises ConfigError or DatabaseGone."""
        with named_errors(self.where):
            try:
                connection: asyncpg.Connection[Any] = await asyncpg.connect(
                    self.url, timeout=self.timing.connect, server_settings=_session(name)
                )
            except ValueError as error:  # the URL's parts, which asyncpg reads itself
                raise ConfigError(f"the database URL is not usable: {_line(error)}") from error
        major = connection.get_server_version().major
        if major < OLDEST_SERVER:
            await connection.close()
            raise ServerTooOld(
                f"PostgreSQL {major} at {self.where} is too old: syncer needs {OLDEST_SERVER}"
            )
        return connection

    @contextlib.asynccontextmanager
    async def session(
        self, *, name: str = "syncer", within: float | None = None
    ) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Open a connection and close it at the end; errors of the database get their names.

        ``within`` is the seconds for all that is done with it (None: no limit). Raises
        ConfigError or DatabaseError.
        """
        with in_time(self.where, within):
            connection = await self.connect(name=name)
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
        """Open a pool of at most ``size`` connections and close it at the end."""
        idle = f"{self.timing.idle_transaction * 1000:.0f}"
        with named_errors(self.where):
            pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
                self.url,
                min_size=0,
                max_size=size,
                timeout=self.timing.connect,
                # A transaction of ours leaves nothing behind; a reset costs one more round trip.
                reset=_leave_as_it_is,
                server_settings=_session(name) | {"idle_in_transaction_session_timeout": idle},
            )
        try:
            yield pool
        finally:
            pool.terminate()


async def _leave_as_it_is(_connection: object) -> None:
    """Do nothing."""


def _session(name: str) -> dict[str, str]:
    return {"application_name": name[:63], "timezone": "UTC", "idle_session_timeout": "0"}


def _where(url: str | None) -> str:
    if url is None:
        return "the address in the PG* variables"
    parts = urlsplit(url)
    host = parts.hostname or "the local socket"
    return f"{host}:{parts.port}" if parts.port else host
