"""Configuration: the only reader of the environment.

flag > environment > credentials directory > file > default (DESIGN §5). An empty variable counts
as unset. Every fault is reported at once, as a ConfigError.
"""

from __future__ import annotations

import getpass
import os
import socket
import tomllib
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from syncer import config_text as read
from syncer.config_text import LOOPBACK, Secret
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits

_LIBPQ: Final = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE")

T = TypeVar("T")


class Token(msgspec.Struct, frozen=True):
    """A bearer token."""

    token: Secret


class KeyPair(msgspec.Struct, frozen=True):
    """An access key pair."""

    key_id: str
    secret: Secret


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where PostgreSQL is: a URL, libpq's PG* variables, or the embedded server under ``home``."""

    url: Secret | None
    libpq: bool
    home: Path
    pg_bin: str | None

    @property
    def embedded(self) -> bool:
        """Whether the program starts PostgreSQL by itself."""
        return self.url is None and not self.libpq


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked. Times are seconds, the rate is requests per second."""

    account: str
    services: tuple[str, ...]
    endpoint: str
    credentials: KeyPair | Token | None
    proxy: Secret | None
    database: Database
    state_dir: Path
    max_concurrency: int
    max_rate: float | None
    page_size: int
    request_timeout: float
    run_timeout: float
    guard: Limits
    keep: float | None
    log_format: str
    log_level: str
    metrics_file: Path | None
    traces: bool
    every: float
    http: tuple[str, int] | None

    def require_credentials(self) -> KeyPair | Token:
        """Return the credentials, or say how to give them."""
        if self.credentials is None:
            raise ConfigError(
                "no credentials: set ZENLAYER_ACCESS_KEY_ID and ZENLAYER_ACCESS_KEY_SECRET (or "
                "ZENLAYER_TOKEN); keys are made in the Zenlayer console under Access Keys"
            )
        return self.credentials

    def require_keep(self) -> timedelta:
        """Return how long history is kept, or say how to tell."""
        if self.keep is None:
            raise ConfigError(
                "say how long history is kept: --keep 400d, or SYNCER_KEEP, or keep in the "
                "settings file"
            )
        return timedelta(seconds=self.keep)


class _Values:
    """Looks a name up in each layer and collects what is wrong with the values."""

    def __init__(
        self,
        flags: Mapping[str, Any],
        environment: Mapping[str, str],
        credentials: Path | None,
        file: Mapping[str, Any],
        file_name: str,
    ) -> None:
        self._flags = flags
        self._environment = environment
        self._credentials = credentials
        self._file = file
        self._file_name = file_name
        self.faults: list[str] = []
        self.names: set[str] = set()

    def get(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return a setting; ``name`` is the variable, the file's key is it without SYNCER_."""
        key = name.removeprefix("SYNCER_").lower()
        self.names.add(key)
        value, origin = self._find(name, key)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.faults.append(f"{origin}: {error}")
            return default

    def limit(self, name: str, high: int | None, default: int) -> int | None:
        """Return a limit of the guard (None: off)."""
        known: int | None = default
        return self.get(name, read.threshold(high), known)

    def _find(self, name: str, key: str) -> tuple[str | None, str]:
        if (flag := self._flags.get(key)) is not None:
            return str(flag), f"--{key.replace('_', '-')}"
        if value := self._environment.get(name):
            return value, name
        if self._credentials is not None:
            path = self._credentials / name.lower()
            try:
                if value := path.read_text().strip():
                    return value, str(path)
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                self.faults.append(f"{path}: cannot be read ({error})")
        if key in self._file:
            value = self._file[key]
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            return text or None, f"{self._file_name}: {key}"
        return None, name


