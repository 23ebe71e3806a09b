"""The layers of the configuration: where a setting is looked for, and what is found there."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from syncer.core.nearest import did_you_mean, nearest
from syncer.secrets import STARS, Secret

T = TypeVar("T")
ENVIRONMENT: Final = "environment"
_OURS: Final = "SYNCER_"
_FILE: Final = "SYNCER_CONFIG"
_OTHERS: Final = ("TEST_", "FUZZ_", "ORACLE_", "READER_")
"""After SYNCER_: what our tests and our dashboards set."""
_LARGEST: Final = 1 << 20
"""Bytes of a file that is read."""
_KUBERNETES: Final = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
"""After SYNCER_: what Kubernetes sets for Services that are named syncer or syncer-something."""


class ShownSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as it may be shown, and where it came from (``origin``; None: the default).

    ``secret``: its value is starred, or has starred parts.
    """

    name: str
    value: str
    origin: str | None
    secret: bool = False


class SettingFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a setting. ``name`` is None where a whole layer cannot be read."""

    name: str | None
    message: str
    of_crawling: bool = False
    """Whether it stands in the way of those only who crawl."""


class UnknownVariable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable, or a credential, that no setting has; ``nearest`` is one that may be meant.

    ``why`` says why it counts for nothing although others know it.
    """

    name: str
    nearest: str | None
    why: str | None = None

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.why is not None:
            return f"{self.why}: unset it, if you like"
        known = f"did you mean {self.nearest}? " if self.nearest else ""
        return f"{known}There is no setting {self.name}: correct it, or unset it"


