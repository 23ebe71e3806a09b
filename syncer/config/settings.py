"""The settings: every one of them, where it is looked for, and its default.

A flag goes before the environment, that before systemd's credentials directory, that before the
settings file, and that before the default. An empty variable counts as unset. Every fault is
reported at once, as a ConfigError.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from syncer.config import parsers
from syncer.config.layers import (
    ENVIRONMENT,
    Layers,
    SettingFault,
    ShownSetting,
    UnknownVariable,
)
from syncer.config.parsers import is_loopback
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits
from syncer.secrets import Secret, mask, mask_proxy
from syncer.zenlayer.credentials import Access, KeyPair, Token

_LIBPQ: Final = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE")
CREDENTIALS: Final = (
    "ZENLAYER_TOKEN",
    "ZENLAYER_ACCESS_KEY_ID",
    "ZENLAYER_ACCESS_KEY_SECRET",
    "ZENLAYERCLOUD_ACCESS_KEY_ID",
    "ZENLAYERCLOUD_ACCESS_KEY_PASSWORD",
)
NO_CREDENTIALS: Final = (
    "set ZENLAYER_ACCESS_KEY_ID and ZENLAYER_ACCESS_KEY_SECRET (or ZENLAYER_TOKEN); keys are made "
    "in the Zenlayer console under Access Keys"
)
_ACCESS: Final = Access(endpoint=parsers.DEFAULT_ENDPOINT)
_GUARD: Final = Limits()
_HTTP: Final[tuple[str, int] | None] = ("127.0.0.1", 9464)


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where PostgreSQL is: a URL, libpq's PG* variables, or the embedded server."""

    url: Secret | None
    """The URL, if one is given: it goes before all else."""
    libpq: bool
    """Whether libpq's variables say where it is."""
    home: Path
    """The folder of the embedded server."""
    pg_bin: str | None
    """The folder of PostgreSQL's programs for the embedded server; None: they are searched for."""

    @property
    def embedded(self) -> bool:
        """Whether the program starts PostgreSQL by itself."""
        return self.url is None and not self.libpq


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked."""

    account: str
    """The name of these credentials; what is stored belongs to it."""
    services: tuple[str, ...]
    """The services that are crawled, at least one, in this order."""
    api: Access
    """Where the API is, with what credentials, and how much it may be asked."""
    database: Database
    """Where PostgreSQL is."""
    state_dir: Path
    """The folder of what the program keeps for itself, such as the embedded server; absolute."""
    page_size: int
    """Images asked for in one call, 1 to 1000."""
    run_timeout: float
    """Seconds after which a run stops asking."""
    guard: Limits
    """How many removals pass without approval: images or per cent; None: any number."""
    keep: float | None
    """Seconds for which history is kept; None: for ever."""
    log_format: str
    """auto, console or json; auto: console on a terminal, else json."""
    log_level: str
    """auto, debug, info, warning or error; auto goes by the format."""
    metrics_file: Path | None
    """The file that gets the metrics of each run, for the node exporter; None: none is written."""
    traces: bool
    """Whether OpenTelemetry's variables ask for traces."""
    every: float
    """Seconds from the start of one run of the daemon to the start of the next, at least one."""
    http: tuple[str, int] | None
    """Address and port where the daemon serves health and metrics; port 0: any free one; None:
    nowhere."""

    def require_credentials(self) -> KeyPair | Token:
        """Return the credentials, or say how to give them."""
        if self.api.credentials is None:
            raise ConfigError(f"no credentials: {NO_CREDENTIALS}")
        return self.api.credentials

    def require_keep(self) -> timedelta:
        """Return how long history is kept, or say how to set it."""
        if self.keep is None:
            raise ConfigError(
                "say how long history is kept: --keep 400d, or SYNCER_KEEP, or keep in the "
                "settings file"
            )
        return timedelta(seconds=self.keep)


class LoadedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, how each may be shown, and what is wrong with them: a faulty one has its default.

    ``unknown`` counts for nothing. ``file`` is the settings file that was used, ``temporary`` the
    folder for temporary files.
    """

    settings: Settings
    shown: tuple[ShownSetting, ...]
    faults: tuple[SettingFault, ...]
    unknown: tuple[UnknownVariable, ...]
    file: Path | None
    temporary: Path

    def checked(self) -> Settings:
        """Return the settings, or raise ConfigError with every fault."""
        if self.faults:
            raise ConfigError(*(fault.message for fault in self.faults))
        return self.settings

    def first_faulty(self, *names: str) -> str | None:
        """Return which of these settings may not be what was meant, or None.

        It is the name of a faulty one; or "the settings file", where that cannot be read and might
        have said what one of them is.
        """
        faulty = {fault.name for fault in self.faults}
        if (name := next((name for name in names if name in faulty), None)) is not None:
            return name
        defaults = {setting.name for setting in self.shown if setting.origin is None}
        return "the settings file" if None in faulty and not defaults.isdisjoint(names) else None


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    options: Mapping[str, str] | None = None,
) -> Settings:
    """Read every layer and return the settings. Raises ConfigError with every fault.

    ``flags`` are values by the settings file's keys (None: not given), and ``options`` says how the
    command line spells those keys.
    """
    return load_with_faults(flags, environment, options=options).checked()


def load_with_faults(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    options: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Read every layer as ``load`` does; return the settings with their origins and faults."""
    env = os.environ if environment is None else environment
    parsers.remember_others(env)
    home = _home(env)
    layers = Layers(flags or {}, env, home, options=options or {})
    settings = _settings(layers, env, home)
    layers.finish()
    return LoadedSettings(
        settings=settings,
        shown=(*layers.shown, *_others(settings, env)),
        faults=tuple(layers.faults),
        unknown=tuple(layers.unknown()),
        file=layers.file,
        temporary=Path(env.get("TMPDIR") or "/tmp"),  # noqa: S108  (where tempfile looks)
    )


