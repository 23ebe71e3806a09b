"""What the measurements should come to (G1-G12), and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from statistics import median
from typing import Final

import msgspec

from syncer.bench import course
from syncer.bench.course import Samples, Size
from syncer.bench.stage import Sample

_MIB: Final = 1 << 20


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, what came of it (each round's figure), and whether it was met."""

    goal: str
    work: str
    beside: str
    figures: list[float]
    at_most: float
    unit: str = "x"

    @property
    def figure(self) -> float:
        """The median."""
        return median(self.figures)

    @property
    def met(self) -> bool:
        """Whether the median is within the goal."""
        return self.figure <= self.at_most


def judge(samples: Samples, size: Size) -> list[Goal]:
    """Return every goal for which there are samples."""
    return [
        *_beside_typed_floor(samples),
        *_written(samples, size),
        *_loads(samples),
        *_latencies(samples),
        *_memory(samples),
        *_growth(samples, size),
    ]


def _ratios(samples: Samples, name: str, floor: str) -> list[float]:
    pairs = zip(samples.get(name, ()), samples.get(floor, ()), strict=True)
    return [one.wall / other.wall for one, other in pairs]


def _each(samples: Samples, name: str, of: Callable[[Sample], float]) -> list[float]:
    return [of(sample) for sample in samples.get(name, ())]


def _goals(*goals: Goal) -> Iterable[Goal]:
    return [goal for goal in goals if goal.figures]


def _beside_typed_floor(samples: Samples) -> Iterable[Goal]:
    for goal, name, at_most in (
        ("G1", "no change", 0.75),
        ("G2", "reordered", 2.5),
        ("G2", "reformatted", 2.5),
        ("G5", "1 % spread", 4.0),
        ("G5", "1 % concentrated", 1.2),
    ):
        figures = _ratios(samples, name, f"typed floor of {name}")
        yield from _goals(
            Goal(goal=goal, work=name, beside="fetch + decode", figures=figures, at_most=at_most)
        )


def _written(samples: Samples, size: Size) -> Iterable[Goal]:
    for name in ("no change", "reordered", "reformatted"):
        yield from _goals(
            Goal(
                goal="G3",
                work=f"{name}: image rows written or dead",
                beside="",
                figures=_each(samples, name, lambda sample: sample.written + sample.dead),
                at_most=0,
                unit="rows",
            )
        )
    for name in ("1 % spread", "1 % concentrated"):  # an update and a version each
        extra = _each(samples, name, lambda s: s.written - 2 * s.report["changed"])
        yield from _goals(
            Goal(
                goal="G5",
                work=f"{name}: rows written but the changed",
                beside="",
                figures=extra,
                at_most=0,
                unit="rows",
            )
        )
    yield from _goals(
        Goal(
            goal="G3",
            work="no change: write-ahead log a zone",
            beside="",
            figures=_each(samples, "no change", lambda sample: sample.wal / size.zones),
            at_most=300,
            unit="bytes",
        )
    )


def _loads(samples: Samples) -> Iterable[Goal]:
    yield from _goals(
        Goal(
            goal="G4",
            work="first load",
            beside="COPY",
            figures=_ratios(samples, "first load", "COPY floor"),
            at_most=1.3,
        )
    )


def _latencies(samples: Samples) -> Iterable[Goal]:
    calls = 1 + ceil(course.LATENCY_ZONES / course.LATENCY_CALLS_AT_ONCE)
    for latency, at_most in zip(course.LATENCIES, (1.05, 1.2), strict=True):
        name, bound = f"latency {latency * 1000:.0f} ms", latency * calls
        figures = _each(samples, name, lambda sample, bound=bound: sample.wall / bound)  # type: ignore[misc]
        yield from _goals(
            Goal(
                goal="G6",
                work=f"{course.LATENCY_ZONES} zones, {name}",
                beside="calls in turn",
                figures=figures,
                at_most=at_most,
            )
        )


def _memory(samples: Samples) -> Iterable[Goal]:
    for name, at_most in (
        ("first load", 160),
        ("no change", 80),
        ("first load of two large zones", 160),
        ("no change of two large zones", 160),
        ("1 % of two large zones", 160),
    ):
        yield from _goals(
            Goal(
                goal="G7",
                work=f"{name}: peak memory",
                beside="",
                figures=_each(samples, name, lambda sample: sample.peak / _MIB),
                at_most=at_most,
                unit="MiB",
            )
        )


def _growth(samples: Samples, size: Size) -> Iterable[Goal]:
    for name in ("first load", "no change"):
        yield from _goals(
            Goal(
                goal="G12",
                work=name,
                beside="half the images",
                figures=_ratios(samples, name, f"{name} of half"),
                at_most=2.0,
            )
        )
    for name in ("first load", "no change"):
        many, few = (f"{name} of {n} zones of 100" for n in (size.zones * 10, size.zones))
        pairs = zip(samples.get(many, ()), samples.get(few, ()), strict=True)
        yield from _goals(
            Goal(
                goal="G12",
                work=f"{name}: memory of ten times the zones",
                beside="",
                figures=[(one.peak - other.peak) / _MIB for one, other in pairs],
                at_most=16,
                unit="MiB more",
            )
        )