class Layers:
    """Looks a setting up in each layer; collects what was found, and what is wrong with it.

    ``flags`` are values by the file's key (a tuple: its option may be repeated), and ``options``
    says how the command line spells a key whose option is not just ``--key``.
    """

    def __init__(
        self,
        flags: Mapping[str, Any],
        environment: Mapping[str, str],
        home: Path,
        *,
        options: Mapping[str, str],
    ) -> None:
        self.shown: list[ShownSetting] = []
        self.faults: list[SettingFault] = []
        self._flags = {key: flag for key, flag in flags.items() if flag is not None and flag != ()}
        self._options = options
        self._environment = environment
        directory = environment.get("CREDENTIALS_DIRECTORY")
        self.credentials_directory = Path(directory) if directory else None
        self._names: list[str] = [_FILE]
        self._keys = set[str]()
        self._file: dict[str, Any] = {}
        self.file: Path | None = None
        """The settings file that is used."""
        self._read_file(home)

    def get(
        self,
        name: str,
        parse: Callable[[str], T],
        default: T,
        show: Callable[[str], str] | None = None,
    ) -> T:
        """Return a setting; ``name`` is the variable, the file's key is it without SYNCER_.

        ``show`` makes its text safe to be shown; without it a Secret is starred.
        """
        self._names.append(name)
        text, place, origin = self._find(name, _key(name))
        if text is None:
            self.shown.append(ShownSetting(name=name, value=_plain(default), origin=None))
            return default
        return self.parsed(name, text, place, origin, parse, default, show)

    def parsed(  # noqa: PLR0917  (all of one setting)
        self,
        name: str,
        text: str,
        place: str,
        origin: str,
        parse: Callable[[str], T],
        default: T,
        show: Callable[[str], str] | None,
    ) -> T:
        """Return the value of a text that was found, or the default where it is faulty."""
        try:
            value = parse(text)
        except ValueError as error:
            self.faults.append(SettingFault(name=name, message=f"{place}: {error}"))
            return default
        secret = isinstance(value, Secret)
        safe = show(text) if show else STARS if secret else text
        self.shown.append(ShownSetting(name=name, value=safe, origin=origin, secret=secret))
        return value

    def has_flag(self, key: str) -> bool:
        """Return whether the command line gives a setting."""
        return self._flags.get(key) is not None

    def take_flag(self, key: str) -> tuple[str, ...]:
        """Return what the command line gives for a setting, which has no such flag afterwards."""
        value = self._flags.pop(key, ())
        return (value,) if isinstance(value, str) else tuple(value)

    def is_set(self, name: str) -> bool:
        """Return whether any layer has a setting that was looked up."""
        return any(each.name == name and each.origin is not None for each in self.shown)

    def place_of_flag(self, key: str) -> str:
        """Return how the command line spells a setting."""
        return self._options.get(key) or f"--{key.replace('_', '-')}"

    def tables(self, key: str) -> list[Table]:
        """Return the tables of the settings file under a key, in its order."""
        found = self._file.get(key, {})
        self._keys.add(key)
        if not isinstance(found, dict):
            message = f"{self.file}: {key}: write tables, such as [{key}.prod]"
            self.faults.append(SettingFault(name=key, message=message))
            return []
        return [Table(self, key, name, values) for name, values in found.items()]

    def check_exposed(self, tables: Sequence[Table]) -> None:
        """Report secrets in tables of a file that everybody on this machine may read."""
        names = ", ".join(table.name for table in tables if table.has_secrets)
        if names and self.file is not None and others_may_read(self.file):
            message = (
                f"{self.file}: others may read it, and it holds secrets of {names}: "
                f"chmod o-r {shlex.quote(str(self.file))}"
            )
            self.faults.append(SettingFault(name="accounts", message=message))

    def finish(self) -> None:
        """Report the options of the file that no setting has."""
        known = sorted({_key(name) for name in self._names if name != _FILE} | self._keys)
        for key in sorted(self._file.keys() - set(known)):
            message = f"{self.file}: unknown option {key!r}; known are {', '.join(known)}"
            message += did_you_mean(key, known)
            self.faults.append(SettingFault(name=key, message=message))

    def unknown(self) -> Iterator[UnknownVariable]:
        """Yield what is set for this program, by its name, and is read by nobody."""
        known = {name.removeprefix(_OURS): name for name in self._names}
        for name in sorted({*self._set_variables(), *self._credential_names()} - set(self._names)):
            bare = name.removeprefix(_OURS)
            others = bare.startswith(_OTHERS) or _KUBERNETES.fullmatch(bare)
            if others or not name.startswith(_OURS):
                continue
            near = nearest(bare, known)
            yield UnknownVariable(name=name, nearest=known[near] if near else None)

    def _set_variables(self) -> Iterator[str]:
        for name, value in self._environment.items():
            if value and not value.startswith("tcp://"):  # Kubernetes: SYNCER_PORT
                yield name

    def _credential_names(self) -> Iterator[str]:
        try:
            folder = self.credentials_directory
            for path in folder.iterdir() if folder else ():
                yield path.name.upper()
        except OSError:  # where one of them is needed, there is a fault
            return

    def _find(self, name: str, key: str) -> tuple[str | None, str, str]:
        """Return the text of a setting, where exactly it stands, and in which layer."""
        if (flag := self._flags.get(key)) is not None:
            place = self.place_of_flag(key)
            return _text(flag), place, place
        if value := self._environment.get(name):
            return value, name, ENVIRONMENT
        if self.credentials_directory is not None:
            path = self.credentials_directory / name.lower()
            try:
                if value := read_text(path).strip():
                    return value, str(path), str(path)
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                fault = self._unreadable(name, path, error)
                if fault not in self.faults:
                    self.faults.append(fault)
        if key in self._file:
            return _text(self._file[key]) or None, f"{self.file}: {key}", str(self.file)
        return None, name, ""

    def _unreadable(self, name: str, path: Path, error: OSError | ValueError) -> SettingFault:
        """Return what is wrong with a credential; of a closed folder it is the same for all."""
        if isinstance(error, PermissionError) and not os.access(path.parent, os.X_OK):
            said = "the user at work may not look into this folder (CREDENTIALS_DIRECTORY)"
            return SettingFault(name=None, message=f"{path.parent}: {said}")
        return SettingFault(name=name, message=unreadable(path, error))

    def _read_file(self, home: Path) -> None:
        named = self._environment.get(_FILE)
        config_home = Path(self._environment.get("XDG_CONFIG_HOME") or home / ".config")
        for path in (
            [Path(named)]
            if named
            else [config_home / "syncer" / "syncer.toml", Path("/etc/syncer/syncer.toml")]
        ):
            self.file = path
            try:
                self._file = tomllib.loads(read_text(path))
            except FileNotFoundError:
                if not named:
                    continue
                fault = f"{_FILE}: there is no file {named}"
            except (tomllib.TOMLDecodeError, RecursionError) as error:
                fault = f"{path}: is not TOML ({error})"
            except (OSError, ValueError) as error:
                fault = unreadable(path, error)
            else:
                return
            self.faults.append(SettingFault(name=None, message=fault))
            return
        self.file = None


