"""Spans of a run for OpenTelemetry, where they are asked for; else nothing is done, nor loaded.

Attributes have the names of OpenTelemetry's semantic conventions where there are such, else names
that begin with ``syncer.``. A span has the account, run, service and zone of the span around it.

There is one collector for the process (OpenTelemetry's variables name one), so what records spans
is process-wide; which span is around another is not: runs side by side are separate trees.
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
        """End the span; an error that passes through is recorded as its fault."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""

    def set_fault(self, fault: Fault | ApiError | None) -> None:
        """Record why this part of the run did not succeed (None: it did)."""


_unrecorded: Final = Span()
_begin: Callable[[str, Attributes, bool], Span] | None = None


def span(
    name: str, attributes: Attributes | Callable[[], Attributes] = _NONE, *, remote: bool = False
) -> Span:
    """Return a span to be entered; a ``remote`` one waits for the API or PostgreSQL.

    Attributes that are costly are given as a function, which is called only if spans are recorded.
    """
    if _begin is None:
        return _unrecorded
    return _begin(name, attributes() if callable(attributes) else attributes, remote)


def zone_attributes(zone: ZoneRef) -> dict[str, Value]:
    """Return the attributes of a span that is about a zone."""
    return {"syncer.service": zone.service, "syncer.zone": zone.zone_id}


@contextlib.contextmanager
def recorded(begin: Callable[[str, Attributes, bool], Span]) -> Iterator[None]:
    """Record every span that is made within, by ``begin(name, attributes, remote)``."""
    global _begin  # noqa: PLW0603  (one collector for the process, see above)
    before, _begin = _begin, begin
    try:
        yield
    finally:
        _begin = before
