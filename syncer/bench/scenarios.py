"""The scenarios: each measures what some goals need.

What is compared is measured in turns, so that both met the machine in the same state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final

import msgspec

from syncer.bench import far, reading, seed
from syncer.bench.programs import (
    DLT,
    DLT_TUNED,
    SDK_LOOP,
    SDK_THREADS,
    SYNCER,
    alone,
    workers,
)
from syncer.bench.runner import Runner
from syncer.core.errors import ConfigError

BARE_CLIENTS: Final = {"reordered": "order", "1 % spread": "rows"}
"""Of some runs, what a client that stores nothing must do (one of ``measure.MEASURES``)."""


async def first_load(runner: Runner) -> None:
    """A first load beside COPY."""
    await runner.fixture.build_cloud(runner.workload.zones, runner.workload.images)
    for _ in range(runner.workload.rounds):
        await runner.fixture.empty_database()
        await runner.measure("COPY floor", "copy")
        await runner.measure_first_load("first load")


async def no_change(runner: Runner) -> None:
    """A run that finds no change, beside fetching, and fetching and decoding."""
    await runner.ensure_stored(runner.workload.zones, runner.workload.images)
    await runner.measure("no change, warming up")
    for _ in range(runner.workload.rounds):
        await runner.measure("HTTP floor", "http")
        await runner.measure_with_floor("no change")


async def other_bytes(runner: Runner) -> None:
    """The same images in other bytes, time and again, beside the same.

    When rows come in another order for the first time, nothing is known yet of them in any order.
    """
    await runner.ensure_stored(runner.workload.zones, runner.workload.images)
    await runner.fixture.change_server(reorder=0)
    await _beside_floors(runner, "reordered for the first time")
    for name, change in (("reordered", "reorder"), ("reformatted", "reformat")):
        for number in range(1, 1 + runner.workload.rounds):
            await runner.fixture.change_server(**{change: number})
            await _beside_floors(runner, name)


async def one_percent(runner: Runner) -> None:
    """One image in a hundred changed, in all zones or in few, beside the same.

    When a zone changes for the first time, nothing is known yet of its single rows.
    """
    await runner.ensure_stored(runner.workload.zones, runner.workload.images)
    changed = (await runner.fixture.change_server(drift="spread"))["changed"]
    await _beside_floors(runner, "1 % spread for the first time", changed=changed)
    for _ in range(runner.workload.rounds):
        for how in ("spread", "concentrated"):
            changed = (await runner.fixture.change_server(drift=how))["changed"]
            await _beside_floors(runner, f"1 % {how}", changed=changed)


async def _beside_floors(runner: Runner, name: str, *, changed: int = 0) -> None:
    """Measure a run; before it what even a bare client must do for the same, if that is another."""
    if kind := BARE_CLIENTS.get(name):
        await runner.measure(f"bare client of {name}", kind)
    await runner.measure_with_floor(name, changed=changed)


async def all_changed(runner: Runner) -> None:
    """A tenth of the images, all of them changed."""
    await runner.ensure_stored(runner.workload.zones, runner.workload.images // 10)
    for _ in range(runner.workload.rounds):
        changed = (await runner.fixture.change_server(drift="all"))["changed"]
        await runner.measure("all changed", changed=changed)


async def latency(runner: Runner) -> None:
    """A usual account, far away."""
    await runner.ensure_stored(runner.workload.usual_zones, runner.workload.usual_images)
    for seconds in runner.workload.latencies:
        await runner.fixture.change_server(latency=seconds)
        name = f"latency {seconds * 1000:.0f} ms"
        for _ in range(runner.workload.rounds):
            await runner.measure(
                f"HTTP floor of {name}", "http", concurrency=runner.workload.latency_concurrency
            )
            await runner.measure(name, concurrency=runner.workload.latency_concurrency)
    await runner.fixture.change_server(latency=0.0)


async def limits(runner: Runner) -> None:
    """Zones of one page each under a rate limit, which a run is not given, then given."""
    zones, images = runner.workload.calls, 20
    await runner.fixture.build_cloud(zones, images)
    await runner.fixture.change_server(latency=runner.workload.rate_limit_latency)
    for _ in range(min(runner.workload.rounds, runner.workload.rate_limit_rounds)):
        for name, max_rate in (
            ("unknown limit", None),
            ("known limit", runner.workload.rate_limit),
        ):
            await runner.fixture.empty_database()  # also of what the run before learnt of the limit
            await runner.fixture.change_server(limit=runner.workload.rate_limit)
            await runner.measure(name, max_rate=max_rate, appeared=zones * images)
    await runner.fixture.change_server(latency=0.0, limit=0)


async def growth(runner: Runner) -> None:
    """Half the images, and ten times the zones."""
    size = runner.workload
    await runner.fixture.build_cloud(size.zones, size.images // 2)
    for _ in range(size.rounds):
        await runner.measure_first_load("first load of half")
        await runner.measure("no change of half")
    for zones in (size.zones, size.zones * 10):
        await runner.fixture.build_cloud(zones, 100)
        await runner.measure_first_load(f"first load of {zones} zones of 100")
        await runner.measure(f"no change of {zones} zones of 100")


async def large(runner: Runner) -> None:
    """Two zones too large to be held in memory."""
    await runner.fixture.build_cloud(2, runner.workload.large)
    await runner.measure_first_load("first load of two large zones")
    await runner.measure("no change of two large zones")
    changed = (await runner.fixture.change_server(drift="spread"))["changed"]
    await runner.measure("1 % of two large zones", changed=changed)


async def usual_account(runner: Runner) -> None:
    """A usual account, far away: programs from start to exit."""
    programs = runner.programs(SDK_LOOP, SDK_THREADS, DLT)
    await runner.fixture.build_cloud(runner.workload.usual_zones, runner.workload.usual_images)
    await runner.fixture.change_server(latency=runner.workload.competitor_latency)
    for program in programs:
        await runner.measure_program(program, "first load of a usual account")
    for _ in range(runner.workload.rounds):
        for program in programs:
            await runner.measure_program(program, "usual account")
    await runner.fixture.change_server(latency=0.0)


async def many_images(runner: Runner) -> None:
    """All images, beside the SDK: programs from start to exit."""
    if not runner.programs(SDK_LOOP):
        return
    await runner.fixture.build_cloud(runner.workload.zones, runner.workload.images)
    for _ in range(min(runner.workload.rounds, runner.workload.slow_rounds)):
        await runner.fixture.empty_database()
        for program in (SYNCER, SDK_LOOP):
            await runner.measure_program(program, "first load")
        for program in (SYNCER, SDK_LOOP, SDK_THREADS):
            await runner.fixture.vacuum()
            await runner.measure_program(program, "no change")


async def tenth_of_images(runner: Runner) -> None:
    """A tenth of the images, beside dlt: programs from start to exit."""
    programs = runner.programs(DLT, DLT_TUNED)
    await runner.fixture.build_cloud(runner.workload.zones, runner.workload.images // 10)
    for _ in range(runner.workload.rounds):
        for program in programs:
            await runner.fixture.empty_database()
            await runner.measure_program(program, "first load of a tenth")
            await runner.fixture.vacuum()
            await runner.measure_program(program, "no change of a tenth")


async def far_away(runner: Runner) -> None:
    """A usual account behind TLS and a link that takes time: a run, and programs beside it.

    Then a run at other distances, and where zones are listed late, not at all, or not all.
    """
    if not far.installed():
        return
    size = runner.workload
    programs = runner.programs(SDK_LOOP, SDK_THREADS) or [SYNCER]
    await runner.ensure_stored(size.usual_zones, size.usual_images)
    for program in programs:
        if program != SYNCER:  # which has stored it
            await runner.measure_program(program, "near, as preparation")
    async with runner.fixture.far_away(size.round_trip):
        for _ in range(size.rounds):
            await runner.measure("HTTP floor of far away", "http")
            await runner.measure("far away")
            for program in programs:
                await runner.measure_program(program, "far away")
        for listing, words in far.LISTED.items():
            await runner.fixture.change_server(listing=listing)
            status = "partial" if listing == "failing" else "succeeded"
            await runner.measure(f"far away, {words}", status=status)
    for seconds in size.other_trips:
        async with runner.fixture.far_away(seconds):
            for _ in range(size.rounds):
                await runner.measure(f"far away, {seconds * 1000:g} ms")


async def many_accounts(runner: Runner) -> None:
    """Many accounts, far away: all in one process, beside one alone; by workers, beside one."""
    if not far.installed():
        return
    size, fixture = runner.workload, runner.fixture
    runs = size.accounts_runs
    fleets = [program for program in map(workers, (1, size.workers)) if program.installed]
    needed, there = 3 * max(size.at_once) + 5, await fixture.connections()
    if there < needed:
        raise ConfigError(f"G15 needs {needed} connections of PostgreSQL, which allows {there}")
    await fixture.build_cloud(size.account_zones, size.usual_images)
    fixture.give_accounts(size.accounts)
    await runner.measure_program(runs[-1].program, "near, as preparation", accounts=size.accounts)
    await fixture.vacuum()
    async with fixture.far_away(size.round_trip):
        for number in range(size.rounds):
            name = fixture.accounts[number % size.accounts]
            await runner.measure_program(alone(name), "far away")
            for program in (*(run.program for run in runs), *fleets):
                await runner.measure_program(program, "far away", accounts=size.accounts)


async def long_histories(runner: Runner) -> None:
    """Statements that read: of the documents, and those behind commands, on two histories."""
    for name, size in (("year", runner.workload.year), ("million", runner.workload.million)):
        await runner.fixture.empty_database()
        async with runner.fixture.connected() as connection:
            await seed.seed(connection, size)
            for statement in reading.statements(await reading.look(connection)):
                await runner.measure_reading(connection, name, statement)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A function that measures, and the goals that need it."""

    measure: Callable[[Runner], Awaitable[None]]
    goals: frozenset[str]


