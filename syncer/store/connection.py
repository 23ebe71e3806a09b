"""PostgreSQL: connections, the installed schema, statements from ``sql/``, named errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import anyio
import asyncpg

from syncer.core.errors import ConfigError, DatabaseGone, ServerTooOld, TransactionFailed
from syncer.secrets import redacted

OLDEST_SERVER: Final = 15
CONNECT_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 5.0
if TYPE_CHECKING:  # generic in the stubs only
    Connection = asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]
else:
    Connection = asyncpg.Connection
_UPGRADE: Final = "run: syncer db upgrade"

_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    OSError,
    TimeoutError,
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


@cache
def sql(name: str) -> str:
    """Return the statement of ``sql/<name>.sql``."""
    return files("syncer.store").joinpath("sql", f"{name}.sql").read_text()


def migrations_root() -> Path:
    """Return the folder of the migrations: inside the wheel, or beside the source tree."""
    shipped = Path(str(files("syncer"))) / "_migrations"
    return shipped if shipped.is_dir() else Path(__file__).resolve().parents[2] / "migrations"


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this program knows, oldest first (their files are numbered)."""
    versions = (migrations_root() / "versions").glob("[0-9]*.py")
    return tuple(sorted(path.name.split("_")[0] for path in versions))


@contextlib.contextmanager
def named_errors(where: str, connection: Closable | None = None) -> Iterator[None]:
    """Turn what asyncpg and the network raise into the named errors of the database."""
    try:
        yield
    except _MISCONFIGURED as error:
        raise ConfigError(f"the database at {where} refused: {_line(error)}") from error
    except _GONE as error:
        raise DatabaseGone(f"the database at {where} is not available: {_line(error)}") from error
    except _FAILED as error:
        raise TransactionFailed(f"the database at {where} refused: {_line(error)}") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if connection is None or not is_lost(connection):
            raise  # our own mistake in using the driver
        raise DatabaseGone(f"the connection to {where} was lost") from error


@contextlib.contextmanager
def in_time(where: str, seconds: float) -> Iterator[None]:
    """Raise DatabaseGone where it takes longer: a server, or the way to it, can go unheard."""
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
async def acquired(pool: asyncpg.Pool[Any], where: str) -> AsyncIterator[Connection]:
    """Take a connection of the pool, with named errors. Raises ConfigError or DatabaseGone."""
    with named_errors(where):
        connection = await pool.acquire(timeout=CONNECT_TIMEOUT)
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
            await pool.release(connection, timeout=CLOSE_TIMEOUT)


class Closable(Protocol):
    """A connection, pooled or not."""

    def is_closed(self) -> bool:
        """Return whether the connection is of no more use."""
        ...


def _line(error: BaseException) -> str:
    return " ".join(redacted(str(error)).split()) or type(error).__name__


class Server:
    """Where PostgreSQL is and how to connect.

    ``where`` is safe to show; ``url`` (None: libpq's PG* variables) may hold a password.
    ``revive`` starts a server of ours again if it is gone; it returns its URL.
    """

    def __init__(
        self, url: str | None, *, revive: Callable[[], Awaitable[str]] | None = None
    ) -> None:
        self.url = url
        self.where = _where(url)
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
                    self.url, timeout=CONNECT_TIMEOUT, server_settings=_session(name)
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
    async def session(self, *, name: str = "syncer") -> AsyncIterator[asyncpg.Connection[Any]]:
        """Open a connection and close it at the end. Raises ConfigError or DatabaseGone."""
        connection = await self.connect(name=name)
        try:
            yield connection
        except DatabaseGone:
            connection.terminate()  # nobody is there to take leave of
            raise
        finally:
            with contextlib.suppress(*_GONE, asyncpg.InterfaceError):  # then it is closed as well
                await connection.close(timeout=CLOSE_TIMEOUT)

    @contextlib.asynccontextmanager
    async def pool(self, *, size: int, name: str) -> AsyncIterator[asyncpg.Pool[Any]]:
        """Open a pool of at most ``size`` connections and close it at the end."""
        with named_errors(self.where):
            pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
                self.url,
                min_size=0,
                max_size=size,
                timeout=CONNECT_TIMEOUT,
                # A transaction of ours leaves nothing behind; to make sure costs one more question.
                reset=_leave_as_it_is,
                # A writer that is frozen in a transaction must not hold its locks for ever.
                server_settings=_session(name) | {"idle_in_transaction_session_timeout": "60s"},
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


async def installed_revision(connection: Connection) -> str | None:
    """Return the revision of the installed schema, or None where there is none."""
    try:
        revision: str | None = await connection.fetchval(sql("schema/version"))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    return revision


async def check_schema(connection: Connection, where: str) -> None:
    """Raise ConfigError unless the installed schema is the one this program was made for.

    Also where the role may not see it; DatabaseGone where the database is.
    """
    with named_errors(where, connection):
        installed = await installed_revision(connection)
    known = revisions()
    if installed == known[-1]:
        return
    if installed is None:
        raise ConfigError(f"the database at {where} was never migrated; {_UPGRADE}")
    if installed in known:
        raise ConfigError(
            f"the schema of the database at {where} is {installed}, this program needs "
            f"{known[-1]}; {_UPGRADE}"
        )
    raise ConfigError(
        f"the schema of the database at {where} is {installed}, newer than this program, which "
        f"knows {known[-1]}: install a newer syncer"
    )
