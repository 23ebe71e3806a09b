"""Rows as a table, JSON, newline-delimited JSON or CSV. Keys are the columns of the views."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click
import msgspec

from syncer import files
from syncer.cli.columns import Column, Headed
from syncer.core.errors import OutputFailed
from syncer.core.moment import ago
from syncer.core.normalise import printable
from syncer.core.pinfile import BLANKS

if TYPE_CHECKING:
    from syncer.cli.layout import Cell

Row = Mapping[str, Any]
FORMATS: Final = ("table", "json", "ndjson", "csv", "csv-safe")
_json: Final = msgspec.json.Encoder(decimal_format="number")
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet may take for a formula, and so for a command.

Source: owasp.org/www-community/attacks/CSV_Injection. Spaces before it do not help everywhere."""


def is_table(output: str | None) -> bool:
    """Whether a format is the table, as none is on a terminal; elsewhere that is ``ndjson``."""
    return output == "table" or (output is None and sys.stdout.isatty())


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
    table: Sequence[Column] = (),
    empty: str = "",
    headed: Headed | None = None,
    paged: bool = True,
    now: datetime | None = None,
) -> int:
    """Write the rows to stdout and return how many there were.

    ``table`` are the columns of the table, ``empty`` what a person reads when there are no rows;
    ``headed`` is given where rows go on from those written before. On a terminal a table that is
    longer than the screen is ``paged``. Ages are counted until ``now`` (None: by this machine).
    """
    headed = headed or Headed()
    if is_table(output):
        return await _table(rows, table, empty, headed=headed, paged=paged, now=now)
    if output in {"csv", "csv-safe"}:
        count = await _csv(rows, columns, header=not headed.done, safe=output == "csv-safe")
        headed.done = True
        return count
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


def show_text(text: str, *, err: bool = False) -> None:
    """Print lines; on a terminal, those that are too long are broken between words."""
    lines = text.splitlines()
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        lines = [part for line in lines for part in fitted(line)]
    for line in lines:
        click.echo(printable(line), err=err)


def fitted(line: str, *, before: int = 0) -> Iterator[str]:
    """Yield a line in parts that fit the terminal; ``before`` cells of the first are taken.

    A command stays as it is, to be copied: it is broken nowhere if it fits a line, or is one.
    """
    width = shutil.get_terminal_size().columns
    if len(line) + before <= width and line.isascii():
        yield line
        return
    from syncer.cli.layout import folded  # noqa: PLC0415  (start-up: rich is for people)

    if line.lstrip().startswith("syncer "):
        yield line
        return
    first, *rest = folded(_with_whole_commands(f"{'':{before}}{line}"), width)
    for part in (first[before:], *rest):
        yield part.replace(_KEPT, " ")


def fitted_log(line: str) -> str:
    """Return a line of the log in lines that fit the terminal; colours take no room."""
    width = shutil.get_terminal_size().columns
    if len(line) <= width and line.isascii():
        return line
    from syncer.cli.layout import width_of  # noqa: PLC0415  (start-up: rich is for people)

    lines, size = [""], 0
    for word in _with_whole_commands(line).split(" "):
        room = width_of(_SGR.sub("", word))
        if size and size + 1 + room > width:
            lines.append(_AFTER_TIME + word)
            size = len(_AFTER_TIME) + room
        else:
            lines[-1] += f" {word}" if lines[-1] else word
            size += room + (size > 0)
    return "\n".join(lines).replace(_KEPT, " ")


def _with_whole_commands(line: str) -> str:
    """Return a line with ``_KEPT`` for the blanks of the commands in it."""
    return _COMMAND.sub(lambda found: found[0].replace(" ", _KEPT), line)


_SGR: Final = re.compile(r"\x1b\[[0-9;]*m")
_AFTER_TIME: Final = " " * len("08:00:00 ")
_COMMAND: Final = re.compile(r"(?<=')syncer [^']*(?=')")
_KEPT: Final = "\ue000"
"""Stands for a blank at which a line is not broken."""


async def _table(
    rows: AsyncIterable[Row],
    columns: Sequence[Column],
    empty: str,
    *,
    headed: Headed,
    paged: bool,
    now: datetime | None,
) -> int:
    """Write rows as a table that fits the terminal, or as records; elsewhere it has no end.

    Some rows at a time: where later ones need more room than the first, they get headings anew.
    """
    from syncer.cli import screen  # noqa: PLC0415  (start-up: rich is for people)

    at = now or datetime.now(UTC)
    count = 0
    with screen.opened(paged=paged) as shown:
        async for some in _batches(rows, _LOOKED_AHEAD):
            shown.table(columns, [[_shown(c, row, at) for c in columns] for row in some], headed)
            count += len(some)
        if not count and empty:
            shown.line([(empty, "")])
    return count


async def _batches(rows: AsyncIterable[Row], size: int) -> AsyncIterator[list[Row]]:
    batch = list[Row]()
    async for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


_LOOKED_AHEAD: Final = 2000
"""Rows from which the widths of columns are found."""
_STYLES: Final = {
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
_STATES: Final = frozenset({"presence", "kind", "status", "last"})


_CELL, _ITEM = 600, 100
"""Letters, at most, that people are shown of a text, and of each of several: programs get all."""


def cut(text: str, most: int) -> str:
    """Return a text for people: of one that is very long the beginning, and how long it is."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} letters)"


def _shown(column: Column, row: Row, now: datetime) -> Cell:
    """Return a value as people read it."""
    from syncer.cli.layout import Cell  # noqa: PLC0415  (start-up: rich is for people)

    value = row[column.name]
    if value is None or value in ([], (), ""):
        return Cell("-", "dim", empty=True)
    if isinstance(value, datetime):
        return Cell(f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z", age=ago(value, now))
    if isinstance(value, list | tuple):
        items = tuple(printable(cut(str(item), _ITEM)) for item in value)
        return Cell(", ".join(items), items=items)
    if isinstance(value, Decimal):
        value = format(value.normalize(), "f")
    if column.kind == "count" and isinstance(value, int):
        return Cell(f"{value:,}", "" if value else "dim", empty=column.zero and not value)
    text = str(value)
    text = printable(text if column.title else cut(text, _CELL))
    return Cell(text, _STYLES.get(text, "") if column.name in _STATES else "")
