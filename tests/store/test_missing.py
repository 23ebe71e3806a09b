"""What the guard knows of the past, against a plain reading of what is stored."""

from __future__ import annotations

import itertools
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from syncer.store.connection import sql

HOUR = timedelta(hours=1)
AGES = (0, 1, 20, 23.9, 24.1, 30, 72)
"""Hours since a run began."""
AHEAD = (0, 0, 1, 30)
"""By how many hours the time line is ahead of the clock."""
PRESENT, REMOVED, APPROVED, BACK = range(4)
TYPES = ("PUBLIC_IMAGE", "CUSTOM_IMAGE", None)


async def add_zones(db: Any) -> list[int]:
    """Two zones of each of two accounts, and one of another service; their keys."""
    rows = await db.fetch("""
        insert into syncer_store.zones (account, service, zone_id)
        values ('a', 'vm', 'A'), ('a', 'vm', 'B'), ('b', 'vm', 'A'), ('b', 'vm', 'B'),
               ('a', 'zec', 'A')
        returning zone_key""")
    return [row["zone_key"] for row in rows]


async def add_runs(db: Any, random: Random) -> list[tuple[int, str, float]]:
    """Runs of both accounts, oldest first: the number, account and age in hours of each."""
    runs = []
    ahead = dict.fromkeys("ab", 0.0)
    for age in sorted(AGES + AGES, reverse=True):
        account = random.choice("ab")
        ahead[account] = max(ahead[account], random.choice(AHEAD))
        # Of runs before the time line the clock is not stored: stamps were the clock.
        stored = ahead[account] > 0 or random.random() < 0.5
        run_id = await db.fetchval(
            """insert into syncer_store.runs (account, status, started_at, clock_at, finished_at,
                   deadline_at, syncer_version, change_base)
               select $1, 'succeeded', clock + $3, case when $4 then clock end, clock + $3, clock,
                      '', 0
               from (select clock_timestamp() - $2::interval as clock) as c returning run_id""",
            account,
            age * HOUR,
            ahead[account] * HOUR,
            stored,
        )
        runs.append((run_id, account, age))
    return runs


@pytest.mark.parametrize("seed", range(6))
async def test_the_guard_remembers_what_was_removed_within_a_day(seed: int, db: Any) -> None:
    """Of that zone, by the clock; not what a person approved, nor what is back."""
    random = Random(seed)  # noqa: S311
    keys, runs = await add_zones(db), await add_runs(db, random)
    expected = dict.fromkeys(keys, 0)
    for number, (key, account) in enumerate(itertools.product(keys, "ab")):
        if (account == "b") != (key in keys[2:4]):
            continue
        for run_id, _, age in (run for run in runs if run[1] == account):
            for state in random.choices(range(4), k=3):
                await add_removed(db, key, f"i-{number}-{run_id}-{random.random()}", run_id, state)
                expected[key] += state == REMOVED and age < 24
    for key in keys:
        account = "b" if key in keys[2:4] else "a"
        assert expected[key] == await db.fetchval(sql("zone/removed_lately"), key, account)
    assert max(expected.values()) > 0


async def add_removed(db: Any, key: int, image_id: str, run_id: int, state: int) -> None:
    """Add an image that a run removed, with its gap; or one that is present, or back."""
    at = await db.fetchval("select started_at from syncer_store.runs where run_id = $1", run_id)
    removed = state in {REMOVED, APPROVED}
    await db.execute(
        """insert into syncer_store.images (zone_key, image_id, fingerprint, opened_run_id,
               opened_ordinal, valid_from, opened_kind, removed_at, removed_run_id,
               removed_ordinal)
           values ($1, $2, '', $3, 1, $4, $5, $6, $7, $8)""",
        key,
        image_id,
        run_id,
        at - HOUR if state != BACK else at + HOUR,
        "appeared" if state != BACK else "returned",
        at if removed else None,
        run_id if removed else None,
        1 if removed else None,
    )
    if state == BACK:
        await db.execute(
            """insert into syncer_store.image_history (zone_key, image_id, valid_from, valid_to,
                   opened_kind, opened_run_id, opened_ordinal, removed_run_id, removed_ordinal)
               values ($1, $2, $3, $4, 'appeared', $5, 1, $5, 2)""",
            key,
            image_id,
            at - HOUR,
            at,
            run_id,
        )
    if state != PRESENT:
        await db.execute(
            """insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
                   ended_run_id, approval_id)
               values ($1, $2, $3, $4, 'removed', $5, $6)""",
            key,
            image_id,
            at - HOUR / 2,
            at,
            run_id,
            1 if state == APPROVED else None,
        )


