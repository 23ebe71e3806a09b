"""The bar of ``sync``: pages, rate and time left; lines of the log are written above it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from syncer.core.model import NOT_READ
from syncer.core.moment import age
from syncer.store.results import Written

_ENOUGH = 3
"""Pages after which a rate says something."""
_LONG = 2.0
"""Seconds without a page after which the rate says nothing."""
_WIDE = 100
"""Columns of a terminal with room for a long bar."""


class Bar:
    """Shows on stderr how far runs are, all together."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("listing zones", total=None, zones="", last=time.monotonic())
        self._zones = self._done = self._failed = self._pages = 0

    def planned(self, zones: int, pages: int) -> None:
        """Add zones and pages to those that will be read."""
        self._zones += zones
        self._pages += pages
        self._update("reading")

    def expect(self, pages: int) -> None:
        """Correct how many pages there are."""
        self._pages += pages
        self._update()

    def page(self) -> None:
        """Count a page as read."""
        self._bars.update(self._task, advance=1, last=time.monotonic())

    def done(self, written: Written) -> None:
        """Count a zone as done."""
        if written.fault is not None and written.fault.code in NOT_READ:
            return  # that it was not read is said at the end
        self._done += 1
        self._failed += written.undone
        self._update()

    def asking(self) -> None:
        """Show that images are asked for by id."""
        self._update("asking by id")

    def _update(self, doing: str | None = None) -> None:
        zones = f"{self._done:,}/{self._zones:,} zones"
        if self._failed:
            zones += f", {self._failed:,} failed"
        self._bars.update(self._task, total=self._pages, zones=zones, description=doing)


class _Pace(ProgressColumn):
    """How many pages were read, how fast, and how long it will take yet."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text(age(task.elapsed or 0.0), style="dim")
        text = f"{task.completed:,.0f}/{task.total:,.0f} pages"
        waited = time.monotonic() - task.fields["last"]
        if waited >= _LONG and not task.finished:
            text += f", no answer for {age(waited)}"
        elif task.elapsed and task.completed >= _ENOUGH:
            rate = task.completed / task.elapsed
            text += f", {rate:,.0f}/s" if rate >= _ENOUGH else f", {rate:.1f}/s"
            if task.total > task.completed:
                text += f", {age((task.total - task.completed) / rate)} left"
        return Text(text)


@contextmanager
def opened() -> Iterator[Bar]:
    """Show the bar, until the end; nothing is left of it."""
    console = Console(stderr=True)
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20 if console.width >= _WIDE else 8),
        TextColumn("{task.fields[zones]}"),
        _Pace(),
        console=console,
        transient=True,
    ) as bars:
        yield Bar(bars)
