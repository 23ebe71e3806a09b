"""Retention: answers about the kept time stay what they were, and before it nothing is claimed.

``SYNCER_TEST_WORLDS=300 pytest tests/store/test_retention.py`` tries 300 pasts;
``SYNCER_TEST_YEAR=1 pytest -s tests/store/test_retention.py -k long`` prunes a year, and shows it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest

from syncer.bench import seed as seeding
from syncer.core.errors import ConfigError, LockHeld
from syncer.store.connection import Server, sql
from syncer.store.lock import take_key
from syncer.store.migrate import as_sql, upgrade
from syncer.store.retention import Pruned, prune
from syncer.store.schema import revisions
from tests.past import DAY, Past

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
WORLDS = int(os.environ.get("SYNCER_TEST_WORLDS") or 6)
A_YEAR = bool(os.environ.get("SYNCER_TEST_YEAR"))
TABLES = ["runs", "zones", "zone_scans", "images", "image_history", "approvals"]
TABLES += ["stretches", "retention", "missing", "image_gaps"]
MICRO = timedelta(microseconds=1)
Answers = dict[tuple[datetime, str], Any]


async def answers(db: Any, instants: list[datetime]) -> Answers:
    """All that is said of each zone at each instant, every column of it."""
    coverage = await db.fetch(
        "select t, c.* from unnest($1::timestamptz[]) as t, syncer.zone_coverage(t) as c", instants
    )
    said: Answers = {(row["t"], row["zone_id"]): (tuple(row)[4:], [], {}) for row in coverage}
    search = "select * from syncer.images_asof($1) order by zone_id, image_id"
    for t in instants:
        for row in await db.fetch(search, t):
            said[t, row["zone_id"]][1].append(tuple(row)[3:])
    for t, zone, image, answer in await db.fetch(
        "select t, zone_id, image_id, syncer.image_presence(account, service, zone_id, image_id, t)"
        " from unnest($1::timestamptz[]) as t, syncer.images",
        instants,
    ):
        said[t, zone][2][image] = answer
    return said


async def instants(db: Any, random: Random, *more: datetime) -> list[datetime]:
    """Instants at which answers change, and just before and after."""
    moments = await db.fetch("""
        select distinct t from syncer_store.zone_scans,
            lateral (values (observed_at), (finished_at)) as x (t)
        union select started_at from syncer_store.runs
        union select t from syncer.image_versions,
            lateral (values (valid_from), (valid_to)) as x (t) where t is not null""")
    chosen = random.sample([t for (t,) in moments], min(len(moments), 40))
    return sorted({t + MICRO * random.randint(-1, 1) for t in [*chosen, *more]})


async def kept_from(db: Any) -> dict[str, datetime | None]:
    return dict(map(tuple, await db.fetch("select zone_id, kept_from from syncer.zones")))


def unchanged(before: Answers, after: Answers, kept: dict[str, datetime | None]) -> None:
    """Every answer is what it was, or, before the kept time, says that it is not known."""
    for (t, zone), said in after.items():
        start = kept[zone]
        if start is None or t >= start:
            assert (t, zone, before[t, zone]) == (t, zone, said)
        else:
            assert ((None, None, "unknown", None, None, None, None), []) == said[:2]
            assert {"unknown"} >= set(said[2].values())


async def everything(db: Any) -> dict[str, list[Any]]:
    return {
        table: await db.fetch(f"select * from syncer_store.{table} order by 1, 2")
        for table in TABLES
    }


async def now_known(db: Any) -> list[Any]:
    """The state as it is now or was last known, and what people decided."""
    zones = await db.fetch("select * from syncer.zones order by 1, 2, 3")
    return [
        [{**row, "kept_from": None} for row in map(dict, zones)],
        await db.fetch("select * from syncer.images order by 1, 2, 3, 4"),
        await db.fetch("select * from syncer.image_spread order by 1, 2, 3"),
        await db.fetch("select * from syncer.approvals order by 1"),
    ]


async def feed(db: Any) -> list[Any]:
    return list(await db.fetch("select * from syncer.image_changes order by change_id"))


def stops(random: Random, at_most: int) -> Any:
    """Say stop after a few questions, another number each time."""
    left = random.randint(1, at_most)

    def stopped() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    return stopped


@pytest.mark.timeout(60 + WORLDS)
async def test_no_answer_about_the_kept_time_changes(url: str, db: Any) -> None:
    """Random pasts, pruned in many interrupted steps; each leaves every answer true.

    In the kept time it is what it was, before it unknown, and what is there now is not touched.
    """
    server, pruned = Server(url), Pruned()
    for seed in range(WORLDS):
        random = Random(seed)  # noqa: S311
        await db.execute(f"truncate {', '.join(f'syncer_store.{t}' for t in TABLES)} cascade")
        off = random.choice([DAY / 24, 400 * DAY])
        past = Past(seed, await db.fetchval("select now()") - off, runs=60)
        await past.write(db)
        keep, thin_after = random.choice([DAY, 5 * DAY, 60 * DAY]), random.choice([0, 1, 30]) * DAY
        read = {
            scan["zone_key"]: scan["finished_at"] - keep
            for scan in past.scans
            if scan["status"] not in {"failed", "gone"}
        }
        asked = await instants(db, random, *read.values())
        before, now, changes = await answers(db, asked), await now_known(db), await feed(db)
        rows = await everything(db)
        options: Any = {"keep": keep, "thin_after": thin_after, "batch": random.choice([7, 5000])}

        would = await prune(server, dry_run=True, **options)
        assert rows == await everything(db)
        done = Pruned(stopped=True)
        while done.stopped:
            part = await prune(server, stopped=stops(random, 30), **options)
            unchanged(before, await answers(db, asked), await kept_from(db))
            done = added(done, part)
        assert would == done
        pruned, kept = added(pruned, done), await kept_from(db)

        assert now == await now_known(db)
        assert all(start in {None, read.get(zone)} for zone, start in kept.items())
        left = await feed(db)
        assert not [row for row in left if row not in changes]
        assert [row for row in changes if inside(row, kept)] == [
            row for row in left if inside(row, kept)
        ]
        again = await prune(server, **options)  # runs whose last scan was thinned
        assert (Pruned(runs=again.runs), Pruned()) == (again, await prune(server, **options))
        await nothing_old_is_left(db)
    assert all(msgspec.structs.astuple(pruned)[:4]), pruned


def added(before: Pruned, part: Pruned) -> Pruned:
    return Pruned(
        versions=before.versions + part.versions,
        scans=before.scans + part.scans,
        thinned=before.thinned + part.thinned,
        runs=before.runs + part.runs,
        stopped=part.stopped,
    )


def inside(row: Any, kept: dict[str, datetime | None]) -> bool:
    start = kept[row["zone_id"]]
    return start is None or row["changed_at"] > start


async def nothing_old_is_left(db: Any) -> None:
    """Of an image one version that ended before the kept time; of a zone one whole look."""
    assert [] == await db.fetch("""
        select image_id from syncer_store.image_history join syncer_store.retention
            using (zone_key)
        where valid_from < kept_from group by zone_key, image_id having count(*) > 1""")
    assert [] == await db.fetch("""
        select zone_key from syncer_store.zone_scans join syncer_store.retention
            using (zone_key)
        where finished_at <= kept_from and status in ('unchanged', 'changed', 'guarded')
        group by zone_key having count(*) > 1""")


@pytest.fixture
async def past(db: Any) -> Past:
    """Some months of one account, which ended a year ago, at midnight: days hold the same looks."""
    made = Past(1, await db.fetchval("select date_trunc('day', now())") - 365 * DAY, runs=80)
    await made.write(db)
    return made


@pytest.mark.parametrize("status", ["unchanged", "failed", "incomplete", "gone"])
async def test_each_scan_that_is_thinned_is_still_counted(
    status: str, url: str, db: Any, past: Past
) -> None:
    """What came to the same on a day is one row and the last; its row says how many it stands for.

    Whatever it came to: a zone that failed all day failed as often as it did.
    """
    await db.execute(
        """update syncer_store.zone_scans set status = $1, error_code = 'X'
           where status = 'unchanged' and zone_key = (
               select min(zone_key) from syncer_store.zone_scans)""",
        status,
    )
    of_status = f"from syncer.zone_scans where status = '{status}'"
    count, looks = f"select count(*) {of_status}", f"select sum(looks) {of_status}"
    changed = "select * from syncer_store.zone_scans where last_change > 0 order by 1, 2"
    before, shown = await db.fetchval(count), await db.fetch(changed)
    pruned = await prune(Server(url), keep=3650 * DAY, thin_after=timedelta())
    assert before == await db.fetchval(looks) > await db.fetchval(count)
    assert 0 < before - await db.fetchval(count) <= pruned.thinned
    assert shown == await db.fetch(changed)


async def test_accounts_are_pruned_apart(url: str, db: Any, past: Past) -> None:
    """One account, or all; one that is not known is an error that names those that are."""
    await Past(4, await db.fetchval("select now()") - DAY, runs=80, account="b").write(db)
    server, options = Server(url), {"keep": 5 * DAY, "thin_after": timedelta()}
    ours = "select count(*) from syncer.zone_scans where account = $1"
    before = await db.fetchval(ours, "b")
    assert (await prune(server, account="a", **options)).scans  # type: ignore[arg-type]
    assert before == await db.fetchval(ours, "b")
    assert (await prune(server, **options)).scans  # type: ignore[arg-type]
    assert before > await db.fetchval(ours, "b")
    with pytest.raises(ConfigError, match="of account 'c': known are a, b"):
        await prune(server, account="c", **options)  # type: ignore[arg-type]


async def test_an_empty_database_has_nothing_to_prune(url: str) -> None:
    assert Pruned() == await prune(Server(url), keep=DAY, account="default")


async def test_two_prunes_of_an_account_are_not_at_work_at_once(
    url: str, db: Any, past: Past
) -> None:
    """The second is refused; a dry run is not, and writes nothing."""
    async with db.transaction():
        assert await db.fetchval(sql("prune/hold"), "a", await take_key(db))
    with pytest.raises(LockHeld, match="another prune of account 'a'"):
        await prune(Server(url), keep=DAY)
    assert (await prune(Server(url), keep=DAY, dry_run=True)).versions


async def test_the_writer_may_prune(url: str, db: Any, past: Past) -> None:
    """syncer_writer has the rights for it."""
    await db.execute(sql("schema/roles"))
    login = f"pruner_{os.getpid()}"
    await db.execute(f"create role {login} login in role syncer_writer")
    try:
        server = Server(url.replace("//syncer@", f"//{login}@"))
        assert (await prune(server, keep=DAY, thin_after=timedelta())).versions
    finally:
        await db.execute(f"drop role {login}")


async def test_the_room_is_freed_where_no_autovacuum_does(url: str, db: Any, past: Past) -> None:
    """With vacuum, the space of deleted rows is used again."""
    visible = "select sum(relallvisible) from pg_class where relname in ('runs', 'zone_scans')"
    before = await db.fetchval(visible)
    assert (await prune(Server(url), keep=DAY, vacuum=True)).scans
    assert before < await db.fetchval(visible)


async def test_what_0004_stored_is_answered_alike_and_pruned(empty_url: str) -> None:
    """The upgrade changes no answer and no change; then its database is pruned."""
    db = await asyncpg.connect(empty_url)
    await db.execute(as_sql("0004"))
    await db.execute("set timezone to 'UTC'")
    await Past(5, await db.fetchval("select date_trunc('day', now())") - DAY, runs=80).write(db)
    asked = await instants(db, Random(1))  # noqa: S311
    old, changes = await answers(db, asked), await feed(db)
    assert ("0004", revisions()[-1]) == await upgrade(Server(empty_url))
    before = await answers(db, asked)
    assert old == {
        key: (coverage[:5], [row[:11] for row in images], presence)
        for key, (coverage, images, presence) in before.items()
    }
    assert list(map(tuple, changes)) == [tuple(row)[:13] for row in await feed(db)]
    pruned = await prune(Server(empty_url), keep=5 * DAY, thin_after=timedelta())
    assert all(msgspec.structs.astuple(pruned)[:4]), pruned
    unchanged(before, await answers(db, asked), await kept_from(db))
    await db.close()


SIZES = """
    select count(*), pg_total_relation_size('syncer_store.zone_scans') >> 20,
           (select pg_total_relation_size('syncer_store.stretches') >> 20)
    from syncer_store.zone_scans"""
SAID = """
    select (select md5(string_agg(a::text, '' order by a::text))
            from syncer.images_asof($1) as a),
           (select md5(string_agg(c::text, '' order by c::text))
            from syncer.zone_coverage($1) as c)"""
MISCOUNTED = """
    select c.* from syncer.image_counts(now() - $1 * interval '1 day', now(), '6 days') as c
    cross join lateral (
        select count(*) as images
        from syncer.images_asof(c.at, c.account, c.service, c.zone_id)) as a
    where c.images <> a.images"""


@pytest.mark.timeout(900 if A_YEAR else 60)
async def test_a_long_past_is_pruned_and_answers_alike(url: str, db: Any) -> None:
    """Runs every 15 minutes: most scans are deleted, the answers about the kept time stay."""
    size = seeding.YEAR if A_YEAR else seeding.WEEKS
    await seeding.seed(db, size)
    kept = size.days // 2
    instants = [
        await db.fetchval("select now() - $1 * interval '1 day'", kept * part / 13)
        for part in range(1, 13)
    ]
    before, said = await db.fetchrow(SIZES), [await db.fetchrow(SAID, t) for t in instants]
    whole = """
        select sum(looks) from syncer.zone_scans
        where finished_at > date_trunc('day', now(), 'UTC') - $1 * interval '1 day'
          and status in ('unchanged', 'changed', 'guarded')"""
    looks = await db.fetchval(whole, kept - 1)
    pruned = await prune(Server(url), keep=kept * DAY, thin_after=timedelta(days=size.days // 12))
    await db.execute("vacuum (full, analyze) syncer_store.zone_scans")
    after = await db.fetchrow(SIZES)
    assert said == [await db.fetchrow(SAID, t) for t in instants]
    assert looks == await db.fetchval(whole, kept - 1)
    assert [] == await db.fetch(MISCOUNTED, size.days)
    assert after["count"] == before["count"] - pruned.scans - pruned.thinned < before["count"] / 2
    if A_YEAR:
        print(f"\n{pruned}\nscans, MiB, MiB of stretches: {tuple(before)} -> {tuple(after)}")  # noqa: T201
