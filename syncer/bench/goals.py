"""What the measurements should come to (G1-G15), and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import ceil
from statistics import median
from typing import Final

import msgspec

from syncer.bench import far, reading
from syncer.bench.fixture import Measurement
from syncer.bench.measure import MeasureOptions
from syncer.bench.programs import (
    DLT,
    DLT_TUNED,
    SDK_LOOP,
    SDK_THREADS,
    SYNCER,
    Program,
    alone,
    workers,
)
from syncer.bench.runner import Measurements, Workload, name_of

_MIB: Final = 1 << 20
_TOO_BUSY: Final = 0.8
"""A machine whose processors are at work for a larger share says nothing of waiting."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, its figures (one a round), and whether it was met.

    Without ``at_most`` and ``at_least`` it is shown but not judged, as it is where the processors
    were ``busy`` (0 to 1) to too large a share. ``missing`` says that the program it is compared
    with is not installed.
    """

    goal: str
    work: str
    beside: str = ""
    figures: list[float]
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "x"
    missing: bool = False
    busy: float = 0.0

    @property
    def figure(self) -> float | None:
        """The median."""
        return median(self.figures) if self.figures else None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the goal; None where that cannot be said."""
        if self.figure is None or not self._is_bound:
            return None
        if self.busy > _TOO_BUSY:
            return None
        return (self.at_most is None or self.figure <= self.at_most) and (
            self.at_least is None or self.figure >= self.at_least
        )

    @property
    def _is_bound(self) -> bool:
        return self.at_most is not None or self.at_least is not None

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, ``no goal``, ``not installed``, or why it is not judged."""
        if self.missing:
            return "not installed"
        if self._is_bound and self.busy > _TOO_BUSY:
            return f"not judged: processors {self.busy:.0%} busy"
        return {True: "met", False: "missed", None: "no goal"}[self.met]


def evaluate(
    measurements: Measurements,
    workload: Workload,
    chosen: Collection[str],
    installed: Collection[Program],
) -> list[Goal]:
    """Return the chosen goals that were measured, or for which a program is missing."""
    every = (
        *_beside_typed_floor(measurements),
        *_written(measurements, workload),
        *_loads(measurements),
        *_latencies(measurements, workload),
        *_memory(measurements),
        *_beside_competitors(measurements, installed),
        *_limits(measurements, workload),
        *_growth(measurements, workload),
        *_far_away(measurements, workload, installed),
        *_many_accounts(measurements, workload),
        *_workers(measurements, workload),
        *_reading(measurements),
    )
    return [goal for goal in every if goal.goal in chosen and (goal.figures or goal.missing)]


def _ratios(measurements: Measurements, name: str, floor: str) -> list[float]:
    """Return each measurement's time by its floor's of the same round; [] unless both exist."""
    if name not in measurements or floor not in measurements:
        return []
    pairs = zip(measurements[name], measurements[floor], strict=True)
    return [one.wall / other.wall for one, other in pairs]


def _each(measurements: Measurements, name: str, of: Callable[[Measurement], float]) -> list[float]:
    return [of(one) for one in measurements.get(name, ())]


def _busy(measurements: Measurements, name: str) -> float:
    """Return how busy the machine was meanwhile, as a rule."""
    return median(_each(measurements, name, lambda one: one.busy) or [0.0])


def _beside_typed_floor(measurements: Measurements) -> Iterator[Goal]:
    for goal, name, at_most in (
        ("G1", "no change", 0.75),
        ("G2", "reordered for the first time", None),
        ("G2", "reordered", 1.4),
        ("G2", "reformatted", 2.5),
        ("G5", "1 % spread for the first time", None),
        ("G5", "1 % spread", 2.5),
        ("G5", "1 % concentrated", 1.2),
    ):
        figures = _ratios(measurements, name, f"typed floor of {name}")
        yield Goal(goal=goal, work=name, beside="fetch + decode", figures=figures, at_most=at_most)
    for goal, name, floor, beside in (
        ("G1", "no change", "HTTP floor", "fetch"),
        ("G2", "reordered", "bare client of reordered", "fetch, split, sort and hash rows"),
        ("G5", "1 % spread", "bare client of 1 % spread", "fetch, split and hash each row"),
    ):
        figures = _ratios(measurements, name, floor)
        yield Goal(goal=goal, work=name, beside=beside, figures=figures)


def _written(measurements: Measurements, workload: Workload) -> Iterator[Goal]:
    for name in ("no change", "reordered", "reformatted"):
        yield Goal(
            goal="G3",
            work=f"{name}: image rows written or dead",
            figures=_each(measurements, name, lambda one: one.written + one.dead),
            at_most=0,
            unit="rows",
        )
    for name in ("1 % spread", "1 % concentrated"):  # an update and a version each
        yield Goal(
            goal="G5",
            work=f"{name}: rows written beyond the changed",
            figures=_each(measurements, name, lambda one: one.written - 2 * one.report["changed"]),
            at_most=0,
            unit="rows",
        )
    yield Goal(
        goal="G3",
        work="no change: write-ahead log per zone",
        figures=_each(measurements, "no change", lambda one: one.wal / workload.zones),
        at_most=300,
        unit="bytes",
    )


def _loads(measurements: Measurements) -> Iterator[Goal]:
    figures = _ratios(measurements, "first load", "COPY floor")
    yield Goal(goal="G4", work="first load", beside="COPY", figures=figures, at_most=1.2)


def _latencies(measurements: Measurements, workload: Workload) -> Iterator[Goal]:
    calls = ceil((1 + workload.usual_zones) / workload.latency_concurrency)
    for latency, at_most in zip(workload.latencies, (1.3, None), strict=True):
        name, bound = f"latency {latency * 1000:.0f} ms", latency * calls
        yield Goal(
            goal="G6",
            work=f"{workload.usual_zones} zones, {name}",
            beside="latency alone",
            figures=_each(measurements, name, lambda one, bound=bound: one.wall / bound),  # type: ignore[misc]
            at_most=at_most,
        )
        yield Goal(
            goal="G6",
            work=f"{workload.usual_zones} zones, {name}",
            beside="bare aiohttp",  # which is given the zones, and so saves a call
            figures=_ratios(measurements, name, f"HTTP floor of {name}"),
            at_most=1.15,
        )


def _memory(measurements: Measurements) -> Iterator[Goal]:
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
            figures=_each(measurements, name, lambda one: one.peak / _MIB),
            at_most=at_most,
            unit="MiB",
        )


def _beside_competitors(
    measurements: Measurements, installed: Collection[Program]
) -> Iterator[Goal]:
    """Yield how many times as fast as another program the whole command is."""
    for goal, program, work, at_least in (
        ("G8", SDK_LOOP, "usual account", 10.0),
        ("G8", SDK_LOOP, "first load", 4.0),
        ("G8", SDK_LOOP, "no change", 22.0),
        ("G9", SDK_THREADS, "usual account", 1.6),
        ("G9", SDK_THREADS, "no change", 20.0),
        ("G10", DLT, "usual account", 3.0),
        ("G10", DLT, "first load of a tenth", 7.0),
        ("G10", DLT, "no change of a tenth", 16.0),
        ("G10", DLT_TUNED, "first load of a tenth", None),
        ("G10", DLT_TUNED, "no change of a tenth", None),
    ):
        yield Goal(
            goal=goal,
            work=f"{work}: times as fast, start to exit",
            beside=program.name,
            figures=_ratios(measurements, name_of(program, work), name_of(SYNCER, work)),
            at_least=at_least,
            missing=program not in installed,
        )


def _limits(measurements: Measurements, workload: Workload) -> Iterator[Goal]:
    rate, latency = workload.rate_limit, workload.rate_limit_latency
    # The fastest run possible uses up the full bucket, then what it gains. A run that is given the
    # rate keeps to it from the first call on and does not use the bucket: a call each 1/rate.
    for name, burst, at_least, at_most in (
        ("unknown limit", rate, 97, 5),
        ("known limit", 1, 93, 0),
    ):
        yield Goal(
            goal="G11",
            work=f"{name}: throughput",
            beside=f"ideal at {rate}/s",
            figures=_each(
                measurements,
                name,
                lambda one, burst=burst: (  # type: ignore[misc]
                    100 * (max(0, one.calls - one.refused - burst) / rate + latency) / one.wall
                ),
            ),
            at_least=at_least,
            unit="%",
        )
        yield Goal(
            goal="G11",
            work=f"{name}: calls refused",
            beside="calls accepted",
            figures=_each(
                measurements, name, lambda one: 100 * one.refused / (one.calls - one.refused)
            ),
            at_most=at_most,
            unit="%",
        )


def _growth(measurements: Measurements, workload: Workload) -> Iterator[Goal]:
    for name in ("first load", "no change"):
        yield Goal(
            goal="G12",
            work=name,
            beside="half the images",
            figures=_ratios(measurements, name, f"{name} of half"),
            at_most=2.0,
        )
    for name in ("first load", "no change"):
        many, few = (f"{name} of {n} zones of 100" for n in (workload.zones * 10, workload.zones))
        pairs = zip(measurements.get(many, ()), measurements.get(few, ()), strict=True)
        yield Goal(
            goal="G12",
            work=f"{name}: memory of ten times the zones",
            figures=[(one.peak - other.peak) / _MIB for one, other in pairs],
            at_most=16,
            unit="MiB more",
        )


def _far_away(
    measurements: Measurements, workload: Workload, installed: Collection[Program]
) -> Iterator[Goal]:
    """Yield how a run through TLS and the link compares with waiting alone, and with programs."""
    name, trip = "far away", workload.round_trip
    # A connection takes a round trip to open and one for TLS; DescribeZones is a call too.
    rounds = 2 + ceil((workload.usual_zones + 1) / MeasureOptions().concurrency)
    works = {name: trip}
    works |= {f"{name}, {seconds * 1000:g} ms": seconds for seconds in workload.other_trips}
    works |= dict.fromkeys((f"{name}, {words}" for words in far.LISTED.values()), trip)
    for work, seconds in works.items():
        yield Goal(
            goal="G13",
            work=work,
            beside="latency alone",
            figures=[one.wall / (seconds * rounds) for one in measurements.get(work, ())],
            at_most=1.2 if work == name else None,
            busy=_busy(measurements, work),
            missing=not far.installed() and work == name,
        )
    yield Goal(
        goal="G13",
        work=name,
        beside="bare aiohttp",  # which is given the zones, and so saves a call
        figures=_ratios(measurements, name, f"HTTP floor of {name}"),
    )
    for program, at_least in ((SDK_THREADS, 5.0), (SDK_LOOP, 20.0)):
        yield Goal(
            goal="G13",
            work=f"{name}: times as fast, start to exit",
            beside=program.name,
            figures=_ratios(measurements, name_of(program, name), name_of(SYNCER, name)),
            at_least=at_least,
            busy=_busy(measurements, name_of(SYNCER, name)),
            missing=program not in installed,
        )
    for program in (SYNCER, SDK_THREADS, SDK_LOOP):
        taken = measurements.get(name_of(program, name), ())
        for unit, figures in (
            ("connections", [one.connections for one in taken]),
            ("calls", [one.calls for one in taken]),
        ):
            work = f"{name}: {unit} of {program.name}"
            yield Goal(goal="G13", work=work, figures=list(map(float, figures)), unit=unit)


def _workers(measurements: Measurements, workload: Workload) -> Iterator[Goal]:
    """Yield how much faster workers that share the accounts are than one."""
    many = workers(workload.workers)
    one, several = (name_of(each, "far away") for each in (workers(1), many))
    yield Goal(
        goal="G15",
        work=f"{workload.accounts} accounts by {many.name}: start to exit",
        beside="1 worker, one account at a time each",
        figures=_ratios(measurements, one, several),
        at_least=3.4,
        busy=_busy(measurements, several),
        missing=not (far.installed() and many.installed),
    )


def _reading(measurements: Measurements) -> Iterator[Goal]:
    """Yield what each statement takes on a long history: a year is judged, a million shown."""
    for name, taken in measurements.items():
        last = taken[-1]
        if last.rows is None:
            continue
        swept = reading.SWEEP in name
        at_most = 1000 if swept else 100 if name.startswith("year") else None
        figures = [1000 * one.wall for one in taken]
        late = at_most is not None and median(figures) > at_most
        yield Goal(
            goal="G14",
            work=f"{name}: {last.rows} rows, {last.buffers} pages",
            figures=figures,
            at_most=at_most,
            unit="ms",
            busy=_busy(measurements, name) if late else 0.0,  # what is in time all the same is met
        )


def _many_accounts(measurements: Measurements, workload: Workload) -> Iterator[Goal]:
    """Yield how all of many accounts compare with one of them alone."""
    lonely = name_of(alone(""), "far away")
    for run in workload.accounts_runs:
        name = name_of(run.program, "far away")
        ratios = _ratios(measurements, name, lonely)
        turns = f"{run.turns} times an account" if run.turns > 1 else "an account"
        yield Goal(
            goal="G15",
            work=f"{run.program.name}: start to exit",
            beside=f"{turns} alone",
            figures=[ratio / run.turns for ratio in ratios],
            at_most=1.3,
            busy=_busy(measurements, name),
            missing=not far.installed(),
        )
        yield Goal(
            goal="G15",
            work=f"{run.program.name}: peak memory",
            figures=_each(measurements, name, lambda one: one.peak / _MIB),
            at_most=200,
            unit="MiB",
        )
