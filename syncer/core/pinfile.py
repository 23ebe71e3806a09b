"""Pins from a file: CSV with a header, JSON lines, or a JSON array.

What ``syncer images`` prints is such a file: columns that are not known are passed over. So is what
people write by hand and what spreadsheets save: the header says what separates the columns, blanks
round a cell count only where it is quoted, and empty cells at the end of a row are no cells.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from syncer.core import jsontext
from syncer.core.errors import ConfigError
from syncer.core.model import ALL_TRACKED
from syncer.core.normalise import size_key, text
from syncer.core.pins import Pin

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_FAULTS: Final = 10
_KEY: Final = ("account", "service", "zone_id", "image_id")
_NEEDED: Final = ("zone_id", "image_id")
_READ: Final = (*_KEY, *ALL_TRACKED)
_WHERE: Final = "a CSV header or JSON lines with zone_id and image_id are needed"
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BLANKS: Final = " \t\xa0"
"""They count where a cell of CSV is quoted only."""
_LINE_END: Final = re.compile("\r\n?|\n")

Key = tuple[str | None, str | None, str, str]
Values = Mapping[str, Any]


class _Faults:
    """Collects what is wrong with a file, so that all of it is shown at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.more = 0

    def add(self, line: int, fault: str) -> None:
        if len(self.lines) < MAX_FAULTS:
            self.lines.append(f"line {line}: {fault}")
        else:
            self.more += 1

    def error(self, name: str) -> ConfigError:
        more = [f"{name}: and {self.more:,} more"] if self.more else []
        return ConfigError(*(f"{name}: {fault}" for fault in self.lines), *more)


def parse(body: bytes, name: str) -> list[Pin]:
    """Return the pins of a file, each once. Raises ConfigError with every fault and its line."""
    if len(body) > MAX_BYTES:
        raise ConfigError(f"{name}: larger than {MAX_BYTES >> 20} MiB")
    content = _decoded(body, name)
    first = content.lstrip()[:1]
    if not first:
        raise ConfigError(f"{name}: the file is empty; {_WHERE}")
    faults = _Faults()
    read = {"{": _json_lines, "[": _json_array}.get(first, _csv)
    pins = _pins(read(content, faults), faults)
    if faults.lines:
        raise faults.error(name)
    if not pins:
        raise ConfigError(f"{name}: there is no pin in it")
    return pins


def _decoded(body: bytes, name: str) -> str:
    """Return the text of a file: UTF-8, or UTF-16 as spreadsheets write it."""
    encoding = "utf-8-sig"
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in body[:2]:  # of no file with a header, or JSON, in UTF-8
        encoding = "utf-16-be" if body[:1] == b"\0" else "utf-16-le"
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        fault = f"{name}: line {line}: not UTF-8 ({error.reason}): save the file as UTF-8"
        raise ConfigError(fault) from None


