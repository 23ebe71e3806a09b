"""``syncer bench``: every goal gets its verdict, and what did its work wrongly gets none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from syncer.bench import fixture as stage
from syncer.bench import programs, table
from syncer.bench import scenarios as chapters
from syncer.bench.fixture import Sample, Stage, WrongAnswer, open_stage
from syncer.bench.goals import Goal, judge
from syncer.bench.measure import KINDS
from syncer.bench.programs import DLT, SDK_LOOP, SYNCER, Program
from syncer.bench.runner import Course, Size
from syncer.core.errors import ConfigError
from syncer.embedded import EmbeddedPostgres

TINY = Size(zones=1, images=10, large=10, calls=25, rounds=1)
ALONE = frozenset(chapters.GOALS) - chapters.BESIDE_PEERS


@pytest.fixture(scope="module")
async def opened(postgres: EmbeddedPostgres) -> AsyncIterator[Stage]:
    async with open_stage(postgres.dsn("postgres"), None) as found:
        yield found


@pytest.fixture
async def small(opened: Stage) -> Stage:
    """A stage that serves four zones of 20 images, and stores them nowhere yet."""
    await opened.order(latency=0.0, limit=0)
    await opened.build(4, 20)
    return opened


@pytest.fixture
def course(small: Stage) -> Course:
    return Course(small, TINY, lambda _: None)


async def tamper(found: Stage, statement: str) -> None:
    connection = await asyncpg.connect(found._url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_one_goal_alone_as_json(postgres: EmbeddedPostgres, syncer: Any) -> None:
    """--only measures what the goal needs, each in a process of its own; the JSON tells it all."""
    # Before the tests with a stage of their own: a bench's databases have fixed names.
    done = await syncer(
        *("bench", "--only", "g11", "--json", "--rounds", "1", "--calls", "3"),
        *("--database-url", postgres.dsn("postgres")),
    )
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert [goal["goal"] for goal in told["goals"]] == ["G11"] * 4
    assert all(goal["met"] is (goal["verdict"] == "met") for goal in told["goals"])
    assert told["measured"].keys() == {"unknown limit", "known limit"}
    assert told["measured"]["unknown limit"]["calls"] == 4
    assert told["measured"]["unknown limit"]["peak"] > 10 << 20
    assert "unknown limit: " in done.err


async def test_every_goal_gets_a_verdict(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that needs no peer is measured, here without a process for each measurement."""

    async def here(_stage: Stage, command: Any, asked: Any, _environ: Any) -> bytes:
        module, kind = command
        assert module == "syncer.bench.measure"
        return msgspec.json.encode(await KINDS[kind](asked))

    monkeypatch.setattr(Stage, "_output", here)
    monkeypatch.setattr(chapters, "LATENCY_ZONES", 3)
    await chapters.measure(course, ALONE)
    goals = judge(course.samples, TINY, ALONE)
    assert {goal.goal for goal in goals} == ALONE
    looked_at = {goal.beside for goal in goals if goal.verdict == "no goal"}
    assert {"bare aiohttp"} == looked_at
    assert {goal.verdict for goal in goals} <= {"met", "missed", "no goal"}
    assert {len(goal.figures) for goal in goals} == {1}
    shown = {row[0]: row for row in table.rows(goals)}
    assert shown.keys() == ALONE
    assert all(len(row) == len(table.HEADINGS) for row in shown.values())
    rows = [goal for goal in goals if goal.unit == "rows"]
    assert all(goal.figures == [0] for goal in rows)
    assert len(rows) == 5
    [refused] = [g for g in goals if g.work == "known limit: calls refused"]
    assert refused.figures == [0]


async def test_the_limit_is_one(small: Stage) -> None:
    """Of forty calls within a few seconds, one a second is answered and the others are counted."""
    await small.build(40, 1)
    await small.order(limit=1)
    sample = await small.measure("http")
    assert sample.calls == 40
    assert sample.refused >= 30
    with pytest.raises(WrongAnswer, match="40 pages are served, but"):
        await small.check(sample)


def test_goals_are_chosen_by_name() -> None:
    """--only takes names in any case; a goal that is none is a fault of the configuration."""
    assert chapters.choose("g1, G10", peers=False) == {"G1", "G10"}
    assert chapters.choose(None, peers=False) == ALONE
    assert chapters.choose(None, peers=True) == set(chapters.GOALS)
    with pytest.raises(ConfigError, match="'G13' is no goal: they are G1 to G12"):
        chapters.choose("G1,G13", peers=False)


async def test_a_wrong_answer_fails(small: Stage) -> None:
    """One changed field, one row too few, or nothing stored: no figure, an error."""
    sample = await small.measure("sync")
    await small.check(sample)
    for statement in (
        "update syncer_store.images set image_size = '21' where image_id = "
        "(select min(image_id) from syncer_store.images)",
        "delete from syncer_store.images where image_id = "
        "(select max(image_id) from syncer_store.images)",
        "delete from syncer_store.images",
    ):
        await tamper(small, statement)
        with pytest.raises(WrongAnswer, match=r"\d zones differ"):
            await small.check(sample)


