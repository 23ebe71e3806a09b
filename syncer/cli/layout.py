"""How rows fit a width: a table whose columns give way in order, or a list of records.

Pure: rows and a width come in, lines of styled parts go out. What gives way, in this order: columns
in which nothing stands; the ends of texts, while they are easy to read; ages beside times; more of
the texts; times beside their ages; columns that can be left out. What identifies a row (ids, zones,
versions, statuses) and headings are never cut. Where a table does not fit even so, or the width is
small and something would be lost, each row is a record: shown in full on lines of its own.

Widths are cells of a terminal: wide characters take two, combining marks none.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Final, Literal

import msgspec
from rich.cells import cell_len, chop_cells, split_text

from syncer.cli.columns import Column

Times = Literal["both", "time", "age"]
"""How times are shown: with how long ago that was, without, or only that."""
NARROW: Final = 90
"""Below this many cells a table must show everything, or each row is a record."""
_TIMES: Final[tuple[Times, ...]] = ("both", "time", "age")
_GAP: Final = "  "
_INDENT: Final = "  "


class Cell(msgspec.Struct, frozen=True):
    """What stands in a row's column; ``age`` of a time, ``items`` of a list."""

    text: str
    style: str = ""
    age: str = ""
    items: tuple[str, ...] = ()
    empty: bool = False

    def shown(self, times: Times) -> str:
        """Return the text; of a time also, or only, how long ago that was."""
        if not self.age or times == "time":
            return self.text
        return self.age if times == "age" else f"{self.text}, {self.age}"

    @property
    def whole(self) -> str:
        """The text and, of a time, how long ago that was."""
        return self.shown("both")


Cells = Sequence[Cell]
Line = list[tuple[str, str]]
"""Parts of a line: text and style."""


