"""PostgreSQL gone for good, silent, restarted, slow, full or forbidding: one line, nothing torn."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest

from syncer.core.errors import DatabaseGone, TransactionFailed
from syncer.embedded import EmbeddedPostgres
from syncer.serve import metrics
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store import retention
from syncer.store.connection import Server, Timing, acquired, sql
from syncer.store.migrate import upgrade
from tests.daemon import QUICKLY
from tests.invariants import check
from tests.proxy import Proxy
from tests.support import assert_exact, empty, folder_for_data, statuses_of_runs, until


@pytest.fixture
def timing() -> Timing:
    """What waits for a database that does not come back waits a second where it waits five."""
    return Timing(recover=1.0, close=0.2)


COPY = b"Q\0\0\1"  # the first words of a COPY, by its length
BEGIN = b"Q\0\0\0\x0bBEGIN;"


def nth(number: int, start: bytes = b"") -> Any:
    """Whether a message is the n-th that starts so."""
    seen = itertools.count(1)
    return lambda message: message.startswith(start) and next(seen) == number


async def settings_of(db: Any, url: str, **values: str) -> None:
    name = urlsplit(url).path[1:]
    for setting, value in values.items():
        await db.execute(f"alter database {name} set {setting} = '{value}'")


async def test_a_database_that_stays_away_ends_the_run(
    url: str, sync: Any, world: World, db: Any
) -> None:
    """Gone in mid-run and not back before the deadline: a named error; the next run has all."""
    async with Proxy(url) as proxy:
        is_it = nth(4, BEGIN)

        def gone(message: bytes) -> str | None:
            proxy.refuse = proxy.refuse or is_it(message)
            return "before" if proxy.refuse else None

        proxy.hook = gone
        with pytest.raises(DatabaseGone, match=r"127\.0\.0\.1:\d+ is not available"):
            await sync(SYNCER_DATABASE_URL=proxy.url, SYNCER_RUN_TIMEOUT="0.5s")
    await check(db, {})
    assert ["running"] == await statuses_of_runs(db)
    assert 0 == (await sync()).exit_code
    assert ["crashed", "succeeded"] == await statuses_of_runs(db)
    await assert_exact(db, world)


async def test_a_database_that_says_nothing_more_holds_no_run_for_ever(
    url: str, sync: Any, world: World, db: Any
) -> None:
    """A network that swallows everything: the run ends at its deadline, by itself."""
    async with Proxy(url) as proxy:
        is_it = nth(4, BEGIN)
        proxy.hook = lambda message: "hush" if is_it(message) else None
        with pytest.raises(DatabaseGone, match=r"in time|not answer"):
            await sync(SYNCER_DATABASE_URL=proxy.url, SYNCER_RUN_TIMEOUT="0.5s")
    # The sessions that nobody ends are in nobody's way.
    await db.execute("update syncer_store.runs set deadline_at = now() - interval '1 s'")
    assert 0 == (await sync()).exit_code
    await check(db, {})
    await assert_exact(db, world)


@pytest.mark.parametrize("statement", ["whether its time is up", "learnt of the API", "insert"])
async def test_a_database_that_is_silent_from_the_start_holds_no_run_for_ever(
    url: str, sync: Any, statement: str
) -> None:
    """It takes the connection and then says nothing more: cron's runs must not pile up."""
    short = Timing(begin=0.3, close=0.2, retry=QUICKLY.retry)
    async with Proxy(url) as proxy:
        proxy.hook = lambda message: "hush" if statement.encode() in message else None
        with anyio.fail_after(20), pytest.raises(DatabaseGone, match="does not answer"):
            await sync(SYNCER_DATABASE_URL=proxy.url, wait=short)


async def test_a_database_that_falls_silent_between_two_runs_does_not_hold_the_daemon(
    url: str, sync: Any
) -> None:
    """What is done between runs ends too: the look at the zones for the metrics, and pruning."""
    assert 0 == (await sync()).exit_code
    short = Timing(read=0.3, prune=0.3, close=0.2)
    async with Proxy(url) as proxy:
        proxy.hook = lambda message: "hush" if b"as metrics show them" in message else None
        with anyio.fail_after(20):
            assert await metrics.stored_zones(Server(proxy.url, timing=short), "default") is None
    for statement in ("read/accounts", "prune/hold", "prune/zones", "prune/runs", "prune/thin"):
        words = sql(statement).splitlines()[0].encode()

        def falls_silent(message: bytes, words: bytes = words) -> str | None:
            return "hush" if words in message else None

        async with Proxy(url) as proxy:
            proxy.hook = falls_silent
            with anyio.fail_after(20), pytest.raises(DatabaseGone, match="does not answer"):
                await retention.prune(Server(proxy.url, timing=short), keep=timedelta(days=1))


