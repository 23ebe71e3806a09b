"""What the measurements should come to (G1-G12), and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import ceil
from statistics import median
from typing import Final

import msgspec

from syncer.bench import scenarios as chapters
from syncer.bench.fixture import Sample
from syncer.bench.programs import DLT, DLT_TUNED, SDK_LOOP, SDK_THREADS, SYNCER
from syncer.bench.runner import Samples, Size, named

_MIB: Final = 1 << 20


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, what came of it (each round's figure), and whether it was met.

    Without ``at_most`` and ``at_least`` it is there to be looked at; without figures, what it is
    measured beside is ``missing``.
    """

    goal: str
    work: str
    beside: str = ""
    figures: list[float]
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "x"
    missing: bool = False

    @property
    def figure(self) -> float | None:
        """The median."""
        return median(self.figures) if self.figures else None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the goal; None where that cannot be said."""
        if self.figure is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or self.figure <= self.at_most) and (
            self.at_least is None or self.figure >= self.at_least
        )

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.missing:
            return "not installed"
        return {True: "met", False: "missed", None: "no goal"}[self.met]


def judge(samples: Samples, size: Size, chosen: Collection[str]) -> list[Goal]:
    """Return the chosen goals for which there are samples, or would be, were all installed."""
    every = (
        *_beside_typed_floor(samples),
        *_written(samples, size),
        *_loads(samples),
        *_latencies(samples),
        *_memory(samples),
        *_beside_peers(samples),
        *_limits(samples),
        *_growth(samples, size),
    )
    return [goal for goal in every if goal.goal in chosen and (goal.figures or goal.missing)]


def _ratios(samples: Samples, name: str, floor: str) -> list[float]:
    """Return how many times the floor's time each sample took; [] unless both were measured."""
    if name not in samples or floor not in samples:
        return []
    pairs = zip(samples[name], samples[floor], strict=True)
    return [one.wall / other.wall for one, other in pairs]


def _each(samples: Samples, name: str, of: Callable[[Sample], float]) -> list[float]:
    return [of(sample) for sample in samples.get(name, ())]


def _beside_typed_floor(samples: Samples) -> Iterator[Goal]:
    for goal, name, at_most in (
        ("G1", "no change", 0.75),
        ("G2", "reordered", 2.5),
        ("G2", "reformatted", 2.5),
        ("G5", "1 % spread", 4.0),
        ("G5", "1 % concentrated", 1.2),
    ):
        figures = _ratios(samples, name, f"typed floor of {name}")
        yield Goal(goal=goal, work=name, beside="fetch + decode", figures=figures, at_most=at_most)


def _written(samples: Samples, size: Size) -> Iterator[Goal]:
    for name in ("no change", "reordered", "reformatted"):
        yield Goal(
            goal="G3",
            work=f"{name}: image rows written or dead",
            figures=_each(samples, name, lambda sample: sample.written + sample.dead),
            at_most=0,
            unit="rows",
        )
    for name in ("1 % spread", "1 % concentrated"):  # an update and a version each
        yield Goal(
            goal="G5",
            work=f"{name}: rows written but the changed",
            figures=_each(samples, name, lambda s: s.written - 2 * s.report["changed"]),
            at_most=0,
            unit="rows",
        )
    yield Goal(
        goal="G3",
        work="no change: write-ahead log a zone",
        figures=_each(samples, "no change", lambda sample: sample.wal / size.zones),
        at_most=300,
        unit="bytes",
    )


def _loads(samples: Samples) -> Iterator[Goal]:
    figures = _ratios(samples, "first load", "COPY floor")
    yield Goal(goal="G4", work="first load", beside="COPY", figures=figures, at_most=1.3)


