"""Configuration: the only reader of the environment.

flag > environment > credentials directory > file > default (DESIGN §5). An empty variable counts
as unset. Every fault is reported at once, as a ConfigError.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from syncer.config import parsers as read
from syncer.config.layers import ENVIRONMENT, Fault, Given, Layers
from syncer.config.parsers import LOOPBACK
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits
from syncer.secrets import Secret, mask
from syncer.zenlayer.credentials import Access, KeyPair, Token

_LIBPQ: Final = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE")
_CREDENTIALS: Final = (
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
    api: Access
    database: Database
    state_dir: Path
    page_size: int
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
        if self.api.credentials is None:
            raise ConfigError(f"no credentials: {NO_CREDENTIALS}")
        return self.api.credentials

    def require_keep(self) -> timedelta:
        """Return how long history is kept, or say how to tell."""
        if self.keep is None:
            raise ConfigError(
                "say how long history is kept: --keep 400d, or SYNCER_KEEP, or keep in the "
                "settings file"
            )
        return timedelta(seconds=self.keep)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, where each came from, and what is wrong: a faulty one has its default."""

    settings: Settings
    given: tuple[Given, ...]
    faults: tuple[Fault, ...]
    file: Path | None
    temporary: Path

    def doubtful(self, *names: str) -> str | None:
        """Return why one of these settings may not be what was meant, or None."""
        faulty = {fault.name for fault in self.faults}
        if (name := next((name for name in names if name in faulty), None)) is not None:
            return name
        defaults = {given.name for given in self.given if given.origin is None}
        # What a file that cannot be read would have said is not known.
        return "the settings file" if None in faulty and not defaults.isdisjoint(names) else None

    def doubtful_credentials(self) -> str | None:
        """Return why the credentials may not be what was meant, or None."""
        return self.doubtful(*_CREDENTIALS)


def load(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read every layer and return the settings. Raises ConfigError with every fault."""
    loaded = survey(flags, environment)
    if loaded.faults:
        raise ConfigError(*(fault.message for fault in loaded.faults))
    return loaded.settings


def survey(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Loaded:
    """Read every layer and return the settings with their origins and faults."""
    env = os.environ if environment is None else environment
    read.remember_others(env)
    home = Path(env.get("HOME") or Path.home())
    layers = Layers(flags or {}, env, home)
    settings = _settings(layers, env, home)
    layers.finish()
    return Loaded(
        settings=settings,
        given=(*layers.given, *_others(settings, env)),
        faults=tuple(layers.faults),
        file=layers.file,
        temporary=Path(env.get("TMPDIR") or "/tmp"),  # noqa: S108  (where tempfile looks)
    )


def _others(settings: Settings, env: Mapping[str, str]) -> Iterator[Given]:
    """Yield the variables that are set and heeded, but not by us."""
    shown = {name: env[name] for name in ("SSL_CERT_FILE", "TMPDIR") if env.get(name)}
    if settings.api.proxy is not None:
        shown["HTTPS_PROXY"] = mask(settings.api.proxy.reveal())
    if settings.database.libpq:
        shown |= {name: env[name] for name in (*_LIBPQ, "PGUSER", "PGSSLMODE") if env.get(name)}
    for name, value in shown.items():
        yield Given(name=name, value=value, origin=ENVIRONMENT)


def _settings(layers: Layers, env: Mapping[str, str], home: Path) -> Settings:
    state_home = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state")
    state_dir = layers.get("SYNCER_STATE_DIR", lambda t: Path(t).absolute(), state_home / "syncer")
    endpoint = layers.get("ZENLAYER_ENDPOINT", read.endpoint, read.DEFAULT_ENDPOINT)
    url = layers.get("SYNCER_DATABASE_URL", read.database_url, None, show=mask)
    return Settings(
        account=layers.get("SYNCER_ACCOUNT", read.account, "default"),
        services=layers.get("SYNCER_SERVICES", read.services, ("vm",)),
        api=Access(
            endpoint=endpoint,
            credentials=_credentials(layers),
            proxy=_proxy(layers, endpoint),
            max_concurrency=layers.get("SYNCER_MAX_CONCURRENCY", read.whole(1, 1000), 16),
            max_rate=layers.get("SYNCER_MAX_RATE", read.rate, None),
            request_timeout=layers.get("SYNCER_REQUEST_TIMEOUT", read.positive, 30.0),
        ),
        database=Database(
            url=url,
            libpq=url is None and any(env.get(name) for name in _LIBPQ),
            home=state_dir / "postgres",
            pg_bin=layers.get("SYNCER_PG_BIN", str, None),
        ),
        state_dir=state_dir,
        page_size=layers.get("SYNCER_PAGE_SIZE", read.whole(1, 1000), 1000),
        run_timeout=layers.get("SYNCER_RUN_TIMEOUT", read.positive, 900.0),
        guard=Limits(
            zone_count=layers.limit("SYNCER_GUARD_ZONE_COUNT", None, 10),
            zone_percent=layers.limit("SYNCER_GUARD_ZONE_PERCENT", 100, 25),
            run_percent=layers.limit("SYNCER_GUARD_RUN_PERCENT", 100, 50),
        ),
        keep=layers.get("SYNCER_KEEP", read.keep, None),
        log_format=layers.get("SYNCER_LOG_FORMAT", read.one_of("auto", "console", "json"), "auto"),
        log_level=layers.get(
            "SYNCER_LOG_LEVEL", read.one_of("auto", "debug", "info", "warning", "error"), "auto"
        ),
        metrics_file=layers.get("SYNCER_METRICS_FILE", Path, None),
        traces=read.traces(env),
        every=layers.get("SYNCER_EVERY", read.interval, 900.0),
        http=layers.get("SYNCER_HTTP", read.listen, read.HTTP),
    )


def _credentials(layers: Layers) -> KeyPair | Token | None:
    """Read a token, or a key pair; Terraform's names stand in where the CLI's are unset."""
    token = layers.get(_CREDENTIALS[0], read.secret, None)
    key_id = layers.get(_CREDENTIALS[1], read.header, None, show=read.brief)
    secret = layers.get(_CREDENTIALS[2], read.secret, None)
    other_id = layers.get(_CREDENTIALS[3], read.header, None, show=read.brief)
    other_secret = layers.get(_CREDENTIALS[4], read.secret, None)
    if token is not None:
        return Token(token)
    if key_id is None and secret is None:
        key_id, secret = other_id, other_secret
        names = _CREDENTIALS[3:]
    else:
        names = _CREDENTIALS[1:3]
    if key_id is not None and secret is not None:
        return KeyPair(key_id, secret)
    if key_id is not None or secret is not None:
        here, missing = names if secret is None else names[::-1]
        fault = f"{here} is set but {missing} is not: both make a key pair"
        layers.faults.append(Fault(missing, fault))
    return None


def _proxy(layers: Layers, endpoint: str) -> Secret | None:
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
        name = f"{parts.scheme.upper()}_PROXY"
        layers.faults.append(Fault(name, f"{name}: is not a URL: write http://host:port"))
    return Secret(proxy)
