"""``syncer bench``: every goal gets its verdict, and what did its work wrongly gets none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from syncer.bench import cloud, measure, scenarios, table
from syncer.bench.fixture import STORED, Fixture, Measurement, WrongAnswer, open_fixture
from syncer.bench.goals import Goal, evaluate
from syncer.bench.measure import MEASURES, MeasureOptions
from syncer.bench.programs import (
    COMPETITORS,
    DLT,
    SDK_LOOP,
    SYNCER,
    Program,
    alone,
    installed_competitors,
)
from syncer.bench.runner import Runner, Workload
from syncer.bench.seed import Size
from syncer.cli import GARBAGE_THRESHOLD
from syncer.core.errors import ConfigError
from syncer.embedded import EmbeddedPostgres
from syncer.zenlayer.sources.vm import VM

BRIEF = Size(zones=7, images=80, changes=300, days=1)
TINY = Workload(
    zones=1,
    images=10,
    large=10,
    calls=25,
    rounds=1,
    usual_zones=3,
    year=BRIEF,
    million=BRIEF,
)
ALONE = frozenset(scenarios.GOALS) - scenarios.COMPETITOR_GOALS - scenarios.FAR_GOALS
"""The goals that need neither another program nor an API that is far away: see ``test_far.py``."""


@pytest.fixture(scope="module")
async def opened(postgres: EmbeddedPostgres) -> AsyncIterator[Fixture]:
    async with open_fixture(postgres.dsn("postgres"), None) as found:
        yield found


@pytest.fixture
async def small(opened: Fixture) -> Fixture:
    """A server of four zones of 20 images, which are not stored yet."""
    await opened.change_server(latency=0.0, limit=0)
    await opened.build_cloud(4, 20)
    return opened


def runner_of(fixture: Fixture, installed: Sequence[Program] = COMPETITORS) -> Runner:
    return Runner(fixture, TINY, progress=lambda _: None, installed=installed)


@pytest.fixture
def runner(small: Fixture) -> Runner:
    return runner_of(small)


async def tamper(fixture: Fixture, statement: str) -> None:
    connection = await asyncpg.connect(fixture.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_one_goal_alone_as_json(postgres: EmbeddedPostgres, syncer: Any) -> None:
    """--only measures what the goal needs, each in a process of its own; the JSON has all of it."""
    # Before the tests with a fixture of their own: a bench's databases have fixed names.
    done = await syncer(
        *("bench", "--only", "g11", "--json", "--rounds", "1", "--calls", "3"),
        *("--database-url", postgres.dsn("postgres")),
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert [goal["goal"] for goal in document["goals"]] == ["G11"] * 4
    assert all(goal["met"] is (goal["verdict"] == "met") for goal in document["goals"])
    assert document["measured"].keys() == {"unknown limit", "known limit"}
    assert document["measured"]["unknown limit"]["calls"] == 4
    assert document["measured"]["unknown limit"]["peak"] > 10 << 20
    assert "unknown limit: " in done.err


async def test_every_goal_gets_a_verdict(small: Fixture) -> None:
    """All that needs no other program is measured, here without a process for each measurement."""

    async def here(command: Sequence[str], options: MeasureOptions, _: Mapping[str, str]) -> bytes:
        module, kind = command
        assert module == "syncer.bench.measure"
        return msgspec.json.encode(await MEASURES[kind](options))

    in_process = Fixture(
        endpoint=small.endpoint, admin=small.admin, url=small.url, home=small.home, run=here
    )
    runner = runner_of(in_process)
    await scenarios.run_scenarios(runner, ALONE)
    goals = evaluate(runner.measurements, TINY, ALONE, ())
    assert {goal.goal for goal in goals} == ALONE
    reading = [goal for goal in goals if goal.goal == "G14"]
    assert len({goal.work for goal in reading}) == len(reading) > 40
    shown_only = {goal.work for goal in goals if goal.verdict == "no goal" and goal.beside}
    assert shown_only == {
        *("no change", "reordered", "1 % spread", "3 zones, latency 50 ms"),
        *("reordered for the first time", "1 % spread for the first time"),
    }
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


async def test_the_limit_holds(small: Fixture) -> None:
    """Of forty calls within a few seconds, one a second is answered and the others are counted."""
    await small.build_cloud(40, 1)
    await small.change_server(limit=1)
    measurement = await small.measure("http")
    assert measurement.calls == 40
    assert measurement.refused >= 30
    with pytest.raises(WrongAnswer, match="40 pages are served, but"):
        await small.check(measurement)


def test_goals_are_chosen_by_name() -> None:
    """--only takes names in any case; a name that is no goal is an error of the configuration."""
    assert scenarios.choose_goals("g1, G10", peers=False) == {"G1", "G10"}
    assert scenarios.choose_goals(None, peers=False) == ALONE
    assert scenarios.choose_goals(None, peers=True) == ALONE | scenarios.COMPETITOR_GOALS
    assert scenarios.choose_goals(None, peers=False, far=True) == ALONE | scenarios.FAR_GOALS
    with pytest.raises(ConfigError, match=r"'G99' is no goal: they are G1, .*, G14, G15$"):
        scenarios.choose_goals("G1,G99", peers=False)


async def test_a_wrong_answer_fails(small: Fixture) -> None:
    """One changed field, one row too few, or nothing stored: no figure, an error."""
    measurement = await small.measure("sync")
    await small.check(measurement)
    for statement in (
        "update syncer_store.images set image_size = '21' where image_id = "
        "(select min(image_id) from syncer_store.images)",
        "delete from syncer_store.images where image_id = "
        "(select max(image_id) from syncer_store.images)",
        "delete from syncer_store.images",
    ):
        await tamper(small, statement)
        with pytest.raises(WrongAnswer, match=r"\d zones differ"):
            await small.check(measurement)


async def test_nothing_done_fails(small: Fixture) -> None:
    """A program that asked for too little, stored nothing, or failed is not called fast."""
    idle = Program(name="idle", command=("this",), stores="syncer")
    with pytest.raises(WrongAnswer, match="4 pages are served, but 0 calls were answered"):
        await runner_of(small).measure_program(idle, "nothing")
    await small.measure_program(SYNCER)
    read = await small.measure_program(SYNCER)
    await small.empty_database()
    with pytest.raises(WrongAnswer, match="4 zones differ"):
        await small.check(read)
    with pytest.raises(WrongAnswer, match=r"no_such_module failed \(exit 1\): (?s:.*)No module"):
        await small.measure_program(
            Program(name="broken", command=("no_such_module",), stores="syncer")
        )


async def test_the_report_must_be_as_expected(runner: Runner) -> None:
    """A run that says that it found what is not there fails, whatever it stored."""
    with pytest.raises(WrongAnswer, match=r"'appeared': 79.*'appeared': 80"):
        await runner.measure("first load", appeared=79)


@pytest.mark.skipif(not SDK_LOOP.installed, reason="needs the SDK and psycopg")
async def test_the_sdk_is_a_competitor(runner: Runner) -> None:
    """Loop and threads store what is served; a row changed by somebody else is noticed."""
    await scenarios.many_images(runner)
    goals = evaluate(runner.measurements, TINY, {"G8", "G9"}, COMPETITORS)
    figures = {(g.goal, g.work.partition(":")[0]): len(g.figures) for g in goals}
    assert figures == {
        ("G8", "first load"): 1,
        ("G8", "no change"): 1,
        ("G9", "no change"): 1,
    }
    threads = runner.measurements["SDK in 16 threads: no change"][0]
    await runner.fixture.check(threads, "sdk")
    await tamper(runner.fixture, "update sdk.images set os_type = 'Linux'")
    with pytest.raises(WrongAnswer, match="1 zones differ"):
        await runner.fixture.check(threads, "sdk")


@pytest.mark.skipif(not DLT.installed, reason="needs dlt")
async def test_dlt_is_a_competitor(runner: Runner) -> None:
    """Its active rows are what is served, also after a drift; a row retired by hand is noticed."""
    await runner.measure_program(DLT, "first load")
    await runner.fixture.change_server(drift="spread")
    measurement = await runner.measure_program(DLT, "1 %")
    assert measurement.written >= 4
    await tamper(
        runner.fixture, "update dlt.images set _dlt_valid_to = now() where zone_id = 'ZONE-0001'"
    )
    with pytest.raises(WrongAnswer, match="1 zones differ"):
        await runner.fixture.check(measurement, "dlt")


async def test_a_competitor_that_is_not_installed_is_listed_so(small: Fixture) -> None:
    """Nothing is measured beside it, and the table says why."""
    runner = runner_of(small, installed=())
    await scenarios.run_scenarios(runner, scenarios.COMPETITOR_GOALS)
    assert runner.measurements == {}
    rows = table.rows(evaluate(runner.measurements, TINY, scenarios.COMPETITOR_GOALS, ()))
    assert {row[0] for row in rows} == scenarios.COMPETITOR_GOALS
    assert {row[-1] for row in rows} == {"not installed"}


def test_a_program_is_installed_when_its_modules_are() -> None:
    """A program is measured, and its packages' versions are shown, only where all are there."""
    there = Program(name="there", command=(), stores="sdk", needs={"msgspec": "msgspec"})
    absent = Program(name="absent", command=(), stores="sdk", needs={"no-such": "no_such_module"})
    assert there.installed
    assert not absent.installed
    assert absent.versions == {}
    assert table.machine("15", [absent]).keys() == table.machine("15").keys()
    assert all(program.installed for program in installed_competitors())


