"""Opening a connection: which host is tried, how, and what it means where that fails.

Hosts are tried as libpq tries them: the next one where one cannot be reached or is not ready, none
where one refuses us. The driver is given every parameter, so that it reads no variable and no file.
"""

from __future__ import annotations

import errno
import re
import secrets
import shlex
import socket
import ssl
import stat
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import msgspec

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.core.libpq import Address, Host, find_password
from syncer.secrets import redacted, remember
from syncer.store import tls

_PLAIN_WILL_DO: Final = frozenset({"disable", "allow", "prefer"})
"""The modes in which a connection need not be encrypted."""
_CANNOT: Final = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
)
"""What the driver raises where the other side does not speak as a server does."""
_NO_ROUTE: Final = frozenset(
    {
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINVAL,
        errno.ENETUNREACH,
    }
)
_CLOSED: Final = (
    "it took the connection, and closed it without a word: is it PostgreSQL, or a proxy before one "
    "that is away? Its log may say more"
)
_NO_POSTGRES: Final = "what answers there is not PostgreSQL: correct host and port"
_NO_TLS: Final = (
    "it does not offer TLS, which sslmode {mode} demands: switch ssl on there, or use sslmode "
    "prefer where the way to it is safe; or it is not PostgreSQL"
)
_LOG_IN: Final = "let this role log in by scram-sha-256 (pg_hba.conf there)"
_LONGEST_SOCKET: Final = 107
"""Bytes of a socket's path that the system takes."""
_ARRAYS: Final = [
    {
        "oid": oid,
        "ns": "pg_catalog",
        "name": f"_{name}",
        "kind": b"b",
        "basetype": None,
        "elemtype": element,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
        "attrnames": None,
    }
    for name, element, oid in (
        ("bool", 16, 1000),
        ("bytea", 17, 1001),
        ("int4", 23, 1007),
        ("int8", 20, 1016),
        ("float8", 701, 1022),
        ("timestamptz", 1184, 1185),
    )
]
"""What the driver would ask each session for, of arrays that our statements take and return.

Of PostgreSQL's own arrays it knows ``text[]`` only. The question costs the server 20 ms in each
new session, more than a usual zone does; the answer is the same everywhere (pg_type.dat).
"""
_REFUSED: Final = "nothing listens there: is the server running, and are host and port right?"


def longest(address: Address, within: float) -> float:
    """Return the seconds within which an address is reached, or known not to be."""
    rounds = 2 if address.sessions == "prefer-standby" else 1
    return rounds * len(address.hosts) * (address.connect_timeout or within)


async def dial(address: Address, *, within: float, **how: Any) -> asyncpg.Connection[Any]:  # noqa: ANN401
    """Open a connection to the first host that will do; ``within`` is the seconds for each.

    ``how`` is what ``asyncpg.connect`` takes beside. Raises ConfigError, DatabaseGone, or the
    server's refusal (asyncpg.PostgresError).
    """
    hosts = list(address.hosts)
    if address.shuffled:
        secrets.SystemRandom().shuffle(hosts)
    standby_first = address.sessions == "prefer-standby"
    failures: dict[str, Exception] = {}
    for sessions in ("standby", "any") if standby_first else (address.sessions,):
        for host in hosts:
            try:
                return await _dial_host(address, host, sessions, within, how)
            except (_Unreached, asyncpg.CannotConnectNowError) as error:
                failures[host.shown] = error
    first = next(iter(failures.values()))
    if len(failures) == 1 and isinstance(first, asyncpg.PostgresError):
        raise first
    found = "; ".join(f"{host}: {words(error)}" for host, error in failures.items())
    if len(failures) == 1 and not address.hosts[0].is_socket:
        found = words(first)  # where it is says ``where`` already
    raise DatabaseGone(f"the database at {address.where} is not available: {found}") from first


class _Unreached(Exception):
    """A host was not reached; the next one may be."""