def _csv(content: str, faults: _Faults) -> Iterator[tuple[int, Values]]:
    separator = _separator(content)
    header: list[str] | None = None
    by = "" if separator == "," else f" (separated by {_SEPARATORS[separator]})"
    for line, row in _rows(content, separator):
        if row is None:
            faults.add(line, "not CSV (a quote is not closed, or text follows it)")
            return
        if not any(row):
            continue
        if header is None:
            header = [cell.strip() for cell in row]
            wrong = _header_faults(header, by)
            for fault in wrong:
                faults.add(line, fault)
            if wrong:
                return
            continue
        cells = _fitted(row, header)
        if len(cells) != len(header):
            faults.add(line, f"{len(cells)} cells, but the header has {len(header)}{by}")
        else:
            # An empty cell may be null or an empty text: it is not compared.
            yield line, {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _separator(content: str) -> str:
    """Return what separates the columns of the header: by it the needed names stand alone."""

    def fit(separator: str) -> tuple[int, int]:
        header = next((row for _, row in _rows(content, separator) if row != [""]), None) or []
        names = {cell.strip() for cell in header}
        return len(names.intersection(_NEEDED)), len(header)

    return max(_SEPARATORS, key=fit)


def _rows(content: str, separator: str) -> Iterator[tuple[int, list[str] | None]]:
    """Yield each row with the line on which it begins; None, the last, is no CSV.

    A quoted cell is as it was written, any other without the blanks round it.
    """
    blank, between = BLANKS.replace(separator, ""), re.escape(separator)
    cell = re.compile(
        rf'[{blank}]*+"((?:[^"]++|"")*+)"[{blank}]*+(?={between}|[\r\n]|\Z)|([^{between}\r\n]*+)'
    )
    line = first = 1
    position = 0
    row: list[str] = []
    while found := cell.match(content, position):
        quoted, plain = found.groups()
        if quoted is None:
            row.append(plain.strip(blank))
            if row[-1].startswith('"'):
                yield line, None
                return
        else:
            row.append(quoted.replace('""', '"'))
            line += len(_LINE_END.findall(quoted))
        position = found.end()
        if content.startswith(separator, position):
            position += len(separator)
            continue
        yield first, row
        if (end := _LINE_END.match(content, position)) is None:
            return
        position, row = end.end(), []
        line += 1
        first = line


def _fitted(row: list[str], header: Sequence[str]) -> list[str]:
    """Return a row without the empty cells behind the header's, with those of unnamed columns."""
    cells = list(row)
    while len(cells) > len(header) and not cells[-1]:
        cells.pop()
    return cells + [""] * (0 if any(header[len(cells) :]) else len(header) - len(cells))


def _header_faults(header: Sequence[str], by: str) -> list[str]:
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        return [f"no column {' and no column '.join(missing)}{by}: {_WHERE}"]
    twice = [name for name in _READ if header.count(name) > 1]
    return [f"column {name} is there twice" for name in twice]


def _json_lines(content: str, faults: _Faults) -> Iterator[tuple[int, Values]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            value = _decoder.decode(line)
        except (ValueError, RecursionError) as error:
            faults.add(number, f"not JSON ({_said(error)})")
            continue
        yield number, value


def _json_array(content: str, faults: _Faults) -> Iterator[tuple[int, Values]]:
    """Read one element at a time, to know its line."""
    position = _after_space(content, 0) + 1
    line, counted = 1, 0
    try:
        while True:
            position = _after_space(content, position)
            line += content.count("\n", counted, position)
            counted = position
            if content[position : position + 1] == "]":
                break
            value, position = _decoder.raw_decode(content, position)
            yield line, value
            position = _after_space(content, position)
            if content[position : position + 1] != ",":
                break
            position += 1
        if content[position : position + 1] != "]":
            raise ValueError("a comma or ] is missing after this")  # noqa: TRY301
        if content[position + 1 :].strip():
            raise ValueError("there is more after the array")  # noqa: TRY301
    except (ValueError, RecursionError) as error:
        faults.add(line, f"not JSON ({_said(error)})")


def _after_space(content: str, position: int) -> int:
    while content[position : position + 1].isspace():
        position += 1
    return position


def _said(error: Exception) -> str:
    return getattr(error, "msg", "") or str(error)


def _refuse(literal: str) -> Any:  # noqa: ANN401
    raise ValueError(f"{literal} is not JSON")


_decoder: Final = json.JSONDecoder(parse_float=jsontext.number, parse_constant=_refuse)


def _pins(rows: Iterable[tuple[int, Values]], faults: _Faults) -> list[Pin]:
    """Return each pin once; what several lines expect of the same image is put together."""
    found: dict[Key, tuple[int, Pin]] = {}
    for line, row in rows:
        pin, wrong = _pin(row)
        for fault in wrong:
            faults.add(line, fault)
        if pin is None:
            continue
        key = (pin.account, pin.service, pin.zone_id, pin.image_id)
        before, known = found.setdefault(key, (line, pin))
        for name, value in pin.expected.items():
            if _compared(name, known.expected.setdefault(name, value)) != _compared(name, value):
                faults.add(line, f"{name} contradicts what is said of this image in line {before}")
    return [pin for _, pin in found.values()]


def _compared(name: str, value: str | None) -> str | None:
    return size_key(value) if name == "image_size" else value


def _pin(row: Values) -> tuple[Pin | None, list[str]]:
    if not isinstance(row, dict):
        return None, ["not a JSON object"]
    wrong = [f"{name} must be text" for name in _READ if isinstance(row.get(name), dict | list)]
    read = {name: text(row[name]) for name in _READ if row.get(name) is not None}
    read = {name: value for name, value in read.items() if value or name in ALL_TRACKED}
    wrong += [f"{name} is missing" for name in _NEEDED if not read.get(name)]
    if wrong:
        return None, wrong
    expected = {name: read[name] for name in ALL_TRACKED if name in read}
    return msgspec.convert({**read, "expected": expected}, Pin), []
