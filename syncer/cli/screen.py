"""Where tables go: to stdout; on a terminal whose screen they do not fit, to a pager."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

import click
from rich.console import Console

from syncer.cli.columns import Column, Headed
from syncer.cli.layout import Cells, Grid, Line, grid, record
from syncer.config.machine import let_less_show_colours


@contextlib.contextmanager
def opened(*, paged: bool = True) -> Iterator[Screen]:
    """Open what lines go to; what is left of them is written at the end."""
    with contextlib.ExitStack() as stack:
        screen = Screen(stack, paged=paged and sys.stdin.isatty() and sys.stdout.isatty())
        try:
            yield screen
        finally:
            screen.finish()


class Screen:
    """Writes lines. Those of the first screen wait until it is known whether they are all."""

    def __init__(self, stack: contextlib.ExitStack, *, paged: bool) -> None:
        console = Console()
        self._coloured = console.is_terminal and console.color_system is not None
        self._colours = self._coloured and not console.no_color
        width, height = shutil.get_terminal_size()
        self.width = width if sys.stdout.isatty() else None
        self._encoding = sys.stdout.encoding or "utf-8"
        self._stack = stack
        self._wait = height - 1 if paged else 0
        self._held = list[str]()
        self._out: TextIO | None = None if paged else sys.stdout

    def table(self, columns: Sequence[Column], rows: Sequence[Cells], headed: Headed) -> None:
        """Write rows under headings, if those they are under do not fit; else as records."""
        records = headed.done and headed.grid is None
        found = None if records else grid(columns, rows, self.width)
        before: Grid | None = headed.grid
        headed.grid = found
        if found is None:
            for row in rows:
                for line in record(columns, row, self.width or 0):
                    self.line(line)
        else:
            self._under_headings(found, before, rows, headed)
        headed.done = True

    def _under_headings(
        self, found: Grid, before: Grid | None, rows: Sequence[Cells], headed: Headed
    ) -> None:
        if before is not None and before.covers(found):
            headed.grid = found = before
        else:
            if before is not None:
                self.line([])
            self.line(found.heading())
        for row in rows:
            self.line(found.line(row))

    @property
    def is_unicode(self) -> bool:
        """Whether every letter can be written."""
        return self._encoding.lower().replace("-", "") == "utf8"

    def line(self, parts: Line) -> None:
        """Write a line."""
        text = "".join(self._painted(text, style) for text, style in parts) + "\n"
        if not self.is_unicode:
            text = text.encode(self._encoding, "replace").decode(self._encoding)
        if self._out is None and len(self._held) < self._wait:
            self._held.append(text)
            return
        if self._out is None:
            let_less_show_colours()
            self._out = self._stack.enter_context(click.get_pager_file())
            self._write_held(self._out)
        self._out.write(text)

    def finish(self) -> None:
        """Write what waited."""
        if self._out is None:
            self._write_held(sys.stdout)
        sys.stdout.flush()

    def _write_held(self, out: TextIO) -> None:
        out.writelines(self._held)
        self._held.clear()

    def _painted(self, text: str, style: str) -> str:
        if not style or not self._coloured:
            return text
        bold, dim = "bold" in style, "dim" in style
        colour = style.removeprefix("bold").strip() if self._colours and not dim else ""
        return click.style(text, fg=colour or None, bold=bold or None, dim=dim or None)
