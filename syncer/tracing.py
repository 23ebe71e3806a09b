"""Spans of a run for OpenTelemetry, where they are asked for; else nothing is done, nor loaded.

Attributes have the names of OpenTelemetry's semantic conventions where there are such, else names
that begin with ``syncer.``. The account, run, service and zone of a span are also told by every
span that begins inside of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self

from syncer.core.errors import ApiError
from syncer.core.model import Fault, ZoneRef

Value = str | int | float | bool | None
Attributes = Mapping[str, Value]
_NONE: Final[Attributes] = MappingProxyType({})
POSTGRESQL: Final[dict[str, Value]] = {"db.system.name": "postgresql"}


class Span:
    """A part of a run, from entry to exit. This one is recorded nowhere."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """An error that goes through a span is told by it."""

    def tell(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""

    def failed(self, fault: Fault | ApiError | None) -> None:
        """Say why that part of the run did not succeed, if so."""


_unrecorded: Final = Span()
_begin: Callable[[str, Attributes, bool], Span] | None = None


def span(
    name: str, attributes: Attributes | Callable[[], Attributes] = _NONE, *, remote: bool = False
) -> Span:
    """Return a span to be entered; a ``remote`` one waits for the API or PostgreSQL.

    Attributes that take work are given as what makes them, which is called if they are recorded.
    """
    if _begin is None:
        return _unrecorded
    return _begin(name, attributes() if callable(attributes) else attributes, remote)


def told_by(zone: ZoneRef) -> dict[str, Value]:
    """Return the attributes that say which zone a span is about."""
    return {"syncer.service": zone.service, "syncer.zone": zone.zone_id}


@contextlib.contextmanager
def recorded(begin: Callable[[str, Attributes, bool], Span]) -> Iterator[None]:
    """Have spans made by ``begin`` inside of this."""
    global _begin  # noqa: PLW0603  (there is one collector for the process)
    _begin = begin
    try:
        yield
    finally:
        _begin = None
