"""How far a run is, for whoever watches it: pages of zones, and what is done at present."""

from __future__ import annotations

from typing import Protocol

from syncer.store.results import Written


class Progress(Protocol):
    """Shows how far runs are. Pages are known better and better while zones are read."""

    def planned(self, zones: int, pages: int) -> None:
        """More zones will be read, with about as many pages."""

    def expect(self, pages: int) -> None:
        """There are more pages than were expected, or fewer (negative)."""

    def page(self) -> None:
        """A page was read."""

    def done(self, written: Written) -> None:
        """A zone is done."""

    def asking(self) -> None:
        """What was not listed is asked for by id."""


class ZoneProgress:
    """The part of one zone in the progress of its run."""

    def __init__(self, progress: Progress | None, expected: int) -> None:
        self._progress = progress
        self._expected = expected
        self._asked = 0
        self._read = 0

    def asks(self, pages: int) -> None:
        """More pages are asked for; but for the first, they are known to be all."""
        first = not self._asked
        self._asked += pages
        if not first:
            self._expect(self._asked)

    def page(self) -> None:
        """A page was read."""
        self._read += 1
        if self._progress:
            self._progress.page()

    def end(self) -> None:
        """No more pages will be read."""
        self._expect(self._read)

    def _expect(self, pages: int) -> None:
        if self._progress and pages != self._expected:
            self._progress.expect(pages - self._expected)
        self._expected = pages
