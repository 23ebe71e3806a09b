"""The accounts: credentials under a name, and what holds for each of them.

All credentials outside a table are one account. Each table ``[accounts.NAME]`` of the settings file
is one more: a setting that it has goes before the same one outside, but not before a flag. Its
credentials stand in the table itself, in the credentials directory, or in the file of the official
command line tool, and nowhere else.

Credentials that cannot be read are no fault of the settings: whoever only reads what is stored
needs none. They are ``Account.faults``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from syncer.config import parsers
from syncer.config.layers import Layers, Table, others_may_read, read_text, unreadable
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits
from syncer.core.nearest import did_you_mean
from syncer.zenlayer.credentials import Access, KeyPair, Token

T = TypeVar("T")
DEFAULT_SERVICES: Final[tuple[str, ...]] = ("vm",)
_VALUES: Final = ("token", "access_key_id", "access_key_secret")
"""What makes credentials, as a table, a file of them and a profile spell it."""
_NAMED: Final = 20
"""Accounts that an error names."""
_FOLDER: Final = "accounts"
"""The folder of the credentials directory in which those of accounts may stand."""
_HOW: Final = "credential, profile, token, or access_key_id and access_key_secret"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account: everything that is its own. What is stored belongs to its name."""

    name: str
    services: tuple[str, ...] = DEFAULT_SERVICES
    """The services that are crawled, at least one, in this order."""
    api: Access = Access(endpoint=parsers.DEFAULT_ENDPOINT)
    """Where the API is, with what credentials, and how much it may be asked."""
    page_size: int = 1000
    """Images asked for in one call, 1 to 1000."""
    run_timeout: float = 900.0
    """Seconds after which a run stops asking."""
    guard: Limits = Limits()
    """How many removals pass without approval: images or per cent; None: any number."""
    keep: float | None = None
    """Seconds for which history is kept; None: for ever."""
    every: float = 900.0
    """Seconds from the start of one run of the daemon to the start of the next, at least one."""
    table: str | None = None
    """Where its table stands; None: its credentials stand outside tables."""
    faults: tuple[str, ...] = ()
    """Why it has no credentials, in lines for the user."""

    def require_keep(self) -> timedelta:
        """Return how long history is kept, or say how to set it."""
        if self.keep is None:
            raise ConfigError(
                "say how long history is kept: --keep 400d, or SYNCER_KEEP, or keep in the "
                "settings file"
            )
        return timedelta(seconds=self.keep)


class _Source(Protocol):
    """Where settings of an account are looked up: all layers, or its table."""

    def get(
        self,
        name: str,
        parse: Callable[[str], T],
        default: T,
        show: Callable[[str], str] | None = None,
    ) -> T: ...


def read_settings(source: _Source, base: Account) -> Account:
    """Return ``base`` with what the source says of all but name, services and credentials."""
    api, guard, get = base.api, base.guard, source.get
    return msgspec.structs.replace(
        base,
        api=msgspec.structs.replace(
            api,
            endpoint=get("ZENLAYER_ENDPOINT", parsers.endpoint, api.endpoint),
            max_concurrency=get(
                "SYNCER_MAX_CONCURRENCY", parsers.whole(1, 1000), api.max_concurrency
            ),
            max_rate=get("SYNCER_MAX_RATE", parsers.rate, api.max_rate),
            request_timeout=get("SYNCER_REQUEST_TIMEOUT", parsers.positive, api.request_timeout),
        ),
        page_size=get("SYNCER_PAGE_SIZE", parsers.whole(1, 1000), base.page_size),
        run_timeout=get("SYNCER_RUN_TIMEOUT", parsers.positive, base.run_timeout),
        guard=Limits(
            zone_count=get("SYNCER_GUARD_ZONE_COUNT", parsers.threshold(None), guard.zone_count),
            zone_percent=get(
                "SYNCER_GUARD_ZONE_PERCENT", parsers.threshold(100), guard.zone_percent
            ),
            run_percent=get("SYNCER_GUARD_RUN_PERCENT", parsers.threshold(100), guard.run_percent),
            removal_looks=get("SYNCER_REMOVAL_LOOKS", parsers.whole(1, 1000), guard.removal_looks),
        ),
        keep=get("SYNCER_KEEP", parsers.keep, base.keep),
        every=get("SYNCER_EVERY", parsers.interval, base.every),
    )


def read_table(table: Table, layers: Layers, base: Account, home: Path) -> Account:
    """Return the account of a table; ``base`` has the settings outside all tables.

    Where ``--service`` is given, a table that names its services is asked for those among them:
    there may be none.
    """
    try:
        parsers.account(table.name)
    except ValueError as error:
        table.fault(str(error))
    none: tuple[str, ...] = ()
    own = table.get("SYNCER_SERVICES", parsers.services, none, among_flags=True)
    services = own or base.services
    if own and layers.has_flag("services"):
        services = tuple(name for name in own if name in base.services)
    found = read_settings(
        table, msgspec.structs.replace(base, name=table.name, table=table.place, services=services)
    )
    credentials, faults = _Credentials(table, layers, home).read()
    table.finish()
    return msgspec.structs.replace(
        found,
        api=msgspec.structs.replace(found.api, credentials=credentials),
        faults=tuple(faults),
    )