async def test_a_session_that_cannot_be_closed_is_no_error(url: str, timing: Timing) -> None:
    """What was asked was answered: a server that does not answer the closing is not reported."""
    async with Proxy(url) as proxy:
        with anyio.fail_after(20):
            async with Server(proxy.url, timing=timing).session() as connection:
                assert 1 == await connection.fetchval("select 1")
                proxy.hush = True


@pytest.fixture(scope="module")
def crashing_home() -> Iterator[Path]:
    """Where the server that crashes has its data: to make them takes as long as all the rest."""
    with folder_for_data() as folder:
        yield folder / "pg"


@pytest.mark.parametrize("number", [2, 5, 7])
async def test_a_server_that_crashed_and_came_back_is_waited_for(
    number: int, crashing_home: Path, sync: Any, world: World, pg_bin: str | None
) -> None:
    """PostgreSQL stopped in immediate mode in mid-run and started again: the run ends well."""

    def server() -> EmbeddedPostgres:
        # What it said was committed must be there again: synchronous_commit stays as it is.
        return EmbeddedPostgres(
            crashing_home, pg_bin=pg_bin, settings={"fsync": "off"}, die_with_parent=True
        )

    async with anyio.create_task_group() as tasks, server() as first:
        url = first.dsn()
        await upgrade(Server(url))
        async with Server(url).session() as connection:
            await empty(connection)  # of the crash before
        ended = anyio.Event()
        back = server()

        async def start_again() -> None:
            async with back:
                await ended.wait()

        async with Proxy(url) as proxy:
            is_it = nth(number, BEGIN)

            def crash(message: bytes) -> None:
                if is_it(message):
                    os.kill(first.running_pid or 0, signal.SIGQUIT)
                    tasks.start_soon(start_again)

            proxy.hook = crash
            assert 0 == (await sync(SYNCER_DATABASE_URL=proxy.url)).exit_code
        connection = await asyncpg.connect(url)
        await assert_exact(connection, world)
        await check(connection, {})
        await connection.close()
        ended.set()


async def test_a_writer_that_finds_no_room_leaves_the_work_to_the_other(
    url: str, sync: Any, world: World, db: Any
) -> None:
    """With room for the lock and one writer only, the run ends well."""
    await db.execute(sql("schema/roles"))
    await db.execute("create role narrow login in role syncer_writer connection limit 2")
    async with Proxy(url.replace("syncer@", "narrow@")) as proxy:
        assert 0 == (await sync(SYNCER_DATABASE_URL=proxy.url)).exit_code
        await assert_exact(db, world)
    await db.execute("drop owned by narrow; drop role narrow")


async def end_what_waits(db: Any) -> None:
    """End every statement that waits for a lock, until this is cancelled."""
    while True:
        await db.execute("""
            select pg_cancel_backend(pid) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'""")
        await anyio.sleep(0.01)  # meanwhile those who wait have the processor


async def test_a_transaction_that_postgresql_ends_is_tried_again(
    url: str, sync: Any, world: World, db: Any
) -> None:
    """A statement that waits for a lock is ended, and succeeds when the lock is gone."""
    seen = anyio.Event()
    third = nth(5, COPY)

    async def let_go(transaction: Any) -> None:
        await seen.wait()
        await transaction.rollback()

    async with Proxy(url) as proxy, Server(url).session() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("lock table syncer_store.images in exclusive mode")
        proxy.hook = lambda message: seen.set() if third(message) else None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(let_go, transaction)
            tasks.start_soon(end_what_waits, db)
            assert 0 == (await sync(SYNCER_DATABASE_URL=proxy.url)).exit_code
            tasks.cancel_scope.cancel()
    await assert_exact(db, world)
    await check(db, {})


async def test_a_transaction_that_postgresql_always_ends_ends_the_run(
    url: str, sync: Any, world: World, db: Any
) -> None:
    """After some tries the run gives up with PostgreSQL's own words, and the next has all."""
    async with Server(url).session() as other, other.transaction():
        await other.execute("lock table syncer_store.images in exclusive mode")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_what_waits, db)
            with pytest.raises(
                TransactionFailed, match=r"^vm/\S+: .* user request \(SQLSTATE 57014"
            ):
                await sync(SYNCER_RUN_TIMEOUT="1s")
            tasks.cancel_scope.cancel()
    assert ["failed"] == await statuses_of_runs(db)
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)
    await check(db, {})


