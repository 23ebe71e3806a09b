"""Where PostgreSQL is and how it is reached, in the words of libpq, PostgreSQL's own client.

libpq has some fifty parameters. They are given in a URL, in a service file and in ``PG*``
variables, in this order: what a URL says goes before a service, that before the environment, that
before a default (libpq-connect, libpq-pgservice and libpq-envars in PostgreSQL's manual). They are
read here as libpq reads them, so that who can connect with ``psql`` gets to the same place. The
driver (asyncpg) is given the result and reads nothing by itself.

Three things differ, on purpose:

- A parameter that demands what the driver cannot do (``require_auth``) is an error; one that
  changes nothing here (``keepalives``, ``application_name``) is ignored.
- A file that is named and missing is an error; libpq goes on without a certificate or a
  revocation list that it does not find.
- An empty variable counts as unset, as everywhere in this program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from syncer.core.nearest import nearest

VARIABLES: Final[Mapping[str, str]] = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGOPTIONS": "options",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGLOADBALANCEHOSTS": "load_balance_hosts",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGKRBSRVNAME": "krbsrvname",
    "PGREQUIREAUTH": "require_auth",
    "PGREQUIREPEER": "requirepeer",
    "PGSSLCERTMODE": "sslcertmode",
    "PGGSSENCMODE": "gssencmode",
}
"""The variables that are read, and the parameter that each is. The last four only forbid."""
OTHERS: Final = ("PGSERVICEFILE", "PGSYSCONFDIR", "PGREQUIRESSL")
"""Further variables that are read."""
UNREAD: Final = (
    "PGAPPNAME",
    "PGCHANNELBINDING",
    "PGCLIENTENCODING",
    "PGDATESTYLE",
    "PGGEQO",
    "PGGSSDELEGATION",
    "PGGSSLIB",
    "PGLOCALEDIR",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGREALM",
    "PGSSLCOMPRESSION",
    "PGSSLSNI",
    "PGTZ",
)
"""Variables of libpq that mean nothing here."""
_IGNORED: Final = frozenset(
    {
        "application_name",  # sessions say which run they are of
        "channel_binding",  # the driver has none; hosted databases hand out URLs that ask for it
        "client_encoding",
        "fallback_application_name",
        "gssdelegation",
        "gsslib",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "max_protocol_version",
        "min_protocol_version",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "gssencmode": ("prefer", "disable"),  # what is there is not encrypted by GSSAPI
    "sslcertmode": ("allow",),
}
"""Parameters with values that cannot be had; these can."""
_IMPOSSIBLE: Final = frozenset(
    {
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_issuer",
        "oauth_scope",
        "replication",
        "require_auth",
        "requirepeer",
        "scram_client_key",
        "scram_server_key",
        "sslkeylogfile",
    }
)
_TAKEN: Final = frozenset({*VARIABLES.values(), "sslpassword"}) - _IMPOSSIBLE
_KNOWN: Final = _TAKEN | _IGNORED | _IMPOSSIBLE | set(_ONLY)
SECRET: Final = ("password", "sslpassword")
"""The parameters that are never shown."""
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": (
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ),
    "load_balance_hosts": ("disable", "random"),
}
_TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
SYSTEM: Final = "system"
"""As ``sslrootcert``: the authorities that the system trusts."""
DEFAULT_SOCKETS: Final = ("/var/run/postgresql", "/tmp")  # noqa: S108  (libpq's)
"""The folders in which a server's socket is looked for; libpq was built with one of them."""
DEFAULT_PORT: Final = 5432
_LAST_PORT: Final = 65535
NO_URL: Final = (
    "is not a PostgreSQL URL: write postgresql://user:password@host:5432/name, with characters "
    "such as / @ % in the password percent-encoded"
)
"""Quotes nothing: what is broken may be the password."""