async def _dial_host(
    address: Address, host: Host, sessions: str, within: float, how: dict[str, Any]
) -> asyncpg.Connection[Any]:
    settings = {**how.get("server_settings", {})}
    if address.options:
        settings["options"] = address.options
    seconds = address.connect_timeout or within
    arguments = how | {
        "host": [host.address or host.name],
        "port": [host.port],
        "user": address.user,
        "database": address.database,
        "password": address.password or _filed(address, host),
        "target_session_attrs": sessions,
        "krbsrvname": address.krbsrvname,
        "gsslib": "gssapi",
        "timeout": seconds,
        "server_settings": settings,
        **_encryption(address, host),
    }
    try:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(**arguments)
    except asyncpg.TargetServerAttributeNotMatched:
        raise _Unreached(f"it is not {sessions}, as target_session_attrs demands") from None
    except asyncpg.ConnectionDoesNotExistError as error:
        raise _Unreached(_closed(address, host)) from error
    except TimeoutError as error:
        raise _Unreached(f"it does not answer within {seconds:g} s") from error
    except OSError as error:
        raise _of_the_network(error, address, host) from error
    except UnicodeError as error:
        raise ConfigError(f"the database cannot be at {host.name}: that is no name") from error
    except _CANNOT as error:
        raise ConfigError(_of_the_driver(error, host)) from error
    # asyncpg has no public way: it learns them by asking, each session anew.
    connection._protocol.get_settings().register_data_types(_ARRAYS)  # type: ignore[attr-defined]  # noqa: SLF001
    return connection


def _encryption(address: Address, host: Host) -> dict[str, Any]:
    """Return what the driver is given to encrypt a connection. Raises ConfigError."""
    wanted = address.tls
    if host.is_socket or wanted.mode == "disable":
        return {"ssl": False, "direct_tls": False}
    context = tls.context(wanted, host)
    if wanted.mode not in _PLAIN_WILL_DO:
        return {"ssl": context, "direct_tls": wanted.direct}
    # Only by a URL the driver takes certificates where plain is tried as well; nobody is verified.
    files = tls.Files(wanted)
    parameters = {
        "sslmode": wanted.mode,
        "sslcert": files.cert,
        "sslkey": files.key,
        "sslpassword": wanted.key_password,
        "ssl_min_protocol_version": wanted.min_version,
        "ssl_max_protocol_version": wanted.max_version,
    }
    given = {name: value for name, value in parameters.items() if value}
    return {"dsn": f"postgresql://?{urlencode(given)}", "direct_tls": False}


def _of_the_driver(error: BaseException, host: Host) -> str:
    """Return what it means that the driver does not understand the other side."""
    said, wrong = words(error), f"the database at {host.shown} cannot be used: "
    if "gssapi" in said:
        return f"{wrong}it asks for a login by GSSAPI: install asyncpg[gssauth], or {_LOG_IN}"
    if "authentication method" in said:
        return f"{wrong}{said}: {_LOG_IN}"
    if "authentication" in said:
        return f"{wrong}it does not log us in as PostgreSQL does: correct host and port"
    return f"{wrong}{said}; is it PostgreSQL? Else correct host and port"


def _closed(address: Address, host: Host) -> str:
    if host.is_socket or address.tls.mode == "disable":
        return _CLOSED
    if address.tls.direct:
        return f"{_CLOSED}; sslnegotiation=direct needs PostgreSQL 17 or newer"
    if tls.Files(address.tls).cert:
        return f"{_CLOSED}; or it does not accept our certificate (sslcert)"
    return _CLOSED


def _of_the_network(error: OSError, address: Address, host: Host) -> Exception:
    """Return what it means that a host cannot be reached: a ConfigError, or that it is away."""
    mode = address.tls.mode
    wrong = f"the database at {host.shown} cannot be used: "
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(wrong + tls.fault_of_server(error, host))
    if isinstance(error, ssl.SSLError):
        return ConfigError(wrong + tls.fault_of_handshake(error))
    if "rejected SSL upgrade" in str(error):
        no_tls = _NO_TLS.format(mode=mode)
        return ConfigError(wrong + (_NO_POSTGRES if mode in _PLAIN_WILL_DO else no_tls))
    if "error response during SSL exchange" in str(error):
        return _Unreached("it refused before anything was encrypted: its log says why")
    if host.is_socket and isinstance(error, PermissionError):
        return ConfigError(f"{wrong}this user may not connect to it: as another user, or by TCP")
    if host.is_socket and len(f"{host.name}/.s.PGSQL.{host.port}".encode()) > _LONGEST_SOCKET:
        return ConfigError(f"{wrong}its path is longer than {_LONGEST_SOCKET} bytes")
    return _Unreached(_why_away(error, address, host))


