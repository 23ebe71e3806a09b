"""``syncer prune`` as an operator runs it: on what real runs stored, beside them, interrupted."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from syncer.simulator import World
from syncer.store.connection import Server
from syncer.store.retention import prune
from syncer.store.runs import Run, begin
from tests.support import Done, assert_exact, rows, until

ASOF = "select * from syncer.images_asof($1) order by account, service, zone_id, image_id"
Look = tuple[datetime, list[Any]]


async def age(db: Any, **by: int) -> None:
    """Move everything that is stored into the past by an interval."""
    (interval,) = (f"interval '{number} {unit}'" for unit, number in by.items())
    columns = await db.fetch("""
        select table_name, string_agg(column_name, ' ')
        from information_schema.columns join information_schema.tables
            using (table_schema, table_name)
        where table_schema = 'syncer_store' and table_type = 'BASE TABLE'
          and data_type = 'timestamp with time zone'
        group by table_name order by table_name = 'images'""")
    async with db.transaction():
        for table, names in columns:
            moved = ", ".join(f"{name} = {name} - {interval}" for name in names.split())
            if table == "image_history":  # its versions would overlap those not yet moved
                await db.execute(f"""
                    create temp table h on commit drop as table syncer_store.image_history;
                    update h set {moved};
                    delete from syncer_store.image_history;
                    insert into syncer_store.image_history table h""")
            else:
                await db.execute(f"update syncer_store.{table} set {moved}")


@pytest.fixture
def past(sync: Any, world: World, db: Any) -> Callable[[int], Awaitable[None]]:
    """Do runs, five days apart, with drift between most of them."""
    seeds = itertools.count()

    async def made(runs: int) -> None:
        for _ in range(runs):
            await age(db, days=5)
            if (seed := next(seeds)) % 4 != 1:
                world.drift(seed, appear=3, change=12, remove=3)
            await sync()

    return made


async def remembered(db: Any, days: int) -> Look:
    at = await db.fetchval("select now() - $1 * interval '1 day'", days)
    return at, await db.fetch(ASOF, at)


def pruned(done: Done) -> dict[tuple[str, str], int]:
    assert 0 == done.code, done.err
    return {(row["table"], row["why"]): row["rows"] for row in rows(done)}


async def test_what_is_older_goes_and_what_is_kept_says_the_same(
    syncer: Any, past: Any, sync: Any, db: Any, world: World
) -> None:
    """The state, the kept time, baselines and the feed stay; before it commands say so."""
    await past(8)
    at, there = await remembered(db, 15)
    assert "baseline" in (await syncer("baseline", "save", "b")).out
    images, changes = rows(await syncer("images")), rows(await syncer("changes"))
    would = pruned(await syncer("prune", "--keep", "17d", "--dry-run"))
    versions = await db.fetchval("select count(*) from syncer_store.image_history")

    assert would == pruned(await syncer("prune", SYNCER_KEEP="17d"))
    for gone in (("image_history", "older"), ("zone_scans", "older"), ("runs", "older")):
        assert would[gone] > 0, would
    assert versions - would["image_history", "older"] == await db.fetchval(
        "select count(*) from syncer_store.image_history"
    )
    assert {0} == set(pruned(await syncer("prune", "--keep", "17d")).values())

    assert images == rows(await syncer("images"))
    assert there == await db.fetch(ASOF, at)
    left = rows(await syncer("changes"))
    assert [row for row in changes if row in left] == left
    assert [row for row in changes if row["changed_at"] > at.isoformat()] == [
        row for row in left if row["changed_at"] > at.isoformat()
    ]
    lost = {row["change_id"] for row in changes} - {row["change_id"] for row in left}
    pruned_to = await db.fetchval("select pruned_to from syncer.feed")
    assert max(lost) <= pruned_to
    for after in (min(lost) - 1, max(lost) - 1):
        done = await syncer("changes", "--after", str(after))
        assert (2, "", True) == (done.code, done.out, "may be no longer kept" in done.err)
    assert 0 == (await syncer("changes", "--after", str(pruned_to))).code
    assert 0 == (await syncer("check", "b")).code
    old = await syncer("asof", "30d")
    assert (0, "") == old[:2]
    assert "what was known is no longer kept" in old.err
    done = await syncer("diff", "30d", "15d", "--exit-code")
    assert (3, {"unknown"}) == (done.code, {row["kind"] for row in rows(done)})
    assert "no longer kept" in rows(done)[0]["reason"]
    done = await syncer("baseline", "save", "old", "--at", "30d")
    assert (2, True) == (done.code, "nothing was saved" in done.err)

    world.drift(99, appear=2, change=5, remove=2)
    assert "succeeded" == (await sync()).status
    await assert_exact(db, world)
    newer = rows(await syncer("changes", "--after", str(left[-1]["change_id"])))
    assert 9 == len(newer)
    assert newer[0]["change_id"] == left[-1]["change_id"] + 1


async def test_a_crawler_that_was_off_loses_nothing(
    syncer: Any, past: Any, sync: Any, db: Any
) -> None:
    """Age is counted from the last look: a year without one makes nothing older.

    After the next look it is, and what was there is still known of the year in which none was.
    """
    await past(6)
    await age(db, days=365)
    at, there = await remembered(db, 365 + 6)
    before = pruned(await syncer("prune", "--keep", "20d", "--dry-run"))
    assert before == pruned(await syncer("prune", "--keep", "20d"))
    kept = await db.fetch("select now() - kept_from from syncer.zones")
    assert {385} == {row[0].days for row in kept}
    assert there
    assert there == await db.fetch(ASOF, at)

    middle, known = await remembered(db, 100)
    await sync()
    assert pruned(await syncer("prune", "--keep", "200d"))["zone_scans", "older"] > 0
    assert known == await db.fetch(ASOF, middle)
    assert {365} == {(middle - row["observed_at"]).days + 100 for row in known}
    assert [] == await db.fetch(ASOF, at)


async def test_looks_that_found_nothing_new_are_thinned(
    syncer: Any, sync: Any, db: Any, world: World
) -> None:
    """Of the looks of a day at a zone that found the same, two are left as rows."""
    await sync()
    await age(db, days=3)
    for _ in range(5):
        await sync()
    await age(db, days=1)
    await sync()
    at, there = await remembered(db, 1)
    shown = (await syncer("prune", "--keep", "400d", "-o", "table")).out
    assert [
        "TABLE",
        "WHY",
        "DELETED",
        *["image_history", "older", "0", "zone_scans", "older", "0"],
    ] == (shown.split()[:9])
    thinned = pruned(await syncer("prune", "--keep", "400d", "--thin-after", "0"))
    assert thinned["zone_scans", "thinned"] in {3 * 6, 2 * 6, 6}  # midnight may be between
    assert there == await db.fetch(ASOF, at)
    assert 7 * 6 == await db.fetchval("select sum(looks) from syncer.zone_scans")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--keep 400d, or SYNCER_KEEP"),
        (("--keep", "400"), "--keep: '400' is less than a day: write for example 400d"),
        (("--keep", "9d", "--thin-after", "x"), "'x' is not a duration"),
        (("--keep", "9d", "--account", "a", "--all-accounts"), "not both"),
        (("--keep", "9d", "--account", "other"), "of account 'other': known are default"),
    ],
)
async def test_unclear_wishes_are_exit_2(
    arguments: tuple[str, ...], words: str, syncer: Any, sync: Any
) -> None:
    """What is to be kept is never guessed: exit 2, and what to write."""
    await sync()
    done = await syncer("prune", *arguments)
    assert (2, "", True) == (done.code, done.out, words in done.err), done.err


async def test_a_prune_and_a_run_do_not_wait_for_each_other(
    syncer: Any, past: Any, url: str, db: Any, world: World
) -> None:
    """In the middle of a run's transaction a prune ends; while a prune deletes, a run ends well."""
    await past(6)
    async with (
        begin(Server(url), "default", run_timeout=60, selection={}) as (run, _),
        Server(url).pool(size=1, name="t") as pool,
        run.transaction(pool) as connection,
    ):
        assert isinstance(run, Run)
        await connection.execute("update syncer_store.zones set present = present")
        await connection.execute("update syncer_store.images set extra = extra")
        assert pruned(await syncer("prune", "--keep", "20d"))["zone_scans", "older"] > 0
    await past(2)
    async with db.transaction():
        for statement in (
            "insert into syncer_store.retention (zone_key) select zone_key from syncer_store.zones "
            "on conflict (zone_key) do update set kept_from = now() - interval '10 days'",
            "delete from syncer_store.zone_scans where finished_at < now() - interval '9 days'",
            "delete from syncer_store.image_history where valid_to < now() - interval '9 days'",
            "delete from syncer_store.runs where finished_at < now() - interval '12 days'",
        ):
            assert not (await db.execute(statement)).endswith(" 0")
        world.drift(7, appear=1, change=4, remove=1)
        assert 0 == (await syncer("sync")).code
    await assert_exact(db, world)