@pytest.mark.parametrize("seed", range(6))
async def test_a_kind_is_left_where_an_image_of_it_is_listed_that_was_there_before(
    seed: int, db: Any
) -> None:
    """In a zone that was read, of that service; not what is missing or removed or new."""
    random = Random(seed)  # noqa: S311
    keys, this_run = await add_zones(db), 9
    read = random.sample(keys, 3)
    left, missed = set(), [(keys[0], "another")]
    for number, key in enumerate(random.choices(keys, k=random.choice([8, 20]))):
        image_type, kind = random.choice(TYPES), random.choice(["appeared", "returned", "changed"])
        run_id = random.choice([3, this_run, this_run])
        missing, removed = random.random() < 0.4, random.random() < 0.3
        await db.execute(
            """insert into syncer_store.images (zone_key, image_id, image_type, fingerprint,
                   opened_run_id, opened_ordinal, opened_kind, valid_from, removed_at,
                   removed_run_id, removed_ordinal)
               select $1, $2, $3, '', $4, 1, $5, now() - interval '1 hour',
                      case when $6 then now() end, case when $6 then 3 end, case when $6 then 2 end
            """,
            key,
            f"img-{number}",
            image_type,
            run_id,
            kind,
            removed,
        )
        if missing and not removed:
            missed.append((key, f"img-{number}"))
        was_there = run_id != this_run or kind == "changed"
        if key in read and was_there and not missing and not removed:
            left.add(("zec" if key == keys[4] else "vm", image_type))
    kinds = list(itertools.product(("vm", "zec"), TYPES))
    services, types = map(list, zip(*kinds, strict=True))
    places = map(list, zip(*missed, strict=True))
    found = await db.fetch(sql("run/kinds_left"), this_run, read, services, types, *places)
    assert left == {tuple(row) for row in found}


async def test_what_is_withheld_keeps_its_rule_and_since_when(db: Any) -> None:
    """Done again, as where a commit got no answer, withholding changes nothing."""
    key = (await add_zones(db))[0]
    await db.execute(
        """insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id,
               last_run_id) values ($1, 'a', now(), 1, 1)""",
        key,
    )
    stored = []
    for run_id, rule in ((1, "run"), (2, "many")):
        at = await db.fetchval("select clock_timestamp()")
        await db.execute(sql("zone/withhold"), key, run_id, rule, at, ["a"], run_id)
        stored.append(
            await db.fetchrow(
                "select rule, held_by_run_id, withheld_since from syncer_store.missing"
            )
        )
    assert stored[0] == stored[1]
    assert ("run", 1) == tuple(stored[0])[:2]


async def test_a_look_counts_once_for_its_run_and_anew_after_a_sighting(db: Any) -> None:
    """Done again it changes nothing; the next run's is the second; seen again, it is the first."""
    key = (await add_zones(db))[0]
    await add_removed(db, key, "a", (await add_runs(db, Random(1)))[0][0], PRESENT)  # noqa: S311
    at = await db.fetchval("select now()")

    async def miss(run_id: int) -> int:
        await db.execute(sql("image/missed"), key, run_id, at + run_id * HOUR, None, ["a"])
        looks: int = await db.fetchval("select looks from syncer_store.missing")
        since = await db.fetchval("select missing_since from syncer_store.missing")
        assert at + (21 if run_id < 23 else 23) * HOUR == since, "of the first look that missed it"
        return looks

    assert [1, 1, 2, 2] == [await miss(21), await miss(21), await miss(22), await miss(22)]
    await db.execute(sql("image/seen_again"), key, 22, at + 22 * HOUR, ["a"], at)
    assert [1, 1] == [await miss(23), await miss(23)]
    gap = await db.fetchrow("select gap_from, gap_to, ended_by from syncer_store.image_gaps")
    assert (at + 21 * HOUR, at + 22 * HOUR, "seen") == tuple(gap)