SCENARIOS: Final = (
    Scenario(measure=first_load, goals=frozenset({"G4", "G7", "G12"})),
    Scenario(measure=no_change, goals=frozenset({"G1", "G3", "G7", "G12"})),
    Scenario(measure=other_bytes, goals=frozenset({"G2", "G3"})),
    Scenario(measure=one_percent, goals=frozenset({"G5"})),
    Scenario(measure=all_changed, goals=frozenset({"G5"})),  # shown, not judged: no bound is set
    Scenario(measure=latency, goals=frozenset({"G6"})),
    Scenario(measure=limits, goals=frozenset({"G11"})),
    Scenario(measure=growth, goals=frozenset({"G12"})),
    Scenario(measure=large, goals=frozenset({"G7"})),
    Scenario(measure=usual_account, goals=frozenset({"G8", "G9", "G10"})),
    Scenario(measure=many_images, goals=frozenset({"G8", "G9"})),
    Scenario(measure=tenth_of_images, goals=frozenset({"G10"})),
    Scenario(measure=far_away, goals=frozenset({"G13"})),
    Scenario(measure=many_accounts, goals=frozenset({"G15"})),
    Scenario(measure=long_histories, goals=frozenset({"G14"})),
)
GOALS: Final = tuple(f"G{number}" for number in range(1, 16))
COMPETITOR_GOALS: Final = frozenset({"G8", "G9", "G10"})
FAR_GOALS: Final = frozenset({"G13", "G15"})


def choose_goals(only: str | None, *, peers: bool, far: bool = False) -> frozenset[str]:
    """Return the goals named, as in ``G1,G6``; else all but those that take longer.

    These are the ones beside other programs, which ``peers`` adds, and those of an API that is
    ``far`` away. Raises ConfigError for a name that is no goal.
    """
    if only is None:
        left_out = (frozenset() if peers else COMPETITOR_GOALS) | (
            frozenset() if far else FAR_GOALS
        )
        return frozenset(GOALS) - left_out
    chosen = frozenset(name.strip().upper() for name in only.split(","))
    if unknown := sorted(chosen.difference(GOALS)):
        raise ConfigError(f"--only: {unknown[0]!r} is no goal: they are {', '.join(GOALS)}")
    return chosen


async def run_scenarios(runner: Runner, goals: Collection[str]) -> None:
    """Measure what the goals need."""
    for scenario in SCENARIOS:
        if scenario.goals.intersection(goals):
            await scenario.measure(runner)
