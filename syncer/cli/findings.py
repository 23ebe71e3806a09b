"""The doctor's findings for people: problems come last, where a terminal shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from syncer.cli.layout import Line, broken, width_of
from syncer.cli.screen import Screen, opened
from syncer.core.normalise import printable
from syncer.doctor.finding import Finding

_ROOM: Final = 30
"""Cells, at least, for a text beside status and name; else it stands below them."""
_STYLES: Final = {
    "ok": "green",
    "skipped": "dim",
    "warning": "bold yellow",
    "failed": "bold red",
}
_ADVICE: Final = "cyan"
Row = tuple[str, str, str]
"""Status, name and text; without a status the text is advice."""


def show(findings: Sequence[Finding]) -> None:
    """Print the findings: settings, what is ok or was skipped, warnings, failures, the counts."""
    with opened(paged=False) as screen:
        arrow = "\N{RIGHTWARDS ARROW}" if screen.is_unicode else "->"
        settings = [
            found
            for found in findings
            if (found.check.isupper() or found.check.startswith("accounts."))
            and found.status == "ok"
        ]
        well = [found for found in findings if found.status == "ok" and found not in settings]
        _block(screen, [("", printable(one.check), one.message) for one in settings])
        _block(screen, [*map(_row, well), *_skipped(findings)])
        problems: list[Row] = []
        for status in ("warning", "failed"):
            for found in findings:
                if found.status == status:
                    problems += [_row(found), ("", "", f"{arrow} {found.advice}")]
        _block(screen, problems)
        screen.line(_summary([found for found in findings if found not in settings]))


def _row(found: Finding) -> Row:
    return (
        found.status,
        printable(found.check.replace("_", " " if found.check.islower() else "_")),
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


def _block(screen: Screen, rows: Sequence[Row]) -> None:
    """Print rows, their texts beside status and name, or below them where that is too narrow."""
    if not rows:
        return
    statuses = max(len(status) for status, _, _ in rows)
    names = max(width_of(name) for _, name, _ in rows)
    left = statuses + names + (4 if statuses else 2)
    room = None if screen.width is None else screen.width - left
    below = room is not None and room < _ROOM
    for status, name, text in rows:
        is_advice = not status and not name
        style = _ADVICE if is_advice else "dim" if status == "skipped" else ""
        head: Line = [(status, _STYLES.get(status, ""))] if statuses else []
        if statuses:
            head.append((" " * (statuses - len(status) + 2), ""))
        head.append((name, "" if statuses else "dim"))
        if below:
            if not is_advice:
                screen.line(head)
            head, blanks, size = [("  ", "")], "  ", (screen.width or 0) - 2
        else:
            head.append((" " * (names - width_of(name) + 2), ""))
            blanks, size = " " * left, room or width_of(text) + 1
        for at, part in enumerate(broken(printable(text), size, size)):
            screen.line([*head, (part, style)] if not at else [(blanks, ""), (part, style)])
    screen.line([])


def _summary(findings: Sequence[Finding]) -> Line:
    counts = Counter[str](found.status for found in findings)
    parts: Line = []
    for status, ending in (("failed", ""), ("warning", "s"), ("ok", ""), ("skipped", "")):
        if count := counts[status]:
            plural = ending if count > 1 else ""
            parts += [(", " if parts else "", ""), (f"{count} {status}{plural}", _STYLES[status])]
    return [*parts, (".", "")]
