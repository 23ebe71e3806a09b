"""The doctor's findings for people: problems come last, where a terminal shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncer.core.normalise import printable
from syncer.doctor.finding import Finding

_NARROWEST: Final = 72
"""Columns, at least, that a terminal is taken to have."""
_NOT_A_TERMINAL: Final = 100
"""Columns where the output is not a terminal."""
_STYLES: Final = {
    "ok": "green",
    "skipped": "dim",
    "warning": "bold yellow",
    "failed": "bold red",
    "": "cyan",
}
Row = tuple[str, str, str]
"""Status, name and text; without a status the text is advice."""


def show(findings: Sequence[Finding]) -> None:
    """Print the findings: settings, what is ok or was skipped, warnings, failures, the counts."""
    console = Console(highlight=False)
    console.width = max(console.width, _NARROWEST) if console.is_terminal else _NOT_A_TERMINAL
    arrow = "->" if console.options.ascii_only else "\N{RIGHTWARDS ARROW}"
    settings = [
        found
        for found in findings
        if (found.check.isupper() or found.check.startswith("accounts.")) and found.status == "ok"
    ]
    well = [found for found in findings if found.status == "ok" and found not in settings]
    if settings:
        _settings(console, settings)
    _block(console, [*map(_row, well), *_skipped(findings)])
    problems: list[Row] = []
    for status in ("warning", "failed"):
        for found in findings:
            if found.status == status:
                problems += [_row(found), ("", "", f"{arrow} {found.advice}")]
    if problems:
        _block(console, problems)
    console.print(_summary([found for found in findings if found not in settings]))


def _row(found: Finding) -> Row:
    return (
        found.status,
        found.check.replace("_", " " if found.check.islower() else "_"),
        found.message,
    )


def _skipped(findings: Iterable[Finding]) -> Iterable[Row]:
    """Yield a row for each reason why a check was skipped."""
    reasons: dict[str, list[str]] = {}
    for found in findings:
        if found.status == "skipped":
            reasons.setdefault(found.message, []).append(_row(found)[1])
    for reason, names in reasons.items():
        name, text = (
            (names[0], reason) if len(names) == 1 else ("", f"{reason}: {', '.join(names)}")
        )
        yield "skipped", name, text


def _settings(console: Console, settings: Sequence[Finding]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for found in settings:
        table.add_row(Text(printable(found.check), style="dim"), Text(printable(found.message)))
    console.print(table)
    console.print()


def _block(console: Console, rows: Sequence[Row]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, width=max(map(len, _STYLES)))
    table.add_column(no_wrap=True, width=max((len(name) for _, name, _ in rows), default=0))
    table.add_column(overflow="fold")
    for status, name, text in rows:
        style = _STYLES[status]
        table.add_row(
            Text(status, style=style),
            Text(printable(name)),
            Text(printable(text), style=style if status in {"", "skipped"} else ""),
        )
    console.print(table)
    console.print()


def _summary(findings: Sequence[Finding]) -> Text:
    counts = Counter[str](found.status for found in findings)
    summary = Text()
    for status, ending in (("failed", ""), ("warning", "s"), ("ok", ""), ("skipped", "")):
        if count := counts[status]:
            plural = ending if count > 1 else ""
            summary.append(", " if summary else "")
            summary.append(f"{count} {status}{plural}", _STYLES[status])
    return summary.append(".")
