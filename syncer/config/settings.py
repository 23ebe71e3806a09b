"""The settings: every one of them, where it is looked for, and its default.

A flag goes before the environment, that before systemd's credentials directory, that before the
settings file, and that before the default. An empty variable counts as unset. Every fault is
reported at once, as a ConfigError.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from syncer.config import parsers, postgres
from syncer.config.accounts import (
    DEFAULT_SERVICES,
    Account,
    read_settings,
    read_table,
    same_keys,
    unknown_accounts,
)
from syncer.config.layers import (
    ENVIRONMENT,
    Layers,
    SettingFault,
    ShownSetting,
    UnknownVariable,
)
from syncer.config.parsers import is_loopback
from syncer.config.postgres import DatabaseFault
from syncer.core.errors import ConfigError
from syncer.core.libpq import Address
from syncer.secrets import STARS, Secret, mask, mask_proxy
from syncer.zenlayer.credentials import MAX_CONCURRENCY, Access, KeyPair, Token

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
ACCOUNTS_AT_ONCE: Final = 8
_MANY_ACCOUNTS_CONCURRENCY: Final = 16
"""Calls under way for each account, unless it is set, where more of them than usual run at once: a
call holds a connection and a page, 0.2 MiB."""
_HTTP: Final[tuple[str, int] | None] = ("127.0.0.1", 9464)


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where PostgreSQL is: a URL, libpq's PG* variables, or the embedded server."""

    url: Secret | None
    """The URL, if one is given: it goes before all else."""
    libpq: bool
    """Whether libpq's variables say where it is."""
    address: Address | None
    """All that is known of how it is reached; None: the embedded one, or a setting is faulty."""
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

    accounts: tuple[Account, ...]
    """The accounts that are asked for, at least one; without any credentials, one that has none."""
    others: tuple[str, ...]
    """The names of accounts that are not asked for."""
    accounts_at_once: int
    """Accounts that are crawled side by side."""
    missing: tuple[str, ...]
    """Why these accounts cannot be crawled, in lines for the user; empty: they can."""
    database: Database
    """Where PostgreSQL is."""
    queue: Address | None
    """How workers reach their queue, in the same database; None: as everything else is reached."""
    state_dir: Path
    """The folder of what the program keeps for itself, such as the embedded server; absolute."""
    log_format: str
    """auto, console or json; auto: console on a terminal, else json."""
    log_level: str
    """auto, debug, info, warning or error; auto goes by the format."""
    metrics_file: Path | None
    """The file that gets the metrics of each run, for the node exporter; None: none is written."""
    traces: bool
    """Whether OpenTelemetry's variables ask for traces."""
    http: tuple[str, int] | None
    """Address and port where the daemon serves health and metrics; port 0: any free one; None:
    nowhere."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all accounts, asked for or not."""
        return (*(account.name for account in self.accounts), *self.others)

    @property
    def account(self) -> Account:
        """The account; where there are several, one must be named."""
        if len(self.accounts) > 1:
            names = ", ".join(account.name for account in self.accounts)
            raise ConfigError(f"name one of the accounts {names}: --account NAME")
        return self.accounts[0]

    def whose(self, account: Account) -> str | None:
        """Return the name to call an account by, where there are several."""
        return account.name if len(self.accounts) > 1 else None

    def require_credentials(self) -> None:
        """Raise ConfigError, with every fault, unless all accounts have credentials."""
        if self.missing:
            raise ConfigError(*self.missing)


class LoadedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, how each may be shown, and what is wrong with them: a faulty one has its default.

    ``unknown`` counts for nothing; no more does ``unread``, which others know. ``file`` is the
    settings file that was used, ``temporary`` the folder for temporary files.
    """

    settings: Settings
    shown: tuple[ShownSetting, ...]
    faults: tuple[SettingFault, ...]
    unknown: tuple[UnknownVariable, ...]
    unread: tuple[UnknownVariable, ...]
    file: Path | None
    temporary: Path

    def checked(self, *, crawling: bool = False, reading: bool = False) -> Settings:
        """Return the settings, or raise ConfigError with every fault.

        ``reading``: faults that are of crawling only do not count.
        ``crawling``: that accounts have no credentials is a fault too, unless they may stand in a
        layer that cannot be read.
        """
        faults = [one.message for one in self.faults if not (reading and one.of_crawling)]
        if crawling and all(fault.name is not None for fault in self.faults):
            faults += self.settings.missing
        if crawling:
            faults += [
                f"{name}: {why}: correct it, or unset it"
                for name, why in self.roots_missing()
                if name == "SSL_CERT_FILE"
            ]
        if faults:
            raise ConfigError(*faults)
        return self.settings

    def roots_missing(self) -> Iterator[tuple[str, str]]:
        """Yield the variables that say where trusted certificates are, and are wrong, with why."""
        for setting in self.shown:
            if setting.name == "SSL_CERT_FILE" and not Path(setting.value).is_file():
                yield setting.name, f"there is no file {setting.value}"
            if setting.name == "SSL_CERT_DIR" and not Path(setting.value).is_dir():
                yield setting.name, f"there is no folder {setting.value}"

    def first_faulty(self, *names: str) -> str | None:
        """Return which of these settings may not be what was meant, or None.

        It is the name of a faulty one; or "the settings file", where that cannot be read and might
        have said what one of them is.
        """
        faulty = {fault.name for fault in self.faults}
        tables = {name.rpartition(".")[0] for name in faulty if name and "." in name}
        if (name := next((name for name in names if name in faulty | tables), None)) is not None:
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
    others = () if settings.database.embedded else tuple(postgres.unread(env))
    return LoadedSettings(
        settings=settings,
        shown=(*layers.shown, *_others(settings, env)),
        faults=tuple(layers.faults),
        unknown=(*layers.unknown(), *(each for each in others if each.why is None)),
        unread=tuple(each for each in others if each.why is not None),
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
    shown = {
        name: env[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR") if env.get(name)
    }
    for account in settings.accounts:
        if account.api.proxy is not None:
            shown["HTTPS_PROXY"] = mask_proxy(account.api.proxy.reveal())
    if not settings.database.embedded:
        shown |= {name: env[name] for name in postgres.HONOURED if env.get(name)}
    for name, value in shown.items():
        secret = name == "PGPASSWORD"
        text = STARS if secret else value
        yield ShownSetting(name=name, value=text, origin=ENVIRONMENT, secret=secret)


def _settings(layers: Layers, env: Mapping[str, str], home: Path) -> Settings:
    state_home = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state")
    state_dir = layers.get("SYNCER_STATE_DIR", lambda t: Path(t).absolute(), state_home / "syncer")
    accounts_at_once = layers.get(
        "SYNCER_ACCOUNTS_AT_ONCE", parsers.whole(1, 1000), ACCOUNTS_AT_ONCE
    )
    many = accounts_at_once > ACCOUNTS_AT_ONCE
    api = Access(
        endpoint=parsers.DEFAULT_ENDPOINT,
        max_concurrency=_MANY_ACCOUNTS_CONCURRENCY if many else MAX_CONCURRENCY,
    )
    accounts, others, missing = _accounts(layers, home, api)
    return Settings(
        accounts=accounts,
        others=others,
        accounts_at_once=accounts_at_once,
        missing=missing,
        database=_database(layers, env, home, state_dir),
        queue=_queue(layers, env, home),
        state_dir=state_dir,
        log_format=layers.get(
            "SYNCER_LOG_FORMAT", parsers.one_of("auto", "console", "json"), "auto"
        ),
        log_level=layers.get(
            "SYNCER_LOG_LEVEL", parsers.one_of("auto", "debug", "info", "warning", "error"), "auto"
        ),
        metrics_file=layers.get("SYNCER_METRICS_FILE", Path, None),
        traces=parsers.traces(env),
        http=layers.get("SYNCER_HTTP", parsers.listen, _HTTP),
    )


def _database(layers: Layers, env: Mapping[str, str], home: Path, state_dir: Path) -> Database:
    url = layers.get(postgres.URL, parsers.database_url, None, show=mask)
    libpq = url is None and any(env.get(name) for name in postgres.PLACE)
    address = None
    if url is not None or libpq:
        try:
            address = postgres.find_address(url.reveal() if url else None, env, str(home))
        except DatabaseFault as error:
            layers.faults.append(error.fault)
    return Database(
        url=url,
        libpq=libpq,
        address=address,
        home=state_dir / "postgres",
        pg_bin=layers.get("SYNCER_PG_BIN", str, None),
    )


def _queue(layers: Layers, env: Mapping[str, str], home: Path) -> Address | None:
    url = layers.get(postgres.QUEUE_URL, parsers.database_url, None, show=mask)
    if url is None:
        return None
    try:
        return postgres.find_address(url.reveal(), env, str(home), name=postgres.QUEUE_URL)
    except DatabaseFault as error:
        layers.faults.append(error.fault)
        return None


def address_of(url: Secret | None) -> Address:
    """Return where the database of a URL is, with all that libpq reads beside.

    Raises ConfigError.
    """
    try:
        given = url.reveal() if url else None
        return postgres.find_address(given, os.environ, str(_home(os.environ)))
    except DatabaseFault as error:
        raise ConfigError(error.fault.message) from None


def _accounts(
    layers: Layers, home: Path, api: Access
) -> tuple[tuple[Account, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the accounts that are asked for, the names of others, and what they lack."""
    tables = layers.tables("accounts")
    chosen = layers.take_flag("account") if tables else ()
    name = layers.get("SYNCER_ACCOUNT", _one_account, "default")
    services = layers.get("SYNCER_SERVICES", parsers.services, DEFAULT_SERVICES)
    outside = read_settings(layers, Account(name=name, services=services, api=api))
    credentials = _credentials(layers)
    found = [read_table(table, layers, outside, home) for table in tables]
    layers.check_exposed(tables)
    missing = list[str]()
    if not tables or credentials is not None:
        api = msgspec.structs.replace(outside.api, credentials=credentials)
        why = () if credentials is not None else (f"no credentials: {NO_CREDENTIALS}",)
        found.insert(0, msgspec.structs.replace(outside, api=api, faults=why))
        for table in tables:
            if table.name == name:
                table.fault("credentials outside a table have this name: see SYNCER_ACCOUNT")
    elif layers.is_set("SYNCER_ACCOUNT"):
        missing.append(f"SYNCER_ACCOUNT: there are no credentials outside tables: {NO_CREDENTIALS}")
    missing += same_keys(found)
    selected = _selected(layers, found, chosen)
    missing += [fault for account in selected for fault in account.faults]
    others = tuple(account.name for account in found if account not in selected)
    return tuple(_with_proxy(layers, each) for each in selected), others, tuple(missing)


