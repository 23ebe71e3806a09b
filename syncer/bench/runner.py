"""What the scenarios measure with: each measurement is checked and kept by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from syncer.bench import reading
from syncer.bench.fixture import Fixture, Measurement, Processors, WrongAnswer
from syncer.bench.programs import SYNCER, AccountsRun, Program, side_by_side
from syncer.bench.seed import MILLION, USUAL_YEAR, Size
from syncer.store.connection import Connection
from syncer.zenlayer.credentials import MAX_CONCURRENCY

Measurements = dict[str, list[Measurement]]
"""What was measured, by name, in the order it was measured."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured, how often, and under which conditions."""

    zones: int = 200
    """Zones of the large account."""
    images: int = 5000
    """Images in each of them."""
    large: int = 200_000
    """Images in each of the two zones that are too large to be held in memory."""
    calls: int = 300
    """Zones that are read under the rate limit, with one call each."""
    rounds: int = 5
    """How often each thing is measured."""
    usual_zones: int = 60
    """Zones of a usual account."""
    usual_images: int = 200
    """Images in each of them: one page."""
    latencies: tuple[float, float] = (0.2, 0.05)
    """Seconds until a usual account's server answers, beside bare aiohttp."""
    latency_concurrency: int = 32
    """Calls at once with those latencies."""
    competitor_latency: float = 0.1
    """Seconds until a usual account's server answers, beside other programs."""
    round_trip: float = 0.1
    """Seconds to a server that is far away, there and back."""
    other_trips: tuple[float, ...] = (0.02, 0.25)
    """The same of servers that are nearer, or farther away."""
    accounts: int = 50
    """Accounts of somebody who has many."""
    account_zones: int = 20
    """Zones of each of them."""
    at_once: tuple[int, ...] = (50, 8)
    """How many of them are read at once by one process."""
    workers: int = 4
    """Workers that share these accounts, beside one."""
    rate_limit: int = 20
    """Calls a second that the server accepts, and the calls that it accepts at once."""
    rate_limit_latency: float = 0.1
    """Seconds until it answers under that limit."""
    rate_limit_rounds: int = 3
    """Rounds at most under the limit: each takes a quarter of a minute."""
    year: Size = USUAL_YEAR
    """A long history that is read: a year of a usual account."""
    million: Size = MILLION
    """Another: a million versions."""
    slow_rounds: int = 2
    """Rounds at most of what takes another program a minute each time."""

    @property
    def accounts_runs(self) -> tuple[AccountsRun, ...]:
        """The ways in which all of many accounts are run."""
        return tuple(side_by_side(self.accounts, at_once) for at_once in self.at_once)


class Runner:
    """Measures, checks what was stored, and keeps the measurements by name.

    ``progress`` gets a line for each measurement; ``installed`` are the programs that can be
    measured beside syncer.
    """

    def __init__(
        self,
        fixture: Fixture,
        workload: Workload,
        *,
        progress: Callable[[str], None],
        installed: Sequence[Program],
    ) -> None:
        self.fixture = fixture
        self.workload = workload
        self.installed = installed
        self.measurements: Measurements = {}
        self._progress = progress

    async def measure(
        self,
        name: str,
        kind: str = "sync",
        *,
        concurrency: int = MAX_CONCURRENCY,
        max_rate: float | None = None,
        **expected: Any,  # noqa: ANN401
    ) -> Measurement:
        """Measure one thing; a run's report must say what is expected."""
        measurement = await self.fixture.measure(kind, concurrency=concurrency, max_rate=max_rate)
        if kind == "sync":
            expected = {"status": "succeeded", "appeared": 0, "changed": 0, **expected}
            reported = {key: measurement.report[key] for key in expected}
            if reported != expected:
                raise WrongAnswer(f"{name}: expected {expected}, the run came to {reported}")
            await self.fixture.check(measurement)
        return self._keep(name, measurement)

    async def measure_program(
        self, program: Program, work: str, *, accounts: int = 1
    ) -> Measurement:
        """Measure a program from its start to its exit; ``accounts`` is how many it reads."""
        measurement = await self.fixture.measure_program(program)
        await self.fixture.check(measurement, program.stores, accounts=accounts)
        return self._keep(name_of(program, work), measurement)

    async def measure_with_floor(self, name: str, **expected: Any) -> None:  # noqa: ANN401
        """Measure a run, and before it fetching and decoding the same."""
        await self.measure(f"typed floor of {name}", "typed")
        await self.measure(name, **expected)

    async def measure_first_load(self, name: str) -> None:
        """Measure a run from an empty database."""
        zones, images = self.fixture.size
        await self.fixture.empty_database()
        await self.measure(name, appeared=zones * images)
        await self.fixture.vacuum()

    async def ensure_stored(self, zones: int, images: int) -> None:
        """Serve and store a cloud of that size, if it is not so already."""
        if (zones, images) != self.fixture.size or not self.fixture.is_stored:
            await self.fixture.build_cloud(zones, images)
            await self.measure_first_load("first load, as preparation")

    def programs(self, *competitors: Program) -> list[Program]:
        """Return ``syncer sync`` and those competitors that are installed; [] where none is."""
        found = [program for program in competitors if program in self.installed]
        return [SYNCER, *found] if found else []

    async def measure_reading(
        self, connection: Connection, name: str, statement: reading.Statement
    ) -> None:
        """Measure a statement on a history of that name, after a round that is not counted."""
        await reading.read(connection, statement)
        for _ in range(self.workload.rounds):
            machine = Processors.now()
            seconds, buffers, rows = await reading.read(connection, statement)
            busy = Processors.now().busy_since(machine)
            taken = Measurement(
                wall=seconds, whole=seconds, cpu=0.0, rows=rows, buffers=buffers, busy=busy
            )
            self._keep(f"{name}: {statement.name}", taken)

    def _keep(self, name: str, measurement: Measurement) -> Measurement:
        self.measurements.setdefault(name, []).append(measurement)
        memory = f", {measurement.peak >> 20} MiB" if measurement.peak else ""
        far = ""
        if measurement.connections:
            calls, busy = measurement.calls, f"{measurement.busy:.0%}"
            far = f", {calls} calls, {measurement.connections} connections, {busy} busy"
        self._progress(f"{name}: {measurement.wall:.3f} s{memory}{far}")
        return measurement


def name_of(program: Program, work: str) -> str:
    """Return the name under which a program's measurements of a work are kept."""
    return f"{program.name}: {work}"