async def test_nothing_done_fails(small: Stage) -> None:
    """A program that asked for too little, stored nothing, or failed is not called fast."""
    idle = Program(name="idle", command=("this",), stores="syncer")
    with pytest.raises(WrongAnswer, match="4 pages are served, but 0 calls were answered"):
        await Course(small, TINY, lambda _: None).whole(idle, "nothing")
    await small.run(SYNCER)
    read = await small.run(SYNCER)
    await small.empty()
    with pytest.raises(WrongAnswer, match="4 zones differ"):
        await small.check(read)
    with pytest.raises(WrongAnswer, match=r"no_such_module failed \(exit 1\): .*No module named"):
        await small.run(Program(name="broken", command=("no_such_module",), stores="syncer"))


async def test_the_report_must_be_as_expected(course: Course) -> None:
    """A run that says that it found what is not there fails, whatever it stored."""
    with pytest.raises(WrongAnswer, match=r"'appeared': 79.*'appeared': 80"):
        await course.measure("first load", appeared=79)


@pytest.mark.skipif(not SDK_LOOP.installed, reason="needs the SDK and psycopg")
async def test_the_sdk_is_a_peer(course: Course) -> None:
    """Loop and threads store what is served; a row changed behind their backs is noticed."""
    await chapters.many_images(course)
    goals = judge(course.samples, TINY, {"G8", "G9"})
    figures = {(g.goal, g.work.partition(":")[0]): len(g.figures) for g in goals}
    assert figures == {
        ("G8", "first load"): 1,
        ("G8", "no change"): 1,
        ("G9", "no change"): 1,
    }
    threads = course.samples["SDK in 16 threads: no change"][0]
    await course.stage.check(threads, "sdk")
    await tamper(course.stage, "update sdk.images set os_type = 'Linux'")
    with pytest.raises(WrongAnswer, match="1 zones differ"):
        await course.stage.check(threads, "sdk")


@pytest.mark.skipif(not DLT.installed, reason="needs dlt")
async def test_dlt_is_a_peer(course: Course) -> None:
    """Its active rows are what is served, also after a drift; a row retired by hand is noticed."""
    await course.whole(DLT, "first load")
    await course.stage.order(drift="spread")
    sample = await course.whole(DLT, "1 %")
    assert sample.written >= 4
    await tamper(
        course.stage, "update dlt.images set _dlt_valid_to = now() where zone_id = 'ZONE-0001'"
    )
    with pytest.raises(WrongAnswer, match="1 zones differ"):
        await course.stage.check(sample, "dlt")


async def test_a_peer_that_is_not_installed_is_listed_so(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured beside it, and the table says why."""
    monkeypatch.setattr(programs, "find_spec", lambda _: None)
    await chapters.measure(course, chapters.BESIDE_PEERS)
    assert course.samples == {}
    rows = table.rows(judge(course.samples, TINY, chapters.BESIDE_PEERS))
    assert {row[0] for row in rows} == chapters.BESIDE_PEERS
    assert {row[-1] for row in rows} == {"not installed"}
    assert table.machine("15", programs.PEERS).keys() == table.machine("15").keys()


def test_goals_are_met_from_their_side() -> None:
    """At most, at least, or only to be looked at: the median decides."""

    def goal(*figures: float, **bound: float) -> Goal:
        return Goal(goal="G1", work="", figures=list(figures), **bound)  # type: ignore[arg-type]

    assert "met" == goal(1, 2, 9, at_most=2).verdict
    assert "missed" == goal(1, 2.1, 9, at_most=2).verdict
    assert "met" == goal(1, 8, 9, at_least=8).verdict
    assert "missed" == goal(1, 7.9, 9, at_least=8).verdict
    assert "no goal" == goal(1).verdict
    assert goal().figure is None


def test_ratios_are_of_one_round() -> None:
    """How many times as fast: each of the peer's samples by ours of the same round."""
    samples = {
        "SDK loop + upsert: no change": [_took(40), _took(90)],
        "syncer sync: no change": [_took(2), _took(3)],
    }
    [goal] = [g for g in judge(samples, TINY, {"G8"}) if g.figures]
    assert (goal.figures, goal.figure, goal.at_least) == ([20, 30], 25, 20)


def _took(seconds: float) -> Sample:
    return Sample(wall=seconds, whole=seconds, cpu=seconds)


def test_each_goal_has_a_chapter() -> None:
    assert set(chapters.GOALS) == frozenset().union(*(c.goals for c in chapters.CHAPTERS))
    assert stage.STORED.keys() == {program.stores for program in (SYNCER, *programs.PEERS)}
