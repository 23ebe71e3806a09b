"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import aiohttp
import asyncpg
import msgspec

from syncer import __version__
from syncer.bench.course import Samples, Size
from syncer.bench.goals import Goal


def machine(postgres: str) -> dict[str, str]:
    """Return what it was measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "postgresql": postgres,
        "syncer": __version__,
        "aiohttp": aiohttp.__version__,
        "asyncpg": asyncpg.__version__,
        "msgspec": msgspec.__version__,
    }


def rows(goals: Sequence[Goal]) -> list[tuple[str, ...]]:
    """Return the goals as rows of a table."""
    return [
        (
            goal.goal,
            goal.work,
            goal.beside,
            _shown(goal.figure, goal.unit),
            f"{_bare(min(goal.figures))} - {_bare(max(goal.figures))}",
            f"<= {_bare(goal.at_most)}",
            "met" if goal.met else "missed",
        )
        for goal in sorted(goals, key=lambda goal: int(goal.goal[1:]))
    ]


HEADINGS = ("GOAL", "WORK", "BESIDE", "MEDIAN", "SPREAD", "GOAL IS", "VERDICT")


def document(goals: Sequence[Goal], samples: Samples, size: Size, postgres: str) -> dict[str, Any]:
    """Return everything as one document."""
    return {
        **machine(postgres),
        "size": msgspec.structs.asdict(size),
        "goals": [
            {**msgspec.structs.asdict(goal), "median": goal.figure, "met": goal.met}
            for goal in goals
        ],
        "measured": {
            name: {
                column: median(getattr(sample, column) for sample in taken)
                for column in ("wall", "whole", "cpu", "peak", "wal", "written", "dead")
            }
            | {"times": len(taken)}
            for name, taken in samples.items()
        },
    }


def _shown(figure: float, unit: str) -> str:
    return f"{_bare(figure)} {unit}"


def _bare(figure: float) -> str:
    return f"{figure:.0f}" if figure == int(figure) or abs(figure) >= 100 else f"{figure:.2f}"  # noqa: PLR2004
