"""The layers of the configuration: where a setting is looked for, and what is found there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from syncer.config import parsers
from syncer.secrets import STARS, Secret

T = TypeVar("T")
ENVIRONMENT: Final = "environment"
_OURS: Final = "SYNCER_"
_FILE: Final = "SYNCER_CONFIG"
_OTHERS: Final = ("TEST_", "FUZZ_", "ORACLE_", "READER_")
"""After SYNCER_: what our tests and our dashboards set."""
_KUBERNETES: Final = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
"""After SYNCER_: what Kubernetes sets for Services that are named syncer or syncer-something."""
_LIKENESS: Final = 0.7
"""How alike two names must be, from 0 to 1, for one to be a misspelling of the other."""


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


class UnknownVariable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable, or a credential, that no setting has; ``nearest`` is one that may be meant."""

    name: str
    nearest: str | None

    @property
    def advice(self) -> str:
        """What to do about it."""
        known = f"is {self.nearest} meant? " if self.nearest else ""
        return f"{known}There is no setting {self.name}: correct it, or unset it"


class Layers:
    """Looks a setting up in each layer; collects what was found, and what is wrong with it.

    ``flags`` are values by the file's key, and ``options`` says how the command line spells a key
    whose option is not just ``--key``.
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
        self._flags = flags
        self._options = options
        self._environment = environment
        directory = environment.get("CREDENTIALS_DIRECTORY")
        self._credentials = Path(directory) if directory else None
        self._names: list[str] = [_FILE]
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
        key = _key(name)
        self._names.append(name)
        text, place, origin = self._find(name, key)
        if text is None:
            self.shown.append(ShownSetting(name=name, value=_plain(default), origin=None))
            return default
        try:
            value = parse(text)
        except ValueError as error:
            self.faults.append(SettingFault(name=name, message=f"{place}: {error}"))
            return default
        secret = isinstance(value, Secret)
        safe = show(text) if show else STARS if secret else text
        self.shown.append(ShownSetting(name=name, value=safe, origin=origin, secret=secret))
        return value

    def limit(self, name: str, high: int | None, default: int | None) -> int | None:
        """Return a limit of the guard (None: off)."""
        return self.get(name, parsers.threshold(high), default)

    def finish(self) -> None:
        """Report the options of the file that no setting has."""
        known = sorted(_key(name) for name in self._names if name != _FILE)
        self.faults += [
            SettingFault(
                name=key,
                message=f"{self.file}: unknown option {key!r}; known are {', '.join(known)}",
            )
            for key in sorted(self._file.keys() - set(known))
        ]

    def unknown(self) -> Iterator[UnknownVariable]:
        """Yield what is set for this program, by its name, and is read by nobody."""
        known = {name.removeprefix(_OURS): name for name in self._names}
        for name in sorted({*self._set_variables(), *self._credential_names()} - set(self._names)):
            bare = name.removeprefix(_OURS)
            others = bare.startswith(_OTHERS) or _KUBERNETES.fullmatch(bare)
            if others or not name.startswith(_OURS):
                continue
            from difflib import get_close_matches  # noqa: PLC0415  (start-up: only where needed)

            nearest = get_close_matches(bare, known, n=1, cutoff=_LIKENESS)
            yield UnknownVariable(name=name, nearest=known[nearest[0]] if nearest else None)

    def _set_variables(self) -> Iterator[str]:
        for name, value in self._environment.items():
            if value and not value.startswith("tcp://"):  # Kubernetes: SYNCER_PORT
                yield name

    def _credential_names(self) -> Iterator[str]:
        try:
            for path in self._credentials.iterdir() if self._credentials else ():
                yield path.name.upper()
        except OSError:  # where one of them is needed, there is a fault
            return

    def _find(self, name: str, key: str) -> tuple[str | None, str, str]:
        """Return the text of a setting, where exactly it stands, and in which layer."""
        if (flag := self._flags.get(key)) is not None:
            place = self._options.get(key) or f"--{key.replace('_', '-')}"
            return str(flag), place, place
        if value := self._environment.get(name):
            return value, name, ENVIRONMENT
        if self._credentials is not None:
            path = self._credentials / name.lower()
            try:
                if value := path.read_text().strip():
                    return value, str(path), str(path)
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                self.faults.append(
                    SettingFault(name=name, message=f"{path}: cannot be read ({error})")
                )
        if key in self._file:
            value = self._file[key]
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            return text or None, f"{self.file}: {key}", str(self.file)
        return None, name, ""

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
                self._file = tomllib.loads(path.read_text())
            except FileNotFoundError:
                if not named:
                    continue
                fault = f"{_FILE}: there is no file {named}"
            except (OSError, UnicodeDecodeError) as error:
                fault = f"{path}: cannot be read ({error})"
            except tomllib.TOMLDecodeError as error:
                fault = f"{path}: is not TOML ({error})"
            else:
                return
            self.faults.append(SettingFault(name=None, message=fault))
            return
        self.file = None


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
