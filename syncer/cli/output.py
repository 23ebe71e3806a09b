"""Rows as a table, JSON, newline-delimited JSON or CSV. Keys are the columns of the views."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from syncer import files
from syncer.core.errors import OutputFailed
from syncer.core.normalise import printable
from syncer.core.pinfile import BLANKS

Row = Mapping[str, Any]
FORMATS: Final = ("table", "json", "ndjson", "csv", "csv-safe")
_json: Final = msgspec.json.Encoder(decimal_format="number")
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet may take for a formula, and so for a command.

Source: owasp.org/www-community/attacks/CSV_Injection. Spaces before it do not help everywhere."""


def default_format() -> str:
    """Return ``table`` on a terminal, else ``ndjson``."""
    return "table" if sys.stdout.isatty() else "ndjson"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for its owner alone that takes its place when it is whole. Raises OutputFailed.

    What is not a file is left alone. An error of who writes the file is not the file's.
    """
    theirs: OSError | None = None
    try:
        with files.replacing(path, mode=0o600) as file:
            try:
                yield file
            except OSError as error:
                theirs = error
                raise
    except OSError as error:
        if error is theirs:
            raise
        raise OutputFailed(f"{path} cannot be written: {error.strerror}") from error


class Json(str):
    """The text of a jsonb column, to be shown as the value it is."""

    __slots__ = ()


def plain(value: Any) -> Any:  # noqa: ANN401  (whatever a column holds)
    """Return a column's value as JSON carries it: times ISO 8601 with offset, bytes as hex."""
    if isinstance(value, Json):
        return msgspec.Raw(value.encode())
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


async def each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """Yield rows that are at hand already."""
    for row in rows:
        yield row


async def write(
    rows: AsyncIterable[Row],
    columns: Sequence[str],
    output: str | None,
    *,
    table: Mapping[str, str],
    empty: str,
    header: bool = True,
) -> int:
    """Write the rows to stdout and return how many there were.

    ``table`` gives the columns of the table and their headings, ``empty`` what a person reads
    when there are none; without ``header`` the rows go on from those written before.
    """
    output = output or default_format()
    if output == "table":
        return await _table(rows, table, empty, header=header)
    if output in {"csv", "csv-safe"}:
        return await _csv(rows, columns, header=header, safe=output == "csv-safe")
    return await _lines(rows, columns, array=output == "json")


async def _lines(rows: AsyncIterable[Row], columns: Sequence[str], *, array: bool) -> int:
    out: IO[bytes] = sys.stdout.buffer
    seen = sys.stdout.isatty()
    count = 0
    async for row in rows:
        if array:
            out.write(b",\n" if count else b"[")
        line = _json.encode({name: plain(row[name]) for name in columns})
        out.write(_escaped(line.decode()).encode() if seen else line)
        if not array:
            out.write(b"\n")
        count += 1
    if array:
        out.write(b"]\n" if count else b"[]\n")
    out.flush()
    return count


async def _csv(
    rows: AsyncIterable[Row], columns: Sequence[str], *, header: bool, safe: bool
) -> int:
    """Write CSV that a program reads back as it was, or (``safe``) that is text to a spreadsheet.

    Numbers are numbers to both.
    """
    plain = csv.writer(sys.stdout, lineterminator="\n")
    quoting = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    seen = sys.stdout.isatty()
    if header:
        (quoting if safe else plain).writerow(columns)
    count = 0
    async for row in rows:
        cells = [_cell(row[name]) for name in columns]
        if safe:
            cells = [_text_cell(cell) for cell in cells]
        if seen:
            cells = [_printable_cell(cell) for cell in cells]
        # Readers take a lone \r for the end of a line, and blanks round a cell for nothing, where
        # it is not quoted: the plain one does not.
        bare = any(isinstance(c, str) and ("\r" in c or c != c.strip(BLANKS)) for c in cells)
        (quoting if safe or bare else plain).writerow(cells)
        count += 1
    sys.stdout.flush()
    return count


def _escaped(text: str) -> str:
    """Return JSON that says the same in characters that steer no terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _text_cell(value: Any) -> Any:  # noqa: ANN401
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _printable_cell(value: Any) -> Any:  # noqa: ANN401
    return printable(value) if isinstance(value, str) else value


def _cell(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list | dict):
        return _json.encode(value).decode()
    return str(value) if isinstance(value, Json) else plain(value)


async def _table(
    rows: AsyncIterable[Row], columns: Mapping[str, str], empty: str, *, header: bool
) -> int:
    from rich.console import Console  # noqa: PLC0415  (start-up: only for people)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    # An id must stay in one piece to be copied; a narrow terminal wraps the lines itself.
    console = Console()
    console.width = max(console.width, _MIN_WIDTH)
    grid = Table(
        show_header=header, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for name, heading in columns.items():
        grid.add_column(
            heading,
            justify="right" if name in _NUMERIC else "left",
            overflow="fold",
            no_wrap=name in _WHOLE or name.endswith("_at"),
        )
    count, timed = 0, False
    async for row in rows:
        grid.add_row(*(Text(_shown(row[name]), style=_style(name, row[name])) for name in columns))
        timed = timed or any(isinstance(row[name], datetime) for name in columns)
        count += 1
    if count or empty:
        console.print(grid if count else Text(empty))
    if timed and header and console.is_terminal:
        console.print(Text("Times are UTC.", style="dim"))
    return count


_MIN_WIDTH: Final = 120
_WHOLE: Final = frozenset({"image_id", "zone_id", "service", "kind", "status", "presence"})
_NUMERIC: Final = frozenset(
    {
        "run_id",
        "change_id",
        "zones",
        "images",
        "appeared",
        "changed",
        "removed",
        "returned",
        "withheld",
        "calls",
        "image_size_gib",
        "present_images",
        "withheld_removals",
        "approved_removals",
        "offered",
        "pages",
    }
)
_STYLES: Final = {
    "present": "",
    "absent": "red",
    "unknown": "yellow",
    "appeared": "green",
    "returned": "green",
    "changed": "yellow",
    "removed": "red",
    "succeeded": "green",
    "partial": "yellow",
    "failed": "red",
    "crashed": "red",
    "incomplete": "yellow",
    "guarded": "magenta",
    "withheld": "magenta",
    "gone": "yellow",
}


def _style(name: str, value: Any) -> str:  # noqa: ANN401
    if name in {"presence", "kind", "status", "last_status"}:
        return _STYLES.get(str(value), "")
    return ""


def _shown(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}Z"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "-"
    if isinstance(value, Decimal):
        value = format(value.normalize(), "f")
    return printable(str(value))