def width_of(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


class Grid(msgspec.Struct, frozen=True):
    """The columns that a table shows: index and width of each, and how times are shown."""

    columns: Sequence[Column]
    shown: tuple[tuple[int, int], ...]
    times: Times = "both"

    def covers(self, other: Grid) -> bool:
        """Return whether what would be shown by the other grid fits this one."""
        return (
            self.times == other.times
            and [at for at, _ in self.shown] == [at for at, _ in other.shown]
            and all(a >= b for (_, a), (_, b) in zip(self.shown, other.shown, strict=True))
        )

    def heading(self) -> Line:
        """Return the line of headings."""
        cells = [Cell(self.columns[at].heading, "bold") for at, _ in self.shown]
        return self._line(cells)

    def line(self, cells: Cells) -> Line:
        """Return a row's line."""
        return self._line([cells[at] for at, _ in self.shown])

    def _line(self, cells: Cells) -> Line:
        parts: Line = []
        for (at, width), cell in zip(self.shown, cells, strict=True):
            text = cut(cell, width, self.times)
            blanks = " " * (width - width_of(text))
            if self.columns[at].kind == "count":
                parts += [(blanks, ""), (text, cell.style)]
            else:
                parts += [(text, cell.style), (blanks, "")]
            parts.append((_GAP, ""))
        while parts and not parts[-1][0].strip():
            parts.pop()
        return parts


def cut(cell: Cell, width: int, times: Times = "both") -> str:
    """Return what is shown of a cell in a room of a width: a list loses items, a text its end."""
    text = cell.shown(times)
    if width_of(text) <= width:
        return text
    if cell.items:
        return _cut_list(cell.items, width)
    return split_text(text, max(0, width - 1))[0].rstrip() + "…"


def _cut_list(items: Sequence[str], width: int) -> str:
    """Return as many whole items as there is room for, and how many more there are."""
    for count in range(len(items) - 1, 0, -1):
        text = f"{', '.join(items[:count])} +{len(items) - count}"
        if width_of(text) <= width:
            return text
    return f"({len(items)})"


def grid(columns: Sequence[Column], rows: Sequence[Cells], width: int | None) -> Grid | None:
    """Return how rows are shown as a table of a width (None: without end).

    None where they are to be shown as records.
    """
    used = [at for at, _ in enumerate(columns) if not all(row[at].empty for row in rows)]
    if not rows:
        used = list(range(len(columns)))
    sizes = [_sizes(columns[at], [row[at] for row in rows]) for at in used]
    if width is None:
        return Grid(
            columns, tuple((at, one.times["both"]) for at, one in zip(used, sizes, strict=True))
        )
    left = dict(zip(used, sizes, strict=True))
    order = sorted((at for at in used if columns[at].leave), key=lambda at: columns[at].leave)
    while True:
        if found := _fitted(columns, left, width):
            return found
        if width < NARROW or not order:
            return None
        del left[order.pop(0)]


class _Size(msgspec.Struct, frozen=True):
    """Cells that a column takes: cut as far as may be, easy to read, in full; times, each way."""

    least: int
    easy: int
    full: int
    times: dict[Times, int]


def _sizes(column: Column, cells: Cells) -> _Size:
    heading = width_of(column.heading)
    times: dict[Times, int] = {
        how: max([heading, *(width_of(cell.shown(how)) for cell in cells)])
        for how in (_TIMES if column.kind == "time" else ("both",))
    }
    full = least = easy = times["both"]
    if column.kind in {"text", "list"}:
        least = max(heading, min(full, column.least))
        easy = max(heading, min(full, 2 * column.least))
    return _Size(least, easy, full, times)


def _fitted(columns: Sequence[Column], sizes: dict[int, _Size], width: int) -> Grid | None:
    """Return the grid of these columns, with as much as there is room for; None: none fits."""
    room = width - len(_GAP) * (len(sizes) - 1)
    narrow = width < NARROW
    for times in _TIMES:
        needed = {
            at: size.times[times]
            if columns[at].kind == "time"
            else (size.full if narrow else size.easy if times == "both" else size.least)
            for at, size in sizes.items()
        }
        spare = room - sum(needed.values())
        if spare < 0:
            continue
        texts = {at for at in sizes if columns[at].kind in {"text", "list"}}
        while spare and (cut_off := [at for at in texts if needed[at] < sizes[at].full]):
            needed[min(cut_off, key=lambda at: needed[at] / columns[at].least)] += 1
            spare -= 1
        return Grid(columns, tuple(needed.items()), times)
    return None


def record(columns: Sequence[Column], cells: Cells, width: int) -> Iterator[Line]:
    """Yield the lines of a row: what identifies it, then the rest in full, under their headings."""
    line: Line = []
    for column, cell in zip(columns, cells, strict=True):
        if column.title and not cell.empty:
            style = cell.style or ("" if cell.age else "bold")
            whole = [cell.whole]
            if column.kind == "text":
                whole = broken(cell.whole, width, width - len(_INDENT))
            for part in whole:
                line = yield from _put(line, [(part, style)], width, first="")
    yield line
    line = []
    for column, cell in zip(columns, cells, strict=True):
        if column.title or cell.empty:
            continue
        label = f"{column.heading.lower()}: "
        if width_of(label + cell.whole) <= width - len(_INDENT):
            line = yield from _put(line, [(label, "dim"), (cell.whole, cell.style)], width)
            continue
        if line:
            yield line
        alone = column.kind == "whole" and width_of(cell.whole) <= width - 2 * len(_INDENT)
        first, *rest = ["", cell.whole] if alone else _folded(cell.whole, label, width)
        yield [(_INDENT, ""), (label if first else label.rstrip(), "dim"), (first, cell.style)]
        yield from ([(_INDENT * 2, ""), (part, cell.style)] for part in rest)
        line = []
    if line:
        yield line


def _put(line: Line, parts: Line, width: int, first: str = _INDENT) -> Generator[Line, None, Line]:
    """Add parts to a line, or to a new one where they do not fit; return that line."""
    size = sum(width_of(text) for text, _ in [*line, *parts]) + len(_GAP)
    if line and size <= width:
        return [*line, (_GAP, ""), *parts]
    if line:
        yield line
        first = _INDENT
    return [(first, ""), *parts]


def folded(line: str, width: int) -> Iterator[str]:
    """Yield a line in parts that fit, those after the first indented more."""
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    after = indent + _INDENT
    first, *rest = broken(text, max(8, width - len(indent)), max(8, width - len(after)))
    yield indent + first
    yield from (after + part for part in rest)


def _folded(text: str, label: str, width: int) -> list[str]:
    """Return a text in parts that fit lines, the first behind its label."""
    room = max(8, width - len(_INDENT) - width_of(label))
    return broken(text, room, max(8, width - 2 * len(_INDENT)))


def broken(text: str, room: int, rest_room: int) -> list[str]:
    """Return a text in parts that fit so much room; broken at blanks where there are some."""
    parts = list[str]()
    while text:
        size = rest_room if parts else room
        if width_of(text) <= size:
            parts.append(text)
            break
        head = split_text(text, size)[0].rstrip()
        at = head.rfind(" ")
        head = head[:at] if at > size // 2 else head
        head = head or chop_cells(text, size)[0]
        parts.append(head)
        text = text[len(head) :].lstrip()
    return parts or [""]
