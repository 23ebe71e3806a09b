"""The order of the measurements: each beside its floor, in turns, so that both meet one machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from syncer.bench.stage import Sample, Stage, WrongAnswer

Samples = dict[str, list[Sample]]
LATENCIES: Final = (0.2, 0.05)
LATENCY_ZONES: Final = 60
LATENCY_IMAGES: Final = 200
LATENCY_CALLS_AT_ONCE: Final = 32


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured, how often."""

    zones: int = 200
    images: int = 5000
    large: int = 200_000
    rounds: int = 5


class Course:
    """Measures, and keeps what was measured by name."""

    def __init__(self, stage: Stage, size: Size, tell: Callable[[str], None]) -> None:
        self.size = size
        self.samples: Samples = {}
        self._stage = stage
        self._tell = tell

    async def run(self) -> None:
        """Measure everything."""
        await self._scale()
        await self._all_changed()
        await self._latency()
        await self._growth()
        await self._large()

    async def _measure(self, name: str, kind: str = "sync", **expected: Any) -> Sample:  # noqa: ANN401
        calls_at_once = LATENCY_CALLS_AT_ONCE if name.startswith("latency") else 16
        sample = await self._stage.measure(kind, concurrency=calls_at_once)
        if kind == "sync":
            expected = {"status": "succeeded", "appeared": 0, "changed": 0, **expected}
            told = {key: sample.report[key] for key in expected}
            if told != expected:
                raise WrongAnswer(f"{name}: expected {expected}, the run came to {told}")
            await self._stage.check()
        self.samples.setdefault(name, []).append(sample)
        self._tell(f"{name}: {sample.wall:.3f} s, {sample.peak >> 20} MiB")
        return sample

    async def _load(self, name: str) -> None:
        zones, images = self._stage.sizes
        await self._stage.empty()
        await self._measure(name, appeared=zones * images)
        await self._stage.settle()

    async def _scale(self) -> None:
        """G1-G5: a first load beside COPY; everything else beside fetching and decoding."""
        size = self.size
        await self._stage.build(size.zones, size.images)
        for number in range(size.rounds):
            await self._stage.empty()
            await self._measure("COPY floor", "copy")
            await self._load("first load")
            await self._measure("no change, warming up")
            await self._beside_floor("no change")
            await self._stage.order(reorder=number)
            await self._beside_floor("reordered")
            await self._stage.order(reformat=number)
            await self._beside_floor("reformatted")
            for how in ("spread", "concentrated"):
                changed = (await self._stage.order(drift=how))["changed"]
                await self._beside_floor(f"1 % {how}", changed=changed)

    async def _beside_floor(self, name: str, **expected: Any) -> None:  # noqa: ANN401
        await self._measure(f"HTTP floor of {name}", "http")
        await self._measure(f"typed floor of {name}", "typed")
        await self._measure(name, **expected)

    async def _all_changed(self) -> None:
        """A tenth of the images, all of them changed."""
        await self._stage.build(self.size.zones, self.size.images // 10)
        await self._load("first load of a tenth")
        for _ in range(self.size.rounds):
            changed = (await self._stage.order(drift="all"))["changed"]
            await self._measure("all changed", changed=changed)

    async def _latency(self) -> None:
        """G6: sixty zones of one page each."""
        await self._stage.build(LATENCY_ZONES, LATENCY_IMAGES)
        await self._load("first load of a usual account")
        for latency in LATENCIES:
            await self._stage.order(latency=latency)
            for _ in range(self.size.rounds):
                await self._measure(f"latency {latency * 1000:.0f} ms")
        await self._stage.order(latency=0.0)

    async def _growth(self) -> None:
        """G12: half the images, and ten times the zones."""
        size = self.size
        await self._stage.build(size.zones, size.images // 2)
        for _ in range(size.rounds):
            await self._load("first load of half")
            await self._measure("no change of half")
        for zones in (size.zones, size.zones * 10):
            await self._stage.build(zones, 100)
            await self._load(f"first load of {zones} zones of 100")
            await self._measure(f"no change of {zones} zones of 100")

    async def _large(self) -> None:
        """G7: two zones that are never held in memory as a whole."""
        await self._stage.build(2, self.size.large)
        await self._load("first load of two large zones")
        await self._measure("no change of two large zones")
        changed = (await self._stage.order(drift="spread"))["changed"]
        await self._measure("1 % of two large zones", changed=changed)
