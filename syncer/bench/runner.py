"""What the chapters measure with: a measurement, checked and kept by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from syncer.bench.fixture import Sample, Stage, WrongAnswer
from syncer.bench.programs import Program

Samples = dict[str, list[Sample]]


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured, how often."""

    zones: int = 200
    images: int = 5000
    large: int = 200_000
    calls: int = 300
    rounds: int = 5


class Course:
    """Measures, and keeps what was measured by name."""

    def __init__(self, stage: Stage, size: Size, tell: Callable[[str], None]) -> None:
        self.stage = stage
        self.size = size
        self.samples: Samples = {}
        self._tell = tell

    async def measure(
        self,
        name: str,
        kind: str = "sync",
        *,
        concurrency: int = 16,
        max_rate: float | None = None,
        **expected: Any,  # noqa: ANN401
    ) -> Sample:
        """Measure one thing; a run's report must say what is expected."""
        sample = await self.stage.measure(kind, concurrency=concurrency, max_rate=max_rate)
        if kind == "sync":
            expected = {"status": "succeeded", "appeared": 0, "changed": 0, **expected}
            told = {key: sample.report[key] for key in expected}
            if told != expected:
                raise WrongAnswer(f"{name}: expected {expected}, the run came to {told}")
            await self.stage.check(sample)
        return self._keep(name, sample)

    async def whole(self, program: Program, work: str) -> Sample:
        """Measure a program from its start to its end."""
        sample = await self.stage.run(program)
        await self.stage.check(sample, program.stores)
        return self._keep(named(program, work), sample)

    async def beside_floor(self, name: str, **expected: Any) -> None:  # noqa: ANN401
        """Measure a run beside fetching and decoding the same."""
        await self.measure(f"typed floor of {name}", "typed")
        await self.measure(name, **expected)

    async def load(self, name: str) -> None:
        """Measure a run from an empty database."""
        zones, images = self.stage.sizes
        await self.stage.empty()
        await self.measure(name, appeared=zones * images)
        await self.stage.settle()

    async def stand(self, zones: int, images: int) -> None:
        """Have a cloud of that size served and stored, if it is not so already."""
        if (zones, images) != self.stage.sizes or not self.stage.stored:
            await self.stage.build(zones, images)
            await self.load("first load, to begin with")

    def _keep(self, name: str, sample: Sample) -> Sample:
        self.samples.setdefault(name, []).append(sample)
        memory = f", {sample.peak >> 20} MiB" if sample.peak else ""
        self._tell(f"{name}: {sample.wall:.3f} s{memory}")
        return sample


def named(program: Program, work: str) -> str:
    """Return the name under which a program's samples of a work are kept."""
    return f"{program.name}: {work}"