class BadParameter(ValueError):
    """A parameter cannot be used; ``place`` says where it was given (empty: nowhere)."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """What is given for a parameter, and where."""

    value: str
    place: str


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A server's place: a name or the folder of its socket, an address that stands in for DNS."""

    name: str
    address: str
    port: int

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket of this machine."""
        return not self.address and self.name.startswith("/")

    @property
    def shown(self) -> str:
        """How it is called in messages."""
        if self.is_socket:
            return f"the socket {self.name}/.s.PGSQL.{self.port}"
        name = self.name or self.address
        return f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the connection is encrypted, and who the server is; files are read when it is opened.

    ``folder`` has the files that count where none is named (None: there is no such folder).
    """

    mode: str
    direct: bool
    root_cert: str
    cert: str
    key: str
    key_password: str
    crl: str
    crl_dir: str
    min_version: str
    max_version: str
    folder: str | None


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where PostgreSQL is, as who, and how it is reached.

    ``hosts`` are tried one after the other (``shuffled``: in any order) until one is of the kind
    that ``sessions`` asks for. ``connect_timeout`` is in seconds, for each of them (None: ours).
    ``passfile`` is looked into where there is no ``password`` (None: nowhere).
    """

    hosts: tuple[Host, ...]
    shuffled: bool
    sessions: str
    user: str
    database: str
    password: str
    passfile: str | None
    options: str
    connect_timeout: float | None
    krbsrvname: str
    tls: Tls

    def __repr__(self) -> str:
        return f"Address({self.where!r})"

    @property
    def where(self) -> str:
        """How the place is called in messages."""
        if all(host.is_socket for host in self.hosts):
            return "the local socket"
        return ", ".join(host.shown for host in self.hosts)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What libpq asks the system: the name of the user at work, and the home (None: none)."""

    user: str | None
    home: str | None


def read_url(text: str) -> dict[str, str]:
    """Return the parameters in a URL. Raises ValueError, which never quotes what may be secret."""
    scheme, slashes, rest = text.partition("://")
    if not slashes or scheme not in {"postgres", "postgresql"}:
        raise ValueError(NO_URL)
    found: dict[str, str] = {}
    login, at, place = rest.partition("@")
    if at and "/" not in login:
        found["user"], _, found["password"] = login.partition(":")
    else:
        place = rest
    hosts, rest = _until(place, "/?")
    name, query = _until(rest[1:], "?") if rest.startswith("/") else ("", rest)
    if "@" in hosts + name:
        raise ValueError(NO_URL)
    found["host"], found["port"] = _hosts(hosts)
    found["dbname"] = name
    found = {key: _decoded(value) for key, value in found.items() if value}
    query = query.removeprefix("?").removesuffix("&")
    for pair in query.split("&") if query else ():
        key, sign, value = pair.partition("=")
        if not sign or "=" in value:
            raise ValueError(NO_URL if "@" in query else f"write name=value in place of {key!r}")
        key, value = _decoded(key), _decoded(value)
        if (key, value) == ("ssl", "true"):  # as JDBC has it
            key, value = "sslmode", "require"
        if key not in _KNOWN:
            raise ValueError(NO_URL if "@" in query else unknown(key))
        found[key] = value
    return found


def unknown(name: str) -> str:
    """Say that there is no such parameter, and what may be meant."""
    near = nearest(name, _KNOWN - _IMPOSSIBLE)
    return f"there is no parameter {name!r} of libpq: " + (
        f"did you mean {near}?"
        if near
        else f"a setting of the server is given in options, as options=-c%20{quote(name)}%3Dvalue"
    )


def _until(text: str, ends: str) -> tuple[str, str]:
    """Return a text up to the first of some letters, and the rest from there."""
    match = re.search(f"[{ends}]", text)
    return (text, "") if match is None else (text[: match.start()], text[match.start() :])


def _hosts(text: str) -> tuple[str, str]:
    """Return the hosts and the ports between a URL's login and its path, separated by commas."""
    hosts, ports = [], []
    while True:
        match = re.match(r"(?:\[([^\]]+)\]|([^:,\[]*))(?::([^,]*))?(,|$)", text)
        if match is None or (match[3] and not _is_port(match[3])):
            raise ValueError(NO_URL)
        hosts.append(match[1] or match[2] or "")
        ports.append(match[3] or "")
        text = text[match.end() :]
        if not match[4]:
            return ",".join(hosts), ",".join(ports)


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r" *[0-9]{1,5} *", text)) and 0 < int(text) <= _LAST_PORT