def _home(env: Mapping[str, str]) -> Path:
    try:
        return Path(env.get("HOME") or Path.home())
    except RuntimeError:  # a user without a name has none, as in a container
        return Path("/")


def _others(settings: Settings, env: Mapping[str, str]) -> Iterator[ShownSetting]:
    """Yield the variables that are set and heeded, but not by us."""
    shown = {name: env[name] for name in ("SSL_CERT_FILE", "TMPDIR") if env.get(name)}
    if settings.api.proxy is not None:
        shown["HTTPS_PROXY"] = mask_proxy(settings.api.proxy.reveal())
    if settings.database.libpq:
        shown |= {name: env[name] for name in (*_LIBPQ, "PGUSER", "PGSSLMODE") if env.get(name)}
    for name, value in shown.items():
        yield ShownSetting(name=name, value=value, origin=ENVIRONMENT)


def _settings(layers: Layers, env: Mapping[str, str], home: Path) -> Settings:
    state_home = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state")
    state_dir = layers.get("SYNCER_STATE_DIR", lambda t: Path(t).absolute(), state_home / "syncer")
    endpoint = layers.get("ZENLAYER_ENDPOINT", parsers.endpoint, _ACCESS.endpoint)
    url = layers.get("SYNCER_DATABASE_URL", parsers.database_url, None, show=mask)
    return Settings(
        account=layers.get("SYNCER_ACCOUNT", parsers.account, "default"),
        services=layers.get("SYNCER_SERVICES", parsers.services, ("vm",)),
        api=Access(
            endpoint=endpoint,
            credentials=_credentials(layers),
            proxy=_proxy(layers, endpoint),
            max_concurrency=layers.get(
                "SYNCER_MAX_CONCURRENCY", parsers.whole(1, 1000), _ACCESS.max_concurrency
            ),
            max_rate=layers.get("SYNCER_MAX_RATE", parsers.rate, _ACCESS.max_rate),
            request_timeout=layers.get(
                "SYNCER_REQUEST_TIMEOUT", parsers.positive, _ACCESS.request_timeout
            ),
        ),
        database=Database(
            url=url,
            libpq=url is None and any(env.get(name) for name in _LIBPQ),
            home=state_dir / "postgres",
            pg_bin=layers.get("SYNCER_PG_BIN", str, None),
        ),
        state_dir=state_dir,
        page_size=layers.get("SYNCER_PAGE_SIZE", parsers.whole(1, 1000), 1000),
        run_timeout=layers.get("SYNCER_RUN_TIMEOUT", parsers.positive, 900.0),
        guard=Limits(
            zone_count=layers.limit("SYNCER_GUARD_ZONE_COUNT", None, _GUARD.zone_count),
            zone_percent=layers.limit("SYNCER_GUARD_ZONE_PERCENT", 100, _GUARD.zone_percent),
            run_percent=layers.limit("SYNCER_GUARD_RUN_PERCENT", 100, _GUARD.run_percent),
            removal_looks=layers.get(
                "SYNCER_REMOVAL_LOOKS", parsers.whole(1, 1000), _GUARD.removal_looks
            ),
        ),
        keep=layers.get("SYNCER_KEEP", parsers.keep, None),
        log_format=layers.get(
            "SYNCER_LOG_FORMAT", parsers.one_of("auto", "console", "json"), "auto"
        ),
        log_level=layers.get(
            "SYNCER_LOG_LEVEL", parsers.one_of("auto", "debug", "info", "warning", "error"), "auto"
        ),
        metrics_file=layers.get("SYNCER_METRICS_FILE", Path, None),
        traces=parsers.traces(env),
        every=layers.get("SYNCER_EVERY", parsers.interval, 900.0),
        http=layers.get("SYNCER_HTTP", parsers.listen, _HTTP),
    )


def _credentials(layers: Layers) -> KeyPair | Token | None:
    """Read a token, or a key pair; Terraform's names stand in where the CLI's are unset."""
    token_name, id_name, secret_name, other_id_name, other_secret_name = CREDENTIALS
    token = layers.get(token_name, parsers.secret, None)
    key_id = layers.get(id_name, parsers.header, None, show=parsers.brief)
    secret = layers.get(secret_name, parsers.secret, None)
    other_id = layers.get(other_id_name, parsers.header, None, show=parsers.brief)
    other_secret = layers.get(other_secret_name, parsers.secret, None)
    if token is not None:
        return Token(token)
    if key_id is None and secret is None:
        key_id, secret = other_id, other_secret
        id_name, secret_name = other_id_name, other_secret_name
    if key_id is not None and secret is not None:
        return KeyPair(key_id, secret)
    if key_id is not None or secret is not None:
        here, missing = (id_name, secret_name) if secret is None else (secret_name, id_name)
        message = f"{here} is set but {missing} is not: both make a key pair"
        layers.faults.append(SettingFault(name=missing, message=message))
    return None


def _proxy(layers: Layers, endpoint: str) -> Secret | None:
    """Return the proxy for the endpoint, after HTTPS_PROXY and NO_PROXY."""
    parts = urlsplit(endpoint)
    if is_loopback(parts.hostname or ""):
        return None
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # what follows would find none
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  (start-up: loads http)

    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if not proxy:
        return None
    try:
        parsers.endpoint_address(proxy)
    except ValueError:
        name = f"{parts.scheme.upper()}_PROXY"
        message = f"{name}: is not a URL: write http://host:port"
        layers.faults.append(SettingFault(name=name, message=message))
    return Secret(proxy)
