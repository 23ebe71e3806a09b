"""Rows that no document shows, and that a server may send all the same."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

Row = dict[str, Any]
_HUGE: Final = 5_000_000
_LONG: Final = 3_000
_DEEP: Final = 600
_NESTED: Final = 40


def _nested(depth: int) -> object:
    found: object = "bottom"
    for _ in range(depth):
        found = [found]
    return found


def _texts(row: Row, name: str) -> list[str]:
    return [key for key, value in row.items() if key != name and isinstance(value, str)]


def _in_texts(change: Callable[[str], object]) -> Callable[[Row, str], list[object]]:
    return lambda row, name: [row | {key: change(row[key]) for key in _texts(row, name)}]


def _with_id(value: object) -> Callable[[Row, str], list[object]]:
    return lambda row, name: [row | {name: value}]


def _long(text: str) -> str:
    """Return a text of 100,000 letters that nothing makes shorter."""
    return "".join(sha256(f"{text}{n}".encode()).hexdigest() for n in range(_HUGE // 3_200))


_UNKNOWN = {
    "imageStatus": "HIBERNATING",
    "osType": "plan9",
    "releasedAt": "2031-01-01",
    "sizes": [1, 2.5, {"unit": "GiB"}],
    "\ud800 \x00 key": "\x00",
}

HOSTILE: Final[dict[str, Callable[[Row, str], list[object]]]] = {
    "nul": _in_texts(lambda text: f"\x00{text}\x00"),
    "surrogate": _in_texts(lambda text: f"{text}\ud800"),
    "huge": lambda row, _name: [row | {"imageDescription": "x" * _HUGE}],
    "long": _in_texts(_long),
    "numbers": _in_texts(lambda text: len(text) / 2),
    "booleans": _in_texts(lambda text: len(text) % 2 == 0),
    "lists": _in_texts(lambda text: [text, {"in": text}]),
    "unknown": lambda row, _name: [row | _UNKNOWN],
    "missing": lambda row, name: [{name: row[name]}],
    "no_id": lambda row, name: [{key: row[key] for key in row if key != name}],
    "null_id": _with_id(None),
    "empty_id": _with_id(""),
    "number_id": _with_id(17),
    "long_id": _with_id("x" * _LONG),
    "repeated_id": lambda row, _name: [row, row | {"imageName": "another", "zoneName": "another"}],
    "not_objects": lambda _row, _name: ["text", 7, None, [], True],
    "sql": _in_texts(lambda text: f"{text}'); drop schema syncer_store cascade; --"),
    "nesting": lambda row, _name: [row | {"nested": _nested(_NESTED)}],
    "deep": lambda row, _name: [row | {"nested": _nested(_DEEP)}],
    "escapes": _in_texts(lambda text: f"\x1b[31m\x1b]0;owned\x07{text}\u202e\u2028\r\n\x9b"),
}
"""What becomes of a row, by name; the second argument is what its id is called."""

WORDS: Final = (*HOSTILE, "all")


def make_hostile(row: object, name: str, what: str) -> list[object]:
    """Return the rows sent in place of a row; ``all`` is each kind in turn."""
    if not isinstance(row, dict) or name not in row:
        return [row]
    if what != "all":
        return HOSTILE[what](row, name)
    rows: list[object] = []
    for number, kind in enumerate(HOSTILE.values()):
        rows += kind(row | {name: f"{row[name]}-{number}"}, name)
    return rows
