"""The columns of tables, and those that several tables share."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Kind = Literal["whole", "count", "text", "list", "time"]
"""How a column's cells give way: ``whole`` and ``count`` (a number, at the right) do not, ``text``
loses its end, ``list`` its last items, ``time`` its age."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table: the row's value of that name, under a heading."""

    name: str
    heading: str
    kind: Kind = "whole"
    title: bool = False
    """Whether it says which row it is: it begins a record."""
    leave: int = 0
    """When it is left out: 1 before 2, and so on; 0 never."""
    least: int = 16
    """Cells to which a text or a list is cut before a column is left out."""
    zero: bool = False
    """Whether zeros are as good as nothing."""
    several: bool = False
    """Whether it says something only where it has several values."""


class Headed:
    """What heads the rows that were written, where more of them follow."""

    def __init__(self) -> None:
        self.done = False
        self.grid: Any = None
        """The layout's ``Grid`` that they were written by; None for records, or before any."""


def whole(name: str, heading: str, *, title: bool = False, leave: int = 0) -> Column:
    """Return a column whose cells are never cut."""
    return Column(name=name, heading=heading, title=title, leave=leave)


def count(name: str, heading: str, *, leave: int = 0, zero: bool = False) -> Column:
    """Return a column of numbers."""
    return Column(name=name, heading=heading, kind="count", leave=leave, zero=zero)


def time(name: str, heading: str, *, leave: int = 0) -> Column:
    """Return a column of times, with their age where there is room."""
    return Column(name=name, heading=heading, kind="time", leave=leave)


def text(name: str, heading: str, *, least: int = 16, leave: int = 0) -> Column:
    """Return a column of texts that lose their ends."""
    return Column(name=name, heading=heading, kind="text", least=least, leave=leave)


def listed(name: str, heading: str, *, least: int = 16, leave: int = 0) -> Column:
    """Return a column of lists that lose their last items."""
    return Column(name=name, heading=heading, kind="list", least=least, leave=leave)


ACCOUNT: Final = Column(name="account", heading="ACCOUNT", title=True, several=True)
SERVICE: Final = Column(name="service", heading="SERVICE", title=True, several=True)
ZONE: Final = whole("zone_id", "ZONE", title=True)
IMAGE: Final = whole("image_id", "IMAGE", title=True)
NAME: Final = text("image_name", "NAME")
WHICH_IMAGE: Final = (ACCOUNT, SERVICE, ZONE, IMAGE, NAME)
"""What says which image a row is of."""
KIND: Final = whole("kind", "KIND", title=True)
WHAT_CHANGED: Final = text("details", "WHAT CHANGED", least=32)
SEEN: Final = Column(name="changed_at", heading="SEEN", kind="time", title=True)