async def test_a_deadlock_is_tried_again(url: str, sync: Any, world: World, db: Any) -> None:
    """A zone's transaction that PostgreSQL chose to end a deadlock is done anew."""
    assert 0 == (await sync()).exit_code
    first, second = sorted(world.images("FRA-A"))[:2]
    world.change_image("FRA-A", first, imageVersion="9.9")
    world.change_image("FRA-A", second, imageVersion="9.9")
    await settings_of(db, url, deadlock_timeout="50ms")
    async with Server(url).session() as other:
        await other.execute("set deadlock_timeout = '1min'")
        waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"

        async def cross() -> None:
            async with other.transaction():
                await other.execute(LOCK_ONE, second)
                locked.set()
                await until(lambda: db.fetchval(waits))
                await other.execute(LOCK_ONE, first)

        locked = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cross)
            await locked.wait()
            assert 0 == (await sync()).exit_code
    await assert_exact(db, world)
    await check(db, {})


LOCK_ONE = "select from syncer_store.images where image_id = $1 for update"


async def test_a_slow_database_slows_the_crawl(
    url: str, environment: dict[str, str], sync: Any, db: Any
) -> None:
    """While nothing can be written, zones are read ahead by a few only: memory stays bounded."""
    world = World.generate(seed=3, zones=40, images=5)
    async with (
        Proxy(url) as proxy,
        Simulator(world, SimulatorOptions(access_keys={"test-key": "test-secret"})) as api,
    ):
        environment["ZENLAYER_ENDPOINT"] = api.endpoint
        is_it = nth(4, BEGIN)

        def hold(message: bytes) -> None:
            if is_it(message):
                proxy.gate = anyio.Event()

        proxy.hook = hold

        async def watch() -> None:
            while len(api.calls) < 6:
                await anyio.lowlevel.checkpoint()
            for _ in range(300):
                await anyio.wait_all_tasks_blocked()
            ahead.append(len(api.calls))
            proxy.gate.set()

        ahead: list[int] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            report = await sync(SYNCER_DATABASE_URL=proxy.url, SYNCER_MAX_CONCURRENCY="3")
    assert 0 == report.exit_code
    assert ahead[0] <= 1 + 2 + 2 + 3  # the zones; those being written, waiting, being read
    await assert_exact(db, world)


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("postgresql://syncer@127.0.0.1:9/x", 1, "is not available"),
        ("postgresql://nobody-here@{socket}", 2, "refused"),
        ("postgresql://syncer@/no_such_database?{query}", 2, "does not exist"),
    ],
)
@pytest.mark.parametrize("command", ["sync", "images"])
async def test_a_database_that_cannot_be_used_is_one_line(  # noqa: PLR0917
    place: str, code: int, words: str, command: str, url: str, syncer: Any
) -> None:
    """Unreachable is exit 1, wrong is exit 2; what is wrong and where stands in a line."""
    where, _, query = url.partition("?")
    place = place.format(socket=url.partition("@")[2] or where, query=query)
    done = await syncer(command, SYNCER_DATABASE_URL=place, SYNCER_LOG_LEVEL="")
    lines = [line for line in done.err.splitlines() if line]
    assert (code, "", 1) == (done.code, done.out, len(lines)), done.err
    assert lines[0].startswith("syncer: ")
    assert words in lines[0]


async def test_a_read_only_database_is_one_line(url: str, db: Any, syncer: Any) -> None:
    """A standby, or one set read-only: exit 1, and nothing is written."""
    await settings_of(db, url, default_transaction_read_only="on")
    done = await syncer("sync", SYNCER_LOG_LEVEL="")
    assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
    assert "read-only" in done.err
    assert 0 == (await syncer("images")).code


async def _copy(connection: Any) -> None:
    async with connection.transaction():
        await connection.fetchval("select 'the last answer'")
        await connection.copy_to_table("none", columns=["one"], source=BytesIO(), format="text")


async def _ask(connection: Any) -> None:
    await connection.fetchval("select 'the last answer'")
    await connection.fetchval("select 1")


async def _begin(connection: Any) -> None:
    await connection.execute("select 'the last answer'")
    async with connection.transaction():
        pass


async def _in_session(pool: Any, server: Server, work: Any) -> None:
    async with acquired(pool, server) as connection:
        await work(connection)


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize("work", [_copy, _ask, _begin])
async def test_a_session_whose_end_was_said_while_it_was_idle_is_lost(url: str, work: Any) -> None:
    """The server's last words come before the end of the connection: it is not our mistake."""
    async with Proxy(url) as proxy:
        proxy.hook = lambda message: "farewell" if b"the last answer" in message else None
        server = Server(proxy.url)
        async with server.pool(size=1, name="syncer test") as pool:
            with pytest.raises(DatabaseGone, match="was lost"):
                await _in_session(pool, server, work)
            proxy.hook = lambda _message: None
            async with acquired(pool, server) as connection:
                assert 1 == await connection.fetchval("select 1")