def test_goals_are_met_from_their_side() -> None:
    """At most, at least, or only shown: the median decides."""

    def goal(*figures: float, **bound: float) -> Goal:
        return Goal(goal="G1", work="", figures=list(figures), **bound)  # type: ignore[arg-type]

    assert "met" == goal(1, 2, 9, at_most=2).verdict
    assert "missed" == goal(1, 2.1, 9, at_most=2).verdict
    assert "met" == goal(1, 8, 9, at_least=8).verdict
    assert "missed" == goal(1, 7.9, 9, at_least=8).verdict
    assert "no goal" == goal(1).verdict
    assert "missed" == goal(3, at_most=2, busy=0.8).verdict
    assert "not judged: processors 81% busy" == goal(1, at_most=2, busy=0.81).verdict
    assert goal(1, at_most=2, busy=0.81).met is None
    assert goal().figure is None


def test_ratios_are_of_one_round() -> None:
    """How many times as fast: each of the competitor's times by ours of the same round."""
    measurements = {
        "SDK loop + upsert: no change": [_took(40), _took(90)],
        "syncer sync: no change": [_took(2), _took(3)],
    }
    [goal] = [g for g in evaluate(measurements, TINY, {"G8"}, COMPETITORS) if g.figures]
    assert (goal.figures, goal.figure, goal.at_least) == ([20, 30], 25, 22)