class _Credentials:
    """The credentials of one table; ``faults`` are those that keep it from being crawled."""

    def __init__(self, table: Table, layers: Layers, home: Path) -> None:
        self._table = table
        self._directory = layers.credentials_directory
        self._home = home
        self._faults: list[str] = []

    def read(self) -> tuple[KeyPair | Token | None, list[str]]:
        """Return the credentials, if there are any, and what is wrong with them."""
        table = self._table
        file = table.get("credential", _file_name, None)
        profile = table.get("profile", str, None)
        values = {
            "token": table.get("token", parsers.secret, None),
            "access_key_id": table.get("access_key_id", parsers.header, None, show=parsers.brief),
            "access_key_secret": table.get("access_key_secret", parsers.secret, None),
        }
        here = any(table.has(name) for name in values)
        if sum((file is not None, profile is not None, here)) > 1:
            table.fault(f"holds credentials more than once: write one of {_HOW}")
        elif file is not None:
            return self._together(table.place_of("credential"), self._of_file(file)), self._faults
        elif profile is not None:
            return self._together(
                table.place_of("profile"), self._of_profile(profile)
            ), self._faults
        elif here:
            return self._together(table.place, values), self._faults
        elif not table.has("credential") and not table.has("profile"):
            self._faults.append(f"{table.place}: has no credentials: write {_HOW}")
        return None, self._faults

    def _together(self, place: str, values: Mapping[str, Any] | None) -> KeyPair | Token | None:
        if values is None or self._faults:
            return None
        token, key_id, secret = (values.get(name) for name in _VALUES)
        if token is not None:
            return Token(token)
        if key_id is not None and secret is not None:
            return KeyPair(key_id, secret)
        if key_id is None and secret is None:
            self._faults.append(f"{place}: there is neither a token nor an access key")
        else:
            has, lacks = _VALUES[1:] if secret is None else _VALUES[:0:-1]
            self._faults.append(f"{place}: there is {has} but no {lacks}: both make a key pair")
        return None

    def _of_file(self, name: str) -> Mapping[str, Any] | None:
        """Read the credentials directory: a folder of this name, or files that begin with it.

        They may stand in a folder ``accounts``, which systemd hands out as files with long names.
        """
        place = self._table.place_of("credential")
        if self._directory is None:
            self._faults.append(
                f"{place}: there is no credentials directory (CREDENTIALS_DIRECTORY): systemd sets "
                f"it, with LoadCredential={_FOLDER}:... of a folder with {name}_access_key_id"
            )
            return None
        texts = dict[str, tuple[str, str]]()
        for value in _VALUES:
            paths = (f"{name}/{value}", f"{name}_{value}")
            in_folder = (*(f"{_FOLDER}/{path}" for path in paths), f"{_FOLDER}_{name}_{value}")
            for path in (self._directory / path for path in (*paths, *in_folder)):
                try:
                    text = read_text(path).strip()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except (OSError, ValueError) as error:
                    self._faults.append(unreadable(path, error))
                    continue
                if text:
                    texts.setdefault(value, (text, str(path)))
        if not texts and not self._faults:
            self._faults.append(
                f"{place}: there are no credentials {name!r} in {self._directory}: neither "
                f"{name}_access_key_id nor {name}/access_key_id, nor a token"
            )
            return None
        return self._parsed(texts)

    def _of_profile(self, name: str) -> Mapping[str, Any] | None:
        """Read a profile of the official command line tool."""
        path, place = self._home / ".zenlayer" / "credentials.json", self._table.place_of("profile")
        try:
            profiles = json.loads(read_text(path))
            exposed = others_may_read(path)
        except FileNotFoundError:
            self._faults.append(f"{place}: there is no file {path}: 'zenlayer' would have made it")
            return None
        except OSError as error:
            self._faults.append(unreadable(path, error))
            return None
        except (ValueError, RecursionError):  # its message may quote a secret
            self._faults.append(f"{path}: is not JSON")
            return None
        if exposed:
            self._faults.append(
                f"{path}: others may read it, and it holds secrets: "
                f"chmod 600 {shlex.quote(str(path))}"
            )
        if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
            known = ", ".join(sorted(profiles)) if isinstance(profiles, dict) else ""
            there = f"there are {known}" if known else "there is none at all"
            self._faults.append(f"{place}: there is no profile {name!r} in {path}; {there}")
            return None
        found = profiles[name]
        return self._parsed(
            {
                value: (str(found[value]), f"{path}: {name}.{value}")
                for value in _VALUES
                if found.get(value)
            }
        )

    def _parsed(self, texts: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        values = dict[str, Any]()
        for value, (text, place) in texts.items():
            try:
                values[value] = (parsers.header if value == "access_key_id" else parsers.secret)(
                    text
                )
            except ValueError as error:
                self._faults.append(f"{place}: {error}")
        return values


def _file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_@-][A-Za-z0-9_.@-]*", text):
        raise ValueError(f"{text!r} is no name of a credential: use letters, digits, and . _ @ -")
    return text


def same_keys(accounts: Sequence[Account]) -> list[str]:
    """Return a fault for each account with the credentials of one before it."""
    faults, first = list[str](), dict[str, str]()
    for account in accounts:
        credentials = account.api.credentials
        if credentials is None:
            continue
        key = credentials.key_id if isinstance(credentials, KeyPair) else credentials.token.reveal()
        if (other := first.setdefault(key, account.name)) != account.name:
            faults.append(
                f"{account.table}: account {account.name} has the key of account {other}: "
                "one key is one account, since its calls share a limit"
            )
    return faults


def unknown_accounts(chosen: Iterable[str], known: Sequence[str], place: str) -> list[str]:
    """Return a fault for each chosen account that is none of those known, with what may be meant.

    ``place`` is where it is chosen.
    """
    faults = []
    for name in sorted({*chosen} - {*known}):
        names = ", ".join(known[:_NAMED]) + (", ..." if known[_NAMED:] else "")
        faults.append(
            f"{place}: there is no account {name!r}; there are {names or 'none'}"
            + did_you_mean(name, known)
        )
    return faults