async def test_a_prune_that_is_stopped_ends_with_what_it_did(
    syncer: Any, past: Any, environment: dict[str, str], db: Any
) -> None:
    """SIGTERM: the set in hand is finished, exit 3, and the next prune does the rest."""
    await past(4)
    would = pruned(await syncer("prune", "--keep", "9d", "--dry-run"))
    async with db.transaction():
        await db.execute("lock table syncer_store.image_history in share mode")
        pruning = await anyio.open_process(
            [sys.executable, "-m", "syncer", "prune", "--keep", "9d"], env=environment
        )
        waits = "select count(*) from pg_locks where not granted"
        await until(lambda: db.fetchval(waits))
        pruning.send_signal(signal.SIGTERM)
    assert pruning.stdout is not None
    assert pruning.stderr is not None
    out = b"".join([chunk async for chunk in pruning.stdout]).decode()
    err = b"".join([chunk async for chunk in pruning.stderr]).decode()
    assert (3, True) == (await pruning.wait(), "the next prune deletes the rest" in err), err
    done, rest = pruned(Done(0, out, err)), pruned(await syncer("prune", "--keep", "9d"))
    assert sum(done.values()) < sum(would.values())
    assert would == {key: done[key] + rest[key] for key in would}


PAGE = """
    select change_id from syncer.image_changes
    where change_id > $1 and run_id = any (array(
        select run_id from syncer.runs where last_change_id > $1 and changes > 0))
    order by change_id limit 10"""


