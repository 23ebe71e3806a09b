"""One zone's images, and how they are written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from syncer.simulator.catalogues import catalogue_of


def render_rows(rows: Iterable[object]) -> bytes:
    """Write rows as a JSON array.

    Lone surrogates, NaN and numbers of any length are written too, since a test of a client
    wants to send them.
    """
    return b"[" + b",".join(map(_render, rows)) + b"]"


def _render(row: object) -> bytes:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry only as an escape
        return json.dumps(row, separators=(",", ":")).encode()


class SimulatedZone:
    """A zone, its images (made when first needed) and its pages as they were last rendered."""

    __slots__ = ("_count", "_made", "_rows", "hidden", "pages", "removed", "row")

    def __init__(self, row: dict[str, Any], made: tuple[int, str, str], count: int) -> None:
        self.row = row
        self.hidden = False
        self.removed: dict[str, Any] = {}
        self.pages: dict[tuple[int, int], bytes] = {}
        self._made = made  # how untouched rows are made: seed, service, zone id
        self._count: int | None = count  # how many; None once the rows were touched
        self._rows: dict[str, Any] | None = None

    @property
    def rows(self) -> dict[str, Any]:
        """Images by key, to be read only; ``touch`` gives them for changing."""
        if self._rows is None:
            self._rows = catalogue_of(self._made[1]).image_rows(*self._made, self._count or 0)
        return self._rows

    def touch(self) -> dict[str, Any]:
        """Return the rows for changing them; what was rendered of them is forgotten."""
        rows = self.rows
        self._count = None
        self.pages.clear()
        return rows

    def __len__(self) -> int:
        return len(self.rows) if self._count is None else self._count

    def page(self, number: int, size: int) -> bytes:
        """Return one page as a JSON array."""
        if (found := self.pages.get((number, size))) is None:
            rows = list(self.rows.values())[(number - 1) * size : number * size]
            # Untouched rows hold nothing that the fast encoder would refuse or write differently.
            found = render_rows(rows) if self._count is None else msgspec.json.encode(rows)
            self.pages[number, size] = found
        return found

    def prerender(self, size: int) -> int:
        """Render all pages and return how many bytes are held."""
        rows = list(self.rows.values())
        for start in range(0, max(len(rows), 1), size):
            part = rows[start : start + size]
            encoded = render_rows(part) if self._count is None else msgspec.json.encode(part)
            self.pages[start // size + 1, size] = encoded
        if self._count is not None:
            self._rows = None  # they can be made again, and a million of them weigh a lot
        return sum(map(len, self.pages.values()))