def _decoded(text: str) -> str:
    """Return a part of a URL without percent-encoding; a plus sign stands for itself."""
    text = text.strip(" ")
    if re.search("%(?![0-9a-fA-F]{2})|%00| ", text):
        raise ValueError(NO_URL)
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(NO_URL) from None


def to_url(parameters: Mapping[str, str]) -> str:
    """Return the URL that says the same as some parameters."""
    return "postgresql://?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in parameters.items())


def read_service(text: str, service: str) -> dict[str, str] | None:
    """Return the parameters of a service in a file's text; None: it is not there.

    Raises ValueError with the number of a line that is none. The first of two equal names counts.
    """
    found: dict[str, str] | None = None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                return found
            if line.startswith(f"[{service}]"):
                found = {}
        elif found is not None:
            key, sign, value = line.partition("=")
            if not sign:
                raise ValueError(f"line {number}: write name=value, without blanks")
            if key == "service":
                raise ValueError(f"line {number}: a service cannot name another")
            if key != key.strip():
                raise ValueError(f"line {number}: write name=value, without blanks")
            if key not in _KNOWN:
                raise ValueError(f"line {number}: {unknown(key)}")
            found.setdefault(key, value)
    return found


def of_environment(environment: Mapping[str, str]) -> dict[str, Parameter]:
    """Return the parameters in the ``PG*`` variables."""
    given = {
        name: Parameter(value=environment[variable], place=variable)
        for variable, name in VARIABLES.items()
        if environment.get(variable)
    }
    if environment.get("PGREQUIRESSL", "").startswith("1"):  # of old, and still read
        given.setdefault("sslmode", Parameter(value="require", place="PGREQUIRESSL"))
    return given


def of_url(url: str) -> Address:
    """Return the place that a URL alone names. Raises ValueError."""
    given = {k: Parameter(value=v, place="") for k, v in read_url(url).items()}
    return resolve(given, Machine(user=None, home=None))


def resolve(given: Mapping[str, Parameter], machine: Machine) -> Address:
    """Return the place that all parameters together name. Raises BadParameter."""
    reader = _Reader(given, machine)
    for name, parameter in given.items():
        if name in _IMPOSSIBLE and parameter.value:
            reader.refuse(name, f"{name} cannot be had here; leave it out")
        if parameter.value not in (values := (*_ONLY.get(name, ()), "")) and name in _ONLY:
            reader.refuse(name, f"{name} can be {' or '.join(values[:-1])} only")
    user = reader.text("user") or machine.user
    if not user:
        raise BadParameter("", "name the user, in the URL or as PGUSER: this user id has no name")
    return Address(
        hosts=tuple(reader.hosts()),
        shuffled=reader.choice("load_balance_hosts") == "random",
        sessions=reader.choice("target_session_attrs"),
        user=user,
        database=reader.text("dbname") or user,
        password=reader.text("password"),
        passfile=reader.text("passfile") or (machine.home and f"{machine.home}/.pgpass"),
        options=reader.text("options"),
        connect_timeout=reader.timeout(),
        krbsrvname=reader.text("krbsrvname") or "postgres",
        tls=reader.tls(),
    )