def _latencies(samples: Samples) -> Iterator[Goal]:
    calls = 1 + ceil(chapters.LATENCY_ZONES / chapters.LATENCY_CALLS_AT_ONCE)
    for latency, at_most in zip(chapters.LATENCIES, (1.05, 1.2), strict=True):
        name, bound = f"latency {latency * 1000:.0f} ms", latency * calls
        yield Goal(
            goal="G6",
            work=f"{chapters.LATENCY_ZONES} zones, {name}",
            beside="calls in turn",
            figures=_each(samples, name, lambda sample, bound=bound: sample.wall / bound),  # type: ignore[misc]
            at_most=at_most,
        )
        floors = samples.get(f"HTTP floor of {name}", ())
        yield Goal(
            goal="G6",
            work=f"{chapters.LATENCY_ZONES} zones, {name}",
            beside="bare aiohttp",  # which was told the zones, and so saved a call
            figures=[
                sample.wall / (floor.wall + latency)
                for sample, floor in zip(samples.get(name, ()), floors, strict=True)
            ],
        )


def _memory(samples: Samples) -> Iterator[Goal]:
    for name, at_most in (
        ("first load", 160),
        ("no change", 80),
        ("first load of two large zones", 160),
        ("no change of two large zones", 160),
        ("1 % of two large zones", 160),
    ):
        yield Goal(
            goal="G7",
            work=f"{name}: peak memory",
            figures=_each(samples, name, lambda sample: sample.peak / _MIB),
            at_most=at_most,
            unit="MiB",
        )


def _beside_peers(samples: Samples) -> Iterator[Goal]:
    """Yield how many times as fast the whole command is."""
    for goal, peer, work, at_least in (
        ("G8", SDK_LOOP, "usual account", 8.0),
        ("G8", SDK_LOOP, "first load", 4.0),
        ("G8", SDK_LOOP, "no change", 20.0),
        ("G9", SDK_THREADS, "usual account", 1.15),
        ("G9", SDK_THREADS, "no change", 20.0),
        ("G10", DLT, "usual account", 2.4),
        ("G10", DLT, "first load of a tenth", 7.0),
        ("G10", DLT, "no change of a tenth", 16.0),
        ("G10", DLT_TUNED, "first load of a tenth", None),
        ("G10", DLT_TUNED, "no change of a tenth", None),
    ):
        yield Goal(
            goal=goal,
            work=f"{work}: times as fast, whole process",
            beside=peer.name,
            figures=_ratios(samples, named(peer, work), named(SYNCER, work)),
            at_least=at_least,
            missing=not peer.installed,
        )


def _limits(samples: Samples) -> Iterator[Goal]:
    rate, latency = chapters.LIMIT, chapters.LIMIT_LATENCY
    # The fastest run there can be spends the full bucket, then what it gains. Who is told a rate
    # keeps to it from the first call on, and may not spend the bucket: a call each 1/rate.
    for name, burst, at_least, at_most in (
        ("unknown limit", rate, 97, 5),
        ("known limit", 1, 93, 0),
    ):
        yield Goal(
            goal="G11",
            work=f"{name}: throughput",
            beside=f"ideal at {rate}/s",
            figures=_each(
                samples,
                name,
                lambda s, burst=burst: (  # type: ignore[misc]
                    100 * (max(0, s.calls - s.refused - burst) / rate + latency) / s.wall
                ),
            ),
            at_least=at_least,
            unit="%",
        )
        yield Goal(
            goal="G11",
            work=f"{name}: calls refused",
            beside="calls accepted",
            figures=_each(samples, name, lambda s: 100 * s.refused / (s.calls - s.refused)),
            at_most=at_most,
            unit="%",
        )


def _growth(samples: Samples, size: Size) -> Iterator[Goal]:
    for name in ("first load", "no change"):
        yield Goal(
            goal="G12",
            work=name,
            beside="half the images",
            figures=_ratios(samples, name, f"{name} of half"),
            at_most=2.0,
        )
    for name in ("first load", "no change"):
        many, few = (f"{name} of {n} zones of 100" for n in (size.zones * 10, size.zones))
        pairs = zip(samples.get(many, ()), samples.get(few, ()), strict=True)
        yield Goal(
            goal="G12",
            work=f"{name}: memory of ten times the zones",
            figures=[(one.peak - other.peak) / _MIB for one, other in pairs],
            at_most=16,
            unit="MiB more",
        )
