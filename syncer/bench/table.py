"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec

from syncer import __version__
from syncer.bench.goals import Goal
from syncer.bench.programs import Program
from syncer.bench.runner import Samples, Size


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


HEADINGS = ("GOAL", "WORK", "BESIDE", "MEDIAN", "SPREAD", "TIMES", "GOAL IS", "VERDICT")


def rows(goals: Sequence[Goal]) -> list[tuple[str, ...]]:
    """Return the goals as rows of a table."""
    return [
        (
            goal.goal,
            goal.work,
            goal.beside,
            "-" if goal.figure is None else f"{_bare(goal.figure)} {goal.unit}",
            " - ".join(_bare(of(goal.figures)) for of in (min, max) if goal.figures),
            str(len(goal.figures)),
            _bounds(goal),
            goal.verdict,
        )
        for goal in sorted(goals, key=lambda goal: int(goal.goal[1:]))
    ]


def document(
    goals: Sequence[Goal], samples: Samples, size: Size, about: dict[str, str]
) -> dict[str, Any]:
    """Return everything as one document."""
    return {
        **about,
        "size": msgspec.structs.asdict(size),
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
            name: {column: median(getattr(sample, column) for sample in taken) for column in _KEPT}
            | {"times": len(taken)}
            for name, taken in samples.items()
        },
    }


_KEPT: Final = ("wall", "whole", "cpu", "peak", "wal", "written", "dead", "calls", "refused")


def _bounds(goal: Goal) -> str:
    signs = (("<=", goal.at_most), (">=", goal.at_least))
    return ", ".join(f"{sign} {_bare(bound)}" for sign, bound in signs if bound is not None)


def _bare(figure: float) -> str:
    return f"{figure:.0f}" if figure == int(figure) or abs(figure) >= 100 else f"{figure:.2f}"  # noqa: PLR2004