async def test_the_feed_skips_nothing_while_runs_go_on_and_prune_works(
    sync: Any, past: Any, url: str, db: Any, world: World
) -> None:
    """Page by page: each change once, in order, but for those that prune says it deletes."""
    await past(5)
    await prune(Server(url), keep=timedelta(days=8))
    read: list[int] = []
    skipped: set[int] = set()
    at_work = 2

    async def run() -> None:
        nonlocal at_work
        for seed in range(4):
            world.drift(100 + seed, appear=2, change=9, remove=2)
            await sync()
        at_work -= 1

    async def delete() -> None:
        nonlocal at_work
        for days in (4, 2):
            await prune(Server(url), keep=timedelta(days=days), batch=3)
        at_work -= 1

    async def follow() -> None:
        newest = None
        while at_work or newest != (read or [0])[-1]:
            last = (read or [0])[-1]
            async with db.transaction(isolation="repeatable_read", readonly=True):
                page = [row[0] for row in await db.fetch(PAGE, last)]
                newest, deleted = await db.fetchrow("select * from syncer.feed")
            gaps = set(range(last + 1, page[-1] if page else last)) - set(page)
            assert all(change <= deleted for change in gaps)
            skipped.update(gaps)
            read.extend(page)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for work in (run, delete, follow):
            tasks.start_soon(work)
    assert sorted(set(read)) == read
    assert set(range(1, read[-1] + 1)) == skipped | set(read)
    assert skipped
    assert len(read) > 40