class _Reader:
    """Reads the parameters that were given, each with what is wrong with it."""

    def __init__(self, given: Mapping[str, Parameter], machine: Machine) -> None:
        self._given = given
        self._machine = machine

    def text(self, name: str) -> str:
        """Return what is given for a parameter, or nothing."""
        parameter = self._given.get(name)
        return parameter.value if parameter else ""

    def refuse(self, name: str, message: str) -> None:
        """Raise BadParameter for a parameter."""
        raise BadParameter(self._given[name].place if name in self._given else "", message)

    def choice(self, name: str, default: str | None = None) -> str:
        """Return one of the few values of a parameter; the first one is the default."""
        choices = _CHOICES[name]
        value = self.text(name) or default or choices[0]
        if value not in choices:
            self.refuse(name, f"{name} can be {', '.join(choices)}, and not {value!r}")
        return value

    def timeout(self) -> float | None:
        """Return the seconds in which a connection must be open; 0 and less is no limit of it."""
        value = self.text("connect_timeout").strip()
        if not re.fullmatch(r"[+-]?[0-9]{1,9}|", value):
            self.refuse("connect_timeout", f"connect_timeout is in whole seconds, not {value!r}")
        return float(value) if value and int(value) > 0 else None

    def hosts(self) -> Iterator[Host]:
        """Yield the hosts, each with its port and its address."""
        names, addresses, ports = (self.text(n).split(",") for n in ("host", "hostaddr", "port"))
        count = len(addresses) if addresses != [""] else len(names)
        if names == [""]:
            names *= count
        for name, values in (("host", names), ("port", ports)):
            if len(values) != count and (name, len(values)) != ("port", 1):
                hosts = f"{count} hosts" if count > 1 else "1 host"
                self.refuse(name, f"{len(values)} values of {name} do not go with {hosts}")
        addresses = addresses if addresses != [""] else addresses * count
        ports = ports * count if len(ports) == 1 else ports
        for host, address, port in zip(names, addresses, ports, strict=True):
            number = port.strip()
            if number and not _is_port(number):
                self.refuse("port", f"{number!r} is no port: it is a number from 1 to {_LAST_PORT}")
            if host.startswith("@"):
                self.refuse("host", f"{host!r} names an abstract socket: name the folder of one")
            where = (host,) if host or address else DEFAULT_SOCKETS
            for each in where:
                yield Host(name=each, address=address, port=int(number or DEFAULT_PORT))

    def tls(self) -> Tls:
        """Return how the connection is encrypted."""
        root = self.text("sslrootcert")
        mode = self.choice("sslmode", "verify-full" if root == SYSTEM else "prefer")
        if root == SYSTEM and mode != "verify-full":
            self.refuse(
                "sslmode", f"sslmode {mode} does not go with sslrootcert=system: verify-full"
            )
        direct = self.choice("sslnegotiation") == "direct"
        if direct and mode in {"disable", "allow", "prefer"}:
            self.refuse(
                "sslnegotiation",
                f"sslnegotiation=direct does not go with sslmode {mode}: "
                "require, verify-ca or verify-full",
            )
        low, high = (
            self._version("ssl_min_protocol_version"),
            self._version("ssl_max_protocol_version"),
        )
        low = low or "TLSv1.2"
        if high and _TLS_VERSIONS.index(low) > _TLS_VERSIONS.index(high):
            self.refuse(
                "ssl_max_protocol_version", f"{high} is older than the oldest allowed, {low}"
            )
        home = self._machine.home
        return Tls(
            mode=mode,
            direct=direct,
            root_cert=root,
            cert=self.text("sslcert"),
            key=self.text("sslkey"),
            key_password=self.text("sslpassword"),
            crl=self.text("sslcrl"),
            crl_dir=self.text("sslcrldir"),
            min_version=low,
            max_version=high,
            folder=home and f"{home}/.postgresql",
        )

    def _version(self, name: str) -> str:
        value = self.text(name)
        known = {version.lower(): version for version in ("", *_TLS_VERSIONS)}
        if value.lower() not in known:
            self.refuse(name, f"{name} can be {', '.join(_TLS_VERSIONS)}, and not {value!r}")
        return known[value.lower()]


def find_password(text: str, host: Host, *, database: str, user: str) -> str | None:
    r"""Return the password that a password file's text has for a host; None: none.

    A line is ``host:port:database:user:password``; ``*`` is anything, ``\:`` a colon. A socket in
    the folder where it is looked for by default is ``localhost``.
    """
    name = "localhost" if host.name in DEFAULT_SOCKETS else host.name or host.address
    wanted = (name, str(host.port), database, user)
    for line in text.split("\n"):
        match = None if line.startswith("#") else _PASSWORD_LINE.match(line.rstrip("\r"))
        if match is None:
            continue
        *fields, password = match.groups()
        if all(f == "*" or _plain(f) == value for f, value in zip(fields, wanted, strict=True)):
            return _plain(password)
    return None


_PASSWORD_LINE: Final = re.compile(":".join([r"((?:[^:\\]|\\.|\\$)*)"] * 5))


def _plain(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field)
