"""Tables fit the width they are given: what gives way, in which order, and what never does."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.cli.columns import Column
from syncer.cli.layout import NARROW, Cell, Cells, Line, folded, grid, record, width_of
from syncer.cli.output import cut, fitted, fitted_log

FEWEST: Final = 40
"""Cells, at least, of a terminal: no id is wider."""
IDS: Final = (
    "img-yffUuxHWOqcxRe4kaICAvOAfd",
    "FRA-A",
    "東京-1",
    "e\u0301" * 5,
    "a b",
    "20.04.2019010-and-longer-than-many",
)
"""Among them wide letters, and those that take no cell of their own."""
TEXTS: Final = (
    *IDS,
    "Ubuntu Server 24.04 LTS x86 64-bit",
    "東京の画像" * 9,
    "no " * 70 + "end",
    "x" * 300,
)
FILLED: Final = {
    "whole": st.sampled_from(IDS).map(lambda text: Cell(text, "red")),
    "count": st.sampled_from([0, 7, 12_000, 10**9]).map(lambda n: Cell(f"{n:,}", empty=not n)),
    "text": st.sampled_from(TEXTS).map(Cell),
    "list": st.integers(1, 9).map(
        lambda count: Cell(", ".join(2 * IDS[:count]), items=tuple(2 * IDS[:count]))
    ),
    "time": st.sampled_from(["3 h", "360 d"]).map(
        lambda age: Cell("2026-11-29 08:00Z", age=f"{age} ago")
    ),
}
"""What may stand in a column of each kind."""
HEADINGS: Final = ("ID", "WHAT CHANGED", "LAST WHOLE LOOK", "地域")


@st.composite
def tables(draw: Any) -> tuple[list[Column], list[Cells]]:
    """Columns and rows; the first column is an id."""
    kinds = ["whole", *draw(st.lists(st.sampled_from(list(FILLED)), min_size=3, max_size=7))]
    columns = [
        Column(
            name=str(at),
            heading=HEADINGS[at % len(HEADINGS)],
            kind=kind,
            title=not at or (kind == "whole" and at % 2 == 0),
            leave=draw(st.integers(0, 3)) if at else 0,
        )
        for at, kind in enumerate(kinds)
    ]
    nothing = st.just(Cell("-", empty=True))
    row = st.tuples(
        *(FILLED[kind] | nothing if at else FILLED[kind] for at, kind in enumerate(kinds))
    )
    return columns, draw(st.lists(row, min_size=1, max_size=3))


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@given(tables(), st.integers(FEWEST, 220))
@settings(max_examples=70)
def test_no_line_passes_the_width_and_no_id_is_broken(
    table: tuple[list[Column], list[Cells]], width: int
) -> None:
    """Whatever the columns, the rows and the width are; and no line ends in blanks."""
    columns, rows = table
    found = grid(columns, rows, width)
    if found is None:
        shown = [texts(list(record(columns, row, width))) for row in rows]
        heading = []
    else:
        shown = [texts([found.line(row)]) for row in rows]
        heading = texts([found.heading()])
    for line in chain(heading, *shown):
        assert width_of(line) <= width
        assert line == line.rstrip()
    whole = {at for at, column in enumerate(columns) if column.kind in {"whole", "count"}}
    if found is not None:
        whole &= {at for at, _ in found.shown}
    for row, lines in zip(rows, shown, strict=True):
        for at in whole:
            assert row[at].empty or any(row[at].text in line for line in lines)
        if found is None:
            all_of_it = "".join("".join(lines).split())
            assert all(one.empty or "".join(one.text.split()) in all_of_it for one in row)


@given(tables(), st.integers(FEWEST, 220))
@settings(max_examples=25)
def test_a_table_has_whole_headings_and_leaves_out_what_may_be_left_out(
    table: tuple[list[Column], list[Cells]], width: int
) -> None:
    """A column that stands for nothing is not shown; others only where they may be left out."""
    columns, rows = table
    found = grid(columns, rows, width)
    if found is None:
        return
    shown = {at for at, _ in found.shown}
    heading = texts([found.heading()])[0]
    for at, column in enumerate(columns):
        empty = all(row[at].empty for row in rows)
        assert (at in shown) <= (column.heading in heading)
        assert (at in shown) or empty or (column.leave and width >= NARROW)
        assert not (at in shown and empty)


@given(tables())
@settings(max_examples=12)
def test_without_a_width_nothing_is_cut(table: tuple[list[Column], list[Cells]]) -> None:
    """In a file or a pipe."""
    columns, rows = table
    found = grid(columns, rows, None)
    assert found is not None
    for row, line in zip(rows, texts([found.line(row) for row in rows]), strict=True):
        assert [] == [one.whole for one in row if not one.empty and one.whole not in line]


@given(st.sampled_from(TEXTS), st.integers(0, 6), st.integers(20, 100))
@settings(max_examples=12)
def test_a_sentence_is_broken_between_words(text: str, indent: int, width: int) -> None:
    """None of it is lost."""
    parts = list(folded(" " * indent + text, width))
    assert all(width_of(part) <= width for part in parts)
    assert "".join(text.split()) == "".join("".join(parts).split())


ROWS: Final = [
    (Cell("FRA-A"), Cell("img-yffUuxHWOqcxRe4kaICAvOAfd"),
     Cell("Ubuntu Server 24.04 LTS Minimal x86 64-bit"),
     Cell("24.04.20190108"), Cell("0", empty=True), Cell("2026-11-29 08:00Z", age="3 h ago"),
     Cell("a, b, c", items=("a", "b", "c"))),
]  # fmt: skip
COLUMNS: Final = [
    Column(name="z", heading="ZONE", title=True),
    Column(name="i", heading="IMAGE", title=True),
    Column(name="n", heading="NAME", kind="text"),
    Column(name="v", heading="VERSION", leave=2),
    Column(name="w", heading="WITHHELD", kind="count"),
    Column(name="t", heading="SEEN", kind="time", leave=1),
    Column(name="l", heading="ZONES", kind="list", leave=3, least=4),
]


@pytest.mark.parametrize(
    ("width", "name", "seen"),
    [
        (140, "Ubuntu Server 24.04 LTS Minimal x86 64-bit", "2026-11-29 08:00Z, 3 h ago"),
        (124, "Ubuntu Server 24.04 LTS Minimal…", "2026-11-29 08:00Z, 3 h ago"),
        (119, "Ubuntu Server 24.04 LTS Minimal x86…", "2026-11-29 08:00Z"),
    ],
)
def test_the_ends_of_long_texts_give_way_then_ages(width: int, name: str, seen: str) -> None:
    found = grid(COLUMNS, ROWS, width)
    assert found is not None
    cells = ["FRA-A", "img-yffUuxHWOqcxRe4kaICAvOAfd", name, "24.04.20190108", seen, "a, b, c"]
    assert cells == re.split(r"\s{2,}", texts([found.line(ROWS[0])])[0])


def test_a_narrow_terminal_shows_records() -> None:
    """All of a row, under what identifies it."""
    assert None is grid(COLUMNS, ROWS, 80)
    assert [
        "FRA-A  img-yffUuxHWOqcxRe4kaICAvOAfd",
        "  name: Ubuntu Server 24.04 LTS Minimal x86 64-bit  version: 24.04.20190108",
        "  seen: 2026-11-29 08:00Z, 3 h ago  zones: a, b, c",
    ] == texts(list(record(COLUMNS, ROWS[0], 80)))


ADVICE: Final = (
    "Look there with 'syncer images --withheld --zone FRA-A', or not: 東京 is as wide as that"
)


@pytest.mark.parametrize("width", [60, 80])
def test_what_is_said_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is broken between words and loses none; a command that is to be copied is not broken."""
    monkeypatch.setenv("COLUMNS", str(width))
    for line in (ADVICE, "a " * 200, "short", f"  {ADVICE}"):
        parts = list(fitted(line))
        assert all(width_of(part) <= width for part in parts)
        assert line.split() == " ".join(parts).split()
        assert ("syncer images --withheld --zone FRA-A" in line) == any(
            "syncer images --withheld --zone FRA-A" in part for part in parts
        )
    assert width_of("Error: " + next(fitted(ADVICE, before=7))) <= width
    command = f"  syncer approve --max 5 {'Z' * 90}"
    assert [command] == list(fitted(command))


def test_a_line_of_the_log_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours take no room; what goes on below stands under the text."""
    monkeypatch.setenv("COLUMNS", "60")
    red, plain = "\x1b[31m", "\x1b[0m"
    line = f"08:00:00 [{red}warning{plain}] zone.failed {red}advice{plain}={ADVICE} zone=FRA-A"
    first, *rest = [re.sub(r"\x1b\[\d+m", "", part) for part in fitted_log(line).split("\n")]
    assert all(part.startswith(" " * 9) and width_of(part) <= 60 for part in rest)
    assert width_of(first) <= 60
    assert line == " ".join(part.lstrip() for part in fitted_log(line).split("\n"))
    assert "short" == fitted_log("short")


def test_a_text_without_end_is_shown_in_part() -> None:
    assert "abc" == cut("abc", 3)
    assert "abc… (300,000 letters)" == cut("abc" * 100_000, 3)
