"""The chapters of the course: each measures what some goals need, beside its floor, in turns.

In turns, so that what is compared met one and the same machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, NamedTuple

from syncer.bench.programs import DLT, DLT_TUNED, SDK_LOOP, SDK_THREADS, SYNCER, in_turn
from syncer.bench.runner import Course
from syncer.core.errors import ConfigError

LATENCIES: Final = (0.2, 0.05)
LATENCY_ZONES: Final = 60
LATENCY_IMAGES: Final = 200
LATENCY_CALLS_AT_ONCE: Final = 32
LIMIT: Final = 20
"""Calls a second, and what the bucket holds."""
LIMIT_LATENCY: Final = 0.1
LIMIT_ROUNDS: Final = 3
PEER_LATENCY: Final = 0.1
SLOW_ROUNDS: Final = 2
"""Of what takes a peer a minute each time."""


async def first_load(course: Course) -> None:
    """A first load beside COPY."""
    await course.stage.build(course.size.zones, course.size.images)
    for _ in range(course.size.rounds):
        await course.stage.empty()
        await course.measure("COPY floor", "copy")
        await course.load("first load")


async def no_change(course: Course) -> None:
    """A run that finds no change beside fetching, and fetching and decoding."""
    await course.stand(course.size.zones, course.size.images)
    await course.measure("no change, warming up")
    for _ in range(course.size.rounds):
        await course.measure("HTTP floor", "http")
        await course.beside_floor("no change")


async def other_bytes(course: Course) -> None:
    """The same images in other bytes, beside the same."""
    await course.stand(course.size.zones, course.size.images)
    for number in range(course.size.rounds):
        await course.stage.order(reorder=number)
        await course.beside_floor("reordered")
        await course.stage.order(reformat=number)
        await course.beside_floor("reformatted")


async def one_percent(course: Course) -> None:
    """One image in a hundred changed, in all zones or in few, beside the same."""
    await course.stand(course.size.zones, course.size.images)
    for _ in range(course.size.rounds):
        for how in ("spread", "concentrated"):
            changed = (await course.stage.order(drift=how))["changed"]
            await course.beside_floor(f"1 % {how}", changed=changed)


async def all_changed(course: Course) -> None:
    """A tenth of the images, all of them changed."""
    await course.stand(course.size.zones, course.size.images // 10)
    for _ in range(course.size.rounds):
        changed = (await course.stage.order(drift="all"))["changed"]
        await course.measure("all changed", changed=changed)


async def latency(course: Course) -> None:
    """Sixty zones of one page each, far away."""
    await course.stand(LATENCY_ZONES, LATENCY_IMAGES)
    for seconds in LATENCIES:
        await course.stage.order(latency=seconds)
        name = f"latency {seconds * 1000:.0f} ms"
        for _ in range(course.size.rounds):
            await course.measure(f"HTTP floor of {name}", "http", concurrency=LATENCY_CALLS_AT_ONCE)
            await course.measure(name, concurrency=LATENCY_CALLS_AT_ONCE)
    await course.stage.order(latency=0.0)


async def limits(course: Course) -> None:
    """Zones of one page each, from an API that takes so many calls a second: told, and not told."""
    zones, images = course.size.calls, 20
    await course.stage.build(zones, images)
    await course.stage.order(latency=LIMIT_LATENCY)
    for _ in range(min(course.size.rounds, LIMIT_ROUNDS)):
        for name, told in (("unknown limit", None), ("known limit", LIMIT)):
            await course.stage.empty()  # of what the run before learnt, too
            await course.stage.order(limit=LIMIT)
            await course.measure(name, max_rate=told, appeared=zones * images)
    await course.stage.order(latency=0.0, limit=0)


async def growth(course: Course) -> None:
    """Half the images, and ten times the zones."""
    size = course.size
    await course.stage.build(size.zones, size.images // 2)
    for _ in range(size.rounds):
        await course.load("first load of half")
        await course.measure("no change of half")
    for zones in (size.zones, size.zones * 10):
        await course.stage.build(zones, 100)
        await course.load(f"first load of {zones} zones of 100")
        await course.measure(f"no change of {zones} zones of 100")


async def large(course: Course) -> None:
    """Two zones that are never held in memory as a whole."""
    await course.stage.build(2, course.size.large)
    await course.load("first load of two large zones")
    await course.measure("no change of two large zones")
    changed = (await course.stage.order(drift="spread"))["changed"]
    await course.measure("1 % of two large zones", changed=changed)


async def usual_account(course: Course) -> None:
    """Sixty zones of one page each, far away: whole programs."""
    programs = in_turn(SDK_LOOP, SDK_THREADS, DLT)
    await course.stage.build(LATENCY_ZONES, LATENCY_IMAGES)
    await course.stage.order(latency=PEER_LATENCY)
    for program in programs:
        await course.whole(program, "first load of a usual account")
    for _ in range(course.size.rounds):
        for program in programs:
            await course.whole(program, "usual account")
    await course.stage.order(latency=0.0)


async def many_images(course: Course) -> None:
    """All images, beside the SDK: whole programs."""
    if not SDK_LOOP.installed:
        return
    await course.stage.build(course.size.zones, course.size.images)
    for _ in range(min(course.size.rounds, SLOW_ROUNDS)):
        await course.stage.empty()
        for program in (SYNCER, SDK_LOOP):
            await course.whole(program, "first load")
        for program in (SYNCER, SDK_LOOP, SDK_THREADS):
            await course.stage.settle()
            await course.whole(program, "no change")


async def tenth_of_images(course: Course) -> None:
    """A tenth of the images, beside dlt: whole programs."""
    programs = in_turn(DLT, DLT_TUNED)
    await course.stage.build(course.size.zones, course.size.images // 10)
    for _ in range(course.size.rounds):
        for program in programs:
            await course.stage.empty()
            await course.whole(program, "first load of a tenth")
            await course.stage.settle()
            await course.whole(program, "no change of a tenth")


class Chapter(NamedTuple):
    """A part of the course, and the goals that it is for."""

    measure: Callable[[Course], Awaitable[None]]
    goals: frozenset[str]


CHAPTERS: Final = (
    Chapter(first_load, frozenset({"G4", "G7", "G12"})),
    Chapter(no_change, frozenset({"G1", "G3", "G7", "G12"})),
    Chapter(other_bytes, frozenset({"G2", "G3"})),
    Chapter(one_percent, frozenset({"G5"})),
    Chapter(all_changed, frozenset({"G5"})),  # to look at: no bound is set
    Chapter(latency, frozenset({"G6"})),
    Chapter(limits, frozenset({"G11"})),
    Chapter(growth, frozenset({"G12"})),
    Chapter(large, frozenset({"G7"})),
    Chapter(usual_account, frozenset({"G8", "G9", "G10"})),
    Chapter(many_images, frozenset({"G8", "G9"})),
    Chapter(tenth_of_images, frozenset({"G10"})),
)
GOALS: Final = tuple(f"G{number}" for number in range(1, 13))
BESIDE_PEERS: Final = frozenset({"G8", "G9", "G10"})


def choose(only: str | None, *, peers: bool) -> frozenset[str]:
    """Return the goals that are asked for, as in ``G1,G6``; else all, or all that need no peer."""
    if only is None:
        return frozenset(GOALS) if peers else frozenset(GOALS) - BESIDE_PEERS
    chosen = frozenset(name.strip().upper() for name in only.split(","))
    if unknown := sorted(chosen.difference(GOALS)):
        raise ConfigError(f"--only: {unknown[0]!r} is no goal: they are G1 to {GOALS[-1]}")
    return chosen


async def measure(course: Course, chosen: Collection[str]) -> None:
    """Measure what the chosen goals need."""
    for chapter in CHAPTERS:
        if chapter.goals.intersection(chosen):
            await chapter.measure(course)