def _took(seconds: float) -> Measurement:
    return Measurement(wall=seconds, whole=seconds, cpu=seconds)


def test_each_goal_has_a_scenario() -> None:
    """Nothing is a goal that is never measured, and every program's rows can be checked."""
    assert set(scenarios.GOALS) == frozenset().union(*(s.goals for s in scenarios.SCENARIOS))
    assert STORED.keys() == {program.stores for program in (SYNCER, *COMPETITORS, alone("a"))}


def test_every_tracked_field_is_served() -> None:
    """The bench serves, checks and compares the columns that the program reads of vm."""
    assert {"image_id", *VM.fields} == cloud.FIELDS.keys()
    row = json.loads(cloud.Cloud(1, 1).page("ZONE-0000", 1, 1))[0]
    assert list(cloud.FIELDS.values()) == list(row)
    assert all(row.values())


def test_garbage_is_collected_as_in_the_command() -> None:
    """A run that is measured in process has the thresholds that the command line sets."""
    assert measure.NEW_CONTAINERS == GARBAGE_THRESHOLD


ABOUT = {"date": "2026-11-28", "machine": "2 processors", "python": "3.11.7"}
JUDGED = [
    Goal(goal="G8", work="no change", beside="SDK loop", figures=[20.5, 19], at_least=20),
    Goal(goal="G1", work="no change", beside="fetch + decode", figures=[1.0], at_most=0.75),
    Goal(goal="G10", work="usual account", beside="dlt", figures=[], missing=True),
]


def test_the_result_is_a_table_where_it_fits() -> None:
    """One line a goal, in the order of their numbers, under headings."""
    _, _, headings, *lines = table.text(JUDGED, ABOUT, 200).splitlines()
    verdicts = ("missed", "missed", "not installed")
    assert headings.split("  ")[0] == "GOAL"
    assert [line.split()[0] for line in lines] == ["G1", "G8", "G10"]
    assert len({line.index(word) for line, word in zip(lines, verdicts, strict=True)}) == 1


def test_the_result_is_readable_on_a_narrow_terminal() -> None:
    """Two lines a goal where the table is too wide: no line is broken by the terminal."""
    lines = table.text(JUDGED, ABOUT, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2:] == [
        "G1  no change, compared with fetch + decode",
        "    1 x, limit <= 0.75: missed",
        "G8  no change, compared with SDK loop",
        "    19.75 x (19 to 20.50 in 2 rounds), limit >= 20: missed",
        "G10 usual account, compared with dlt",
        "    not installed",
    ]