class Table:
    """A table ``[key.name]`` of the settings file; its options go before what stands outside."""

    def __init__(self, layers: Layers, key: str, name: str, values: object) -> None:
        self.name = name
        self._layers = layers
        self._path = f"{key}.{name}"
        self._values: dict[str, Any] = values if isinstance(values, dict) else {}
        self._known = set[str]()
        if not isinstance(values, dict):
            self.fault(f"is no table: write [{self._path}]")

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self._layers.file}: {self._path}"

    def place_of(self, option: str) -> str:
        """Where one of its options stands."""
        return f"{self.place}.{option}"

    @property
    def has_secrets(self) -> bool:
        """Whether a secret stands in it."""
        shown = self._layers.shown
        return any(each.secret and each.name.startswith(f"{self._path}.") for each in shown)

    def has(self, option: str) -> bool:
        """Return whether it has an option."""
        return option in self._values

    def fault(self, message: str) -> None:
        """Note what is wrong with it."""
        fault = SettingFault(name=self._path, message=f"{self.place}: {message}")
        self._layers.faults.append(fault)

    def get(
        self,
        name: str,
        parse: Callable[[str], T],
        default: T,
        show: Callable[[str], str] | None = None,
        *,
        among_flags: bool = False,
    ) -> T:
        """Return a setting; its option is the variable without SYNCER_ or ZENLAYER_.

        A flag goes before it, and is the ``default`` then, unless both count (``among_flags``).
        """
        option = _key(name).removeprefix("zenlayer_")
        self._known.add(option)
        text = _text(self._values[option]) if option in self._values else ""
        if not text or (self._layers.has_flag(_key(name)) and not among_flags):
            return default
        path, file = f"{self._path}.{option}", str(self._layers.file)
        return self._layers.parsed(path, text, f"{file}: {path}", file, parse, default, show)

    def finish(self) -> None:
        """Report the options that no account has."""
        for option in sorted(self._values.keys() - self._known):
            meant = did_you_mean(option, self._known)
            known = meant or f"; known are {', '.join(sorted(self._known))}"
            self.fault(f"unknown option {option!r}{known}")


def read_text(path: Path) -> str:
    """Return what a file of settings or credentials holds. Raises OSError, ValueError."""
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def unreadable(path: Path, error: OSError | ValueError) -> str:
    """Return why a file cannot be read, in a line for the user."""
    return f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"


def others_may_read(path: Path) -> bool:
    """Return whether everybody on this machine may read a file. Raises OSError."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def _text(value: object) -> str:
    """Return a value of the settings file as it would be written in a variable."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _key(name: str) -> str:
    """Return the key of a variable in the settings file."""
    return name.removeprefix(_OURS).lower()


def _plain(default: object) -> str:
    """Return a default as it would be written."""
    if default is None:
        return "none"
    if isinstance(default, float):
        return f"{default / 60:g}m" if default % 60 == 0 else f"{default:g}s"
    if isinstance(default, tuple):
        return (":" if isinstance(default[-1], int) else ",").join(map(str, default))
    return str(default)
