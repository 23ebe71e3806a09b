"""What was measured, as text for people and as a document for programs."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec

from syncer import __version__
from syncer.bench.goals import Goal
from syncer.bench.programs import Program
from syncer.bench.runner import Measurements, Workload


def machine(postgres: str, programs: Iterable[Program] = ()) -> dict[str, str]:
    """Return what it was measured on, and beside which versions."""
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "postgresql": postgres,
        "syncer": __version__,
        "aiohttp": aiohttp.__version__,
        "asyncpg": asyncpg.__version__,
        "msgspec": msgspec.__version__,
    }
    for program in programs:
        about |= program.versions
    return about


HEADINGS: Final = (
    *("GOAL", "WHAT IS MEASURED", "COMPARED WITH", "MEDIAN", "RANGE", "ROUNDS", "LIMIT", "VERDICT"),
)


def rows(goals: Iterable[Goal]) -> list[tuple[str, ...]]:
    """Return the goals in their order, each as the cells under ``HEADINGS``."""
    return [_cells(goal) for goal in _in_order(goals)]


def _in_order(goals: Iterable[Goal]) -> list[Goal]:
    return sorted(goals, key=lambda goal: int(goal.goal[1:]))


def _cells(goal: Goal) -> tuple[str, ...]:
    return (
        goal.goal,
        goal.work,
        goal.beside,
        "-" if goal.figure is None else f"{_number(goal.figure)} {goal.unit}",
        " to ".join(_number(of(goal.figures)) for of in (min, max) if goal.figures),
        str(len(goal.figures)),
        _limits(goal),
        goal.verdict,
    )


def text(goals: Sequence[Goal], about: Mapping[str, str], width: int) -> str:
    """Return the goals and what they were measured on, for a terminal of that many columns.

    A table where it fits, else two lines for each goal.
    """
    head = textwrap.fill(", ".join(f"{name} {value}" for name, value in about.items()), width)
    cells = [HEADINGS, *rows(goals)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        lines = [
            "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
    else:
        lines = [line for goal in _in_order(goals) for line in _paragraph(goal)]
    return "\n".join((head, "", *lines))


def _paragraph(goal: Goal) -> list[str]:
    """Return what a row of the table says as lines of at most 80 columns."""
    _, work, beside, median, spread, times, limit, verdict = _cells(goal)
    compared = f", compared with {beside}" if beside else ""
    several = f" ({spread} in {times} rounds)" if len(goal.figures) > 1 else ""
    wanted = f", limit {limit}" if limit else ""
    figures = f"{median}{several}{wanted}: " if goal.figures else ""
    head = textwrap.wrap(f"{goal.goal:4}{work}{compared}", 80, subsequent_indent="    ")
    return [*head, f"    {figures}{verdict}"]


def document(
    goals: Sequence[Goal], measurements: Measurements, workload: Workload, about: dict[str, str]
) -> dict[str, Any]:
    """Return everything as one document."""
    return {
        **about,
        "size": msgspec.structs.asdict(workload),
        "goals": [
            {
                **msgspec.structs.asdict(goal),
                "median": goal.figure,
                "met": goal.met,
                "verdict": goal.verdict,
            }
            for goal in goals
        ],
        "measured": {
            name: {column: median(getattr(one, column) for one in taken) for column in _KEPT}
            | {"times": len(taken)}
            for name, taken in measurements.items()
        },
    }


_KEPT: Final = (
    "wall",
    "whole",
    "cpu",
    "peak",
    "wal",
    "written",
    "dead",
    "calls",
    "refused",
    "connections",
    "busy",
)


def _limits(goal: Goal) -> str:
    signs = (("<=", goal.at_most), (">=", goal.at_least))
    return ", ".join(f"{sign} {_number(bound)}" for sign, bound in signs if bound is not None)


def _number(figure: float) -> str:
    return f"{figure:.0f}" if figure == int(figure) or abs(figure) >= 100 else f"{figure:.2f}"  # noqa: PLR2004