def _one_account(text: str) -> str:
    if "," in text:
        raise ValueError(f"{text!r}: credentials outside tables are one account: give one name")
    return parsers.account(text)


def _selected(layers: Layers, accounts: list[Account], chosen: Collection[str]) -> list[Account]:
    """Return the accounts of the chosen names (none: all) that have services to be crawled."""
    place = layers.place_of_flag("account")
    if faults := unknown_accounts(chosen, [account.name for account in accounts], place):
        layers.faults += [SettingFault(name="SYNCER_ACCOUNT", message=fault) for fault in faults]
        return accounts
    selected = [account for account in accounts if not chosen or account.name in chosen]
    if not (crawled := [account for account in selected if account.services]):
        names = ", ".join(account.name for account in selected)
        message = f"{layers.place_of_flag('services')}: it is crawled for no account of {names}"
        layers.faults.append(SettingFault(name="SYNCER_SERVICES", message=message))
        return selected
    return crawled


def _with_proxy(layers: Layers, account: Account) -> Account:
    proxy = _proxy(layers, account.api.endpoint)
    return msgspec.structs.replace(account, api=msgspec.structs.replace(account.api, proxy=proxy))


def _credentials(layers: Layers) -> KeyPair | Token | None:
    """Read a token or a key pair from outside tables; Terraform's names stand in for the CLI's."""
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
        layers.faults.append(SettingFault(name=missing, message=message, of_crawling=True))
    return None


def _proxy(layers: Layers, endpoint: str) -> Secret | None:
    """Return the proxy for the endpoint, after HTTPS_PROXY and NO_PROXY."""
    parts = urlsplit(endpoint)
    if is_loopback(parts.hostname or ""):
        return None
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # what follows would find none
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  (start-up: loads http)

    proxies = getproxies()
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    excepted = parsers.is_excepted(parts.hostname or "", port, proxies.get("no", ""))
    proxy = proxies.get(parts.scheme)
    if not proxy or excepted or proxy_bypass(parts.netloc):
        return None
    try:
        return parsers.proxy(proxy)
    except ValueError as error:
        name = f"{parts.scheme.upper()}_PROXY"
        fault = SettingFault(name=name, message=f"{name}: {error}")
        if fault not in layers.faults:  # it is of every account
            layers.faults.append(fault)
        return None
