"""Whose turn it is, as the table says; and the schema of the queue."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncer.core.errors import ConfigError, DatabaseGone, LockHeld
from syncer.serve import timing as serving
from syncer.store import queue, schedule
from syncer.store.connection import Server, Timing, sql
from syncer.store.migrate import as_sql
from syncer.store.queue import Queue
from syncer.store.runs import begin
from syncer.store.schedule import Worker
from tests.pooler import pooler
from tests.support import until

GRACE = 60.0
ME = Worker(name="me", host="h", pid=1, version="1", accounts=("a", "b"), at_once=2)


@pytest.fixture
async def turns(db: Any) -> Any:
    """Two accounts that are crawled every hour, and due."""
    await schedule.add(db, {"a": 3600.0, "b": 3600.0})
    return db


async def due(db: Any) -> list[str]:
    return await schedule.due(db, GRACE)


async def move(db: Any, seconds: float) -> None:
    """Let time pass for the schedule."""
    await db.execute(
        "update syncer_store.account_schedule set due_at = due_at - $1 * interval '1 second', "
        "started_at = started_at - $1 * interval '1 second', "
        "ended_at = ended_at - $1 * interval '1 second'",
        seconds,
    )


async def run_of(db: Any, account: str, status: str) -> None:
    await db.execute(
        """
        with run as (
            insert into syncer_store.runs (account, status, started_at, clock_at, finished_at,
                deadline_at, syncer_version, selection, change_base)
            values ($1, $2, now(), now(), now(), now(), '1', '{}', 0) returning run_id
        )
        insert into syncer_store.accounts (account, run_id) select $1, run_id from run""",
        account,
        status,
    )


async def test_a_turn_is_taken_once_and_comes_again_in_its_time(turns: Any) -> None:
    assert ["a", "b"] == await due(turns)
    turn = await schedule.take(turns, "a", "me", GRACE)
    assert turn is not None
    assert await schedule.take(turns, "a", "other", GRACE) is None
    assert ["b"] == await due(turns)
    await schedule.end(turns, turn, due=turn.clock + 3600, failures=0, result="done")
    await move(turns, 3590)
    assert ["b"] == await due(turns)
    await move(turns, 20)
    assert {"a", "b"} == set(await due(turns))


async def test_a_worker_that_died_loses_its_turn(turns: Any) -> None:
    """After a grace; and what it says of it then changes nothing."""
    lost = await schedule.take(turns, "a", "me", GRACE)
    assert lost is not None
    await move(turns, GRACE - 1)
    assert ["b"] == await due(turns)
    await move(turns, 2)
    assert {"a", "b"} == set(await due(turns))
    again = await schedule.take(turns, "a", "other", GRACE)
    assert again is not None
    await schedule.end(turns, lost, due=0.0, failures=9, result="too late")
    row = await turns.fetchrow("select * from syncer_store.account_schedule where account = 'a'")
    assert (0, "other", None) == (row["failures"], row["worker"], row["result"])


@pytest.mark.parametrize(("status", "redone"), [("succeeded", False), ("failed", True)])
async def test_what_was_done_is_not_done_again_where_its_end_was_not_noted(
    turns: Any, status: str, redone: bool
) -> None:
    assert await schedule.take(turns, "a", "me", GRACE) is not None
    await run_of(turns, "a", status)
    await move(turns, GRACE + 1)
    assert redone == ("a" in await due(turns))
    await turns.execute("update syncer_store.runs set clock_at = now() - interval '1 hour'")
    await move(turns, 3600)
    assert "a" in await due(turns)


async def test_a_clock_that_stepped_back_keeps_nobody_waiting(turns: Any) -> None:
    """What was stamped later than now counts as past."""
    turn = await schedule.take(turns, "a", "me", GRACE)
    assert turn is not None
    await schedule.end(turns, turn, due=turn.clock + 3600, failures=0, result="")
    assert await schedule.take(turns, "b", "me", GRACE) is not None
    assert await schedule.claim(turns, 10.0)
    assert not await schedule.claim(turns, 10.0)
    for hours in (400, 0.5):
        await move(turns, -hours * 3600)
        await turns.execute(
            "update syncer_store.ticks set ticked_at = now() + $1 * interval '1 hour'", hours
        )
        assert ["a", "b"] == sorted(await due(turns))
        assert await schedule.claim(turns, 10.0)
        await move(turns, hours * 3600)


async def test_an_interval_that_became_shorter_counts_at_once(turns: Any) -> None:
    turn = await schedule.take(turns, "a", "me", GRACE)
    assert turn is not None
    await schedule.end(turns, turn, due=turn.clock + 3600, failures=0, result="")
    await schedule.add(turns, {"a": 60.0})
    await move(turns, 61)
    assert "a" in await due(turns)


async def test_what_is_shown_of_workers_and_accounts(turns: Any) -> None:
    await schedule.say_seen(turns, ME, draining=False)
    assert await schedule.take(turns, "a", "me", GRACE) is not None
    await move(turns, 1)
    [shown] = await schedule.workers(turns)
    assert (True, 2, 1) == (shown.alive, shown.accounts, shown.running)
    states = {each.account: (each.state, each.workers) for each in await schedule.accounts(turns)}
    assert {"a": ("taken", 1), "b": ("due", 1)} == states
    await turns.execute("update syncer_store.workers set seen_at = now() - interval '61 s'")
    await move(turns, 3601)
    states = {each.account: (each.state, each.workers) for each in await schedule.accounts(turns)}
    assert {"a": ("late", 0), "b": ("late", 0)} == states
    await schedule.forget(turns, "a")
    with pytest.raises(ConfigError, match="no worker crawls an account 'a'"):
        await schedule.forget(turns, "a")


@contextlib.asynccontextmanager
async def writer(db: Any) -> AsyncIterator[str]:
    name = f"working_{os.getpid()}"
    await db.execute(sql("schema/roles"))
    await db.execute(sql("schema/queue_roles"))
    await db.execute(f"create role {name} login in role syncer_writer")
    yield name
    await db.execute(f"drop owned by {name}; drop role {name}")


async def test_a_writer_works_with_the_queue_through_any_pooler(url: str, db: Any) -> None:
    """Names without a schema are the queue's, in each transaction anew."""
    async with (
        writer(db) as name,
        pooler(url.replace("//syncer@", f"//{name}@"), pool_mode="transaction") as pooled,
        Queue(Server(pooled)) as through,
    ):
        for _ in range(2):
            async with through.transaction() as connection:
                assert 0 == await connection.fetchval("select count(*) from procrastinate_jobs")
                await queue.check(connection, through.where)
                await schedule.say_seen(connection, ME, draining=False)