def load(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read every layer and return the settings. Raises ConfigError with every fault."""
    env = os.environ if environment is None else environment
    read.remember_others(env)
    home = Path(env.get("HOME") or Path.home())
    file, file_name, faults = _read_file(env, home)
    directory = env.get("CREDENTIALS_DIRECTORY")
    values = _Values(flags or {}, env, Path(directory) if directory else None, file, file_name)
    settings = _settings(values, env, home)
    faults += values.faults
    faults += [
        f"{file_name}: unknown option {key!r}; known are {', '.join(sorted(values.names))}"
        for key in sorted(file.keys() - values.names)
    ]
    if faults:
        raise ConfigError(*faults)
    return settings


def _read_file(env: Mapping[str, str], home: Path) -> tuple[dict[str, Any], str, list[str]]:
    named = env.get("SYNCER_CONFIG")
    config_home = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    candidates = (
        [Path(named)]
        if named
        else [config_home / "syncer" / "syncer.toml", Path("/etc/syncer/syncer.toml")]
    )
    for path in candidates:
        try:
            return tomllib.loads(path.read_text()), str(path), []
        except FileNotFoundError:
            if named:
                return {}, named, [f"SYNCER_CONFIG: there is no file {named}"]
        except (OSError, UnicodeDecodeError) as error:
            return {}, str(path), [f"{path}: cannot be read ({error})"]
        except tomllib.TOMLDecodeError as error:
            return {}, str(path), [f"{path}: is not TOML ({error})"]
    return {}, "", []


def _settings(values: _Values, env: Mapping[str, str], home: Path) -> Settings:
    state_home = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state")
    state_dir = values.get("SYNCER_STATE_DIR", lambda t: Path(t).absolute(), state_home / "syncer")
    endpoint = values.get("ZENLAYER_ENDPOINT", read.endpoint, read.DEFAULT_ENDPOINT)
    url = values.get("SYNCER_DATABASE_URL", read.database_url, None)
    return Settings(
        account=values.get("SYNCER_ACCOUNT", read.account, "default"),
        services=values.get("SYNCER_SERVICES", read.services, ("vm",)),
        endpoint=endpoint,
        credentials=_credentials(values),
        proxy=_proxy(endpoint, values.faults),
        database=Database(
            url=url,
            libpq=url is None and any(env.get(name) for name in _LIBPQ),
            home=state_dir / "postgres",
            pg_bin=values.get("SYNCER_PG_BIN", str, None),
        ),
        state_dir=state_dir,
        max_concurrency=values.get("SYNCER_MAX_CONCURRENCY", read.whole(1, 1000), 16),
        max_rate=values.get("SYNCER_MAX_RATE", read.rate, None),
        page_size=values.get("SYNCER_PAGE_SIZE", read.whole(1, 1000), 1000),
        request_timeout=values.get("SYNCER_REQUEST_TIMEOUT", read.positive, 30.0),
        run_timeout=values.get("SYNCER_RUN_TIMEOUT", read.positive, 900.0),
        guard=Limits(
            zone_count=values.limit("SYNCER_GUARD_ZONE_COUNT", None, 10),
            zone_percent=values.limit("SYNCER_GUARD_ZONE_PERCENT", 100, 25),
            run_percent=values.limit("SYNCER_GUARD_RUN_PERCENT", 100, 50),
        ),
        keep=values.get("SYNCER_KEEP", read.keep, None),
        log_format=values.get("SYNCER_LOG_FORMAT", read.one_of("auto", "console", "json"), "auto"),
        log_level=values.get(
            "SYNCER_LOG_LEVEL", read.one_of("auto", "debug", "info", "warning", "error"), "auto"
        ),
        metrics_file=values.get("SYNCER_METRICS_FILE", Path, None),
        traces=read.traces(env),
        every=values.get("SYNCER_EVERY", read.positive, 900.0),
        http=values.get("SYNCER_HTTP", read.listen, read.HTTP),
    )


def _credentials(values: _Values) -> KeyPair | Token | None:
    """Read a token, or a key pair; Terraform's names stand in where the CLI's are unset."""
    token = values.get("ZENLAYER_TOKEN", read.secret, None)
    key_id = values.get("ZENLAYER_ACCESS_KEY_ID", read.header, None)
    secret = values.get("ZENLAYER_ACCESS_KEY_SECRET", read.secret, None)
    other_id = values.get("ZENLAYERCLOUD_ACCESS_KEY_ID", read.header, None)
    other_secret = values.get("ZENLAYERCLOUD_ACCESS_KEY_PASSWORD", read.secret, None)
    if token is not None:
        return Token(token)
    if key_id is None and secret is None:
        key_id, secret = other_id, other_secret
        names = ("ZENLAYERCLOUD_ACCESS_KEY_ID", "ZENLAYERCLOUD_ACCESS_KEY_PASSWORD")
    else:
        names = ("ZENLAYER_ACCESS_KEY_ID", "ZENLAYER_ACCESS_KEY_SECRET")
    if key_id is not None and secret is not None:
        return KeyPair(key_id, secret)
    if key_id is not None or secret is not None:
        here, missing = names if secret is None else names[::-1]
        values.faults.append(f"{here} is set but {missing} is not: both make a key pair")
    return None


def _proxy(endpoint: str, faults: list[str]) -> Secret | None:
    """Return the proxy for the endpoint, after HTTPS_PROXY and NO_PROXY."""
    parts = urlsplit(endpoint)
    if urllib.request.proxy_bypass(parts.netloc) or LOOPBACK.match(parts.hostname or ""):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy:
        return None
    try:
        read.endpoint_address(proxy)
    except ValueError:
        faults.append(f"{parts.scheme.upper()}_PROXY: is not a URL: write http://host:port")
    return Secret(proxy)


class Supervisor(msgspec.Struct, frozen=True):
    """What systemd told of itself: its socket, and the seconds in which it wants to hear of us."""

    socket: str | None
    watchdog: float | None


def supervisor() -> Supervisor:
    """Return what systemd told of itself (sd_notify(3), sd_watchdog_enabled(3))."""
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


def bare_environment() -> dict[str, str]:
    """Return the environment without what would configure this program or a database."""
    ours = ("ZENLAYER", "SYNCER_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