def _why_away(error: OSError, address: Address, host: Host) -> str:
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return f"the name {host.name} cannot be looked up now: {error.strerror}"
        return f"there is no host {host.name}: is the name right? ({error.strerror})"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such socket: is the server running, and does it listen there?"
    # Where a name has several addresses, asyncio puts all errors into one text.
    numbers = {error.errno} if error.errno else set(map(int, _NUMBER.findall(str(error))))
    if numbers == {errno.ECONNREFUSED}:
        return _REFUSED
    if numbers and numbers <= _NO_ROUTE:
        return "no way leads there: is the address right, and the network up?"
    closed = isinstance(error, ConnectionError) and numbers <= {errno.ECONNRESET, errno.EPIPE}
    return _closed(address, host) if closed else words(error)


_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


def words(error: BaseException) -> str:
    """Return what an error says, in one line and without secrets."""
    return " ".join(redacted(str(error)).split()) or type(error).__name__


def _filed(address: Address, host: Host) -> str:
    """Return the password that the password file has for a host, or nothing."""
    if address.passfile is None or fault_of_passfile(address) is not None:
        return ""
    try:
        text = Path(address.passfile).read_text(errors="surrogateescape")
    except OSError:
        return ""
    found = find_password(text, host, database=address.database, user=address.user) or ""
    remember(found)
    return found


def fault_of_passfile(address: Address) -> str | None:
    """Return why the password file is not used although it is there, or None."""
    path = address.passfile
    try:
        if path is None or not (mode := Path(path).stat().st_mode):
            return None
        if not stat.S_ISREG(mode):
            return f"{path} is no plain file"
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            return f"others may read {path}: chmod 600 {shlex.quote(path)}"
        with Path(path).open("rb"):
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"


class _Advice(msgspec.Struct, frozen=True):
    """What to do about words of the server (``said``: a pattern) with a SQLSTATE."""

    sqlstate: str
    said: str
    advice: str


_ADVICE: Final = (
    _Advice("28000", "no encryption", "let it in by a line of pg_hba.conf, or use sslmode=require"),
    _Advice("28000", "pg_hba.conf rejects|no pg_hba.conf", "let it in by a line of pg_hba.conf"),
    _Advice(
        "28000", "Peer|Ident", "name the role of this user (PGUSER), or map it in pg_ident.conf"
    ),
    _Advice("28000", "certificate", "give the role's own certificate and key: sslcert, sslkey"),
    _Advice("28000", "does not exist", "create it: create role ... login; or name another user"),
    _Advice("28000", "not permitted to log in", "alter role ... login, or name another user"),
    _Advice("3D000", "", "create it: create database ... encoding 'UTF8'; or name another"),
    _Advice("42501", "database", "as its owner: grant connect on database ... to this role"),
    _Advice("55000", "not currently accepting", "alter database ... allow_connections true"),
    _Advice("53300", "for role", "alter role ... connection limit, or let others use fewer"),
    _Advice(
        "53300", "for database", "alter database ... connection limit, or let others use fewer"
    ),
    _Advice(
        "53300",
        "",
        "raise max_connections, or let others use fewer: pg_stat_activity shows whose they are",
    ),
    _Advice("57P03", "starting up|recovery", "it is not ready yet: try again"),
    _Advice("57P03", "shutting down", "try again when it is back"),
    _Advice("42704", "", "correct options (PGOPTIONS)"),
    _Advice("22023", "", "correct options (PGOPTIONS)"),
    _Advice("08P01", "parameter", "leave options (PGOPTIONS) out, which a pooler refuses"),
)


def advice_on(error: asyncpg.PostgresError, address: Address) -> str:
    """Return what to do about a server's refusal to let us in; nothing where its words say it."""
    if isinstance(error, asyncpg.InvalidPasswordError):
        if fault := None if address.password else fault_of_passfile(address):
            return f"the password file is not used: {fault}"
        if address.password or any(_filed(address, host) for host in address.hosts):
            return "correct the password: in the URL, PGPASSWORD or the password file"
        filed = f", or a line in {address.passfile}" if address.passfile else ""
        return f"no password is given: in the URL, PGPASSWORD{filed}"
    for one in _ADVICE:
        if one.sqlstate == error.sqlstate and re.search(one.said, str(error)):
            return one.advice
    return ""