async def test_a_queue_that_is_missing_or_older_is_named(url: str, db: Any) -> None:
    """Whoever has it upgrades it: what is missing is applied, and nothing twice."""
    await db.execute("drop schema syncer_queue cascade")
    async with Server(url).session() as connection:
        with pytest.raises(ConfigError, match=r"has no queue; run, where .* syncer db upgrade"):
            await queue.check(connection, "here")
        assert await queue.install(Server(url))
        await queue.check(connection, "here")
        last = await db.fetchval("select max(name) from syncer_queue.applied")
        await db.execute("delete from syncer_queue.applied where name = $1", last)
        with pytest.raises(ConfigError, match=r"the queue of an older procrastinate; run"):
            await queue.check(connection, "here")


async def test_the_queue_as_statements_for_a_dba(url: str, db: Any) -> None:
    """What ``db upgrade --sql --queue`` prints makes what an upgrade makes."""
    describe = """
        select table_name, column_name, data_type from information_schema.columns
        where table_schema = 'syncer_queue' order by 1, 2"""
    before = await db.fetch(describe)
    await db.execute("drop schema syncer_queue cascade")
    await db.execute(queue.as_sql())
    assert before == await db.fetch(describe)
    async with Server(url).session() as connection:
        await queue.check(connection, "here")


async def test_a_run_whose_time_is_up_keeps_no_turn(turns: Any, url: str) -> None:
    """Its process is frozen, say: whoever takes the turn takes the run over. At work, none does."""
    assert await schedule.take(turns, "a", "frozen", GRACE) is not None
    async with begin(Server(url), "a", run_timeout=900, selection={}):
        await move(turns, GRACE + 1)
        assert ["b"] == await due(turns)
        with pytest.raises(LockHeld, match="is at work"):
            await schedule.forget(turns, "a")
        await turns.execute("update syncer_store.runs set deadline_at = now() - interval '1 s'")
        assert "a" in await due(turns)


async def test_a_tick_that_is_frozen_is_ended_by_the_server(url: str) -> None:
    """Else it would keep all others from theirs."""
    server = Server(url, timing=Timing(idle_transaction=0.1))

    async def freeze(queue: Queue) -> None:
        async with queue.transaction() as connection:
            await schedule.add(connection, {"a": 60.0})
            await until(connection.is_closed)
            await schedule.due(connection, GRACE)

    async with Queue(server) as frozen, Queue(server) as other:
        with pytest.raises(DatabaseGone):
            await freeze(frozen)
        async with other.transaction() as connection:
            assert [] == await schedule.due(connection, GRACE)


async def test_a_queue_in_another_database_is_recognised(url: str, empty_url: str) -> None:
    """Before anything is written there."""
    server = Server(url)
    async with Queue(server) as here, here.transaction() as connection:
        assert await schedule.is_in(server, connection)
        assert not await schedule.is_in(Server(empty_url), connection)


def test_a_worker_is_seen_as_long_as_its_turns_are_its_own() -> None:
    """What the views call alive is what a worker's jobs are judged by."""
    alive = {*re.findall(r"now\(\) - seen_at\)\) < (\d+)", as_sql("0016:0017"))}
    assert {f"{serving.Timing().unseen:.0f}"} == alive
