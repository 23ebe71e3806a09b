"""A history of weeks, upgraded: views, as-of answers, diff and feed are the same after it.

``SYNCER_TEST_YEAR=1 pytest -s tests/store/test_upgrade_large.py`` takes a year (60 zones, half a
million changes), and shows what each migration costs.
"""

from __future__ import annotations

import itertools
import os
import time
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from syncer.bench import seed as seeding
from syncer.core.model import ADDED
from syncer.store.connection import Server
from syncer.store.migrate import as_sql, upgrade
from syncer.store.schema import revisions
from tests.support import rows

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
A_YEAR = bool(os.environ.get("SYNCER_TEST_YEAR"))
SIZE: Final = seeding.YEAR if A_YEAR else seeding.Size(zones=12, images=300, changes=1_500, days=7)
BEFORE: Final = "0013"
VIEWS: Final = (
    *("images", "image_versions", "image_changes", "image_field_changes", "image_spread"),
    *("zones", "zone_scans", "runs", "approvals"),
)
FUNCTIONS: Final = ("images_asof", "zone_coverage")
IN_EXTRA: Final = ["nicNetworkType", "imageSource", "minDiskSize"]
KEY: Final = ("kind", "account", "service", "zone_id", "image_id")

Said = dict[tuple[Any, ...], tuple[int, str]]
"""By view, or function and instant: how many rows, and a number that all of them make."""


async def columns_of(db: Any) -> dict[str, list[str]]:
    """The columns of views and functions, as they are to be compared before and after."""
    found = await db.fetch(
        """select relname::text as of, attname::text as name
           from pg_attribute join pg_class as c on c.oid = attrelid
           where relnamespace = 'syncer'::regnamespace and relname = any ($1) and attnum > 0
           union all
           select proname::text, unnest(proargnames[2:])::text from pg_proc
           where pronamespace = 'syncer'::regnamespace and proname = any ($2)
           order by 1""",
        VIEWS,
        FUNCTIONS,
    )
    named = {
        of: [name for _, name in each] for of, each in itertools.groupby(found, lambda r: r[0])
    }
    return {of: [comparable(of, name) for name in names] for of, names in named.items()}


def comparable(of: str, name: str) -> str:
    """A column as text, without the columns that came in between."""
    if (of, name) == ("images", "extra"):
        return f"({name} - array{IN_EXTRA})::text"
    if name in {"before", "after"}:
        return f"({name} - array{list(ADDED)})::text"
    return f"{name}::text"


async def said(db: Any, columns: dict[str, list[str]], instants: list[datetime]) -> Said:
    """What every view says, and the functions at each instant."""
    hashed: Said = {}
    for of, names in columns.items():
        asked: list[tuple[datetime, ...]] = [(at,) for at in instants] if of in FUNCTIONS else [()]
        for at in asked:
            source = f"syncer.{of}($1)" if at else f"syncer.{of}"
            row = await db.fetchrow(
                f"""select count(*), coalesce(sum(hashtextextended(
                        row({", ".join(names)})::text, 0)::numeric), 0)::text
                    from {source} as x""",
                *at,
            )
            hashed[of, *at] = tuple(row)
    return hashed


async def differences(db: Any, earlier: datetime, later: datetime) -> list[tuple[Any, ...]]:
    """What differs between two as-of answers, where both know the image, by its first columns."""
    tracked = "image_name, image_version, image_status, image_size, image_description"
    found = await db.fetch(
        f"""with unknown as materialized (
                select account, service, zone_id from syncer.zone_coverage($1)
                where coverage <> 'known'
                union
                select account, service, zone_id from syncer.zone_coverage($2)
                where coverage <> 'known'
            ), missing as materialized (
                select account, service, zone_id, image_id from syncer.image_gaps
                where gap_from <= $1 and coalesce(gap_to > $1, true)
                   or gap_from <= $2 and coalesce(gap_to > $2, true)
            )
            select case when a.account is null then 'appeared' when b.account is null
                        then 'removed' else 'changed' end, account, service, zone_id, image_id
            from (select *, row({tracked}) as state from syncer.images_asof($1)) as a
            full join (select *, row({tracked}) as state from syncer.images_asof($2)) as b
                using (account, service, zone_id, image_id)
            where a.state is distinct from b.state
              and (account, service, zone_id) not in (select * from unknown)
              and (account, service, zone_id, image_id) not in (select * from missing)""",
        earlier,
        later,
    )
    return sorted(map(tuple, found))


async def migrate(db: Any) -> None:
    """Apply migration by migration, and show what each costs."""
    known = revisions()
    for one, other in itertools.pairwise(known[known.index(BEFORE) :]):
        statements = as_sql(f"{one}:{other}")
        await db.execute("checkpoint")
        start = await db.fetchval("select pg_current_wal_insert_lsn()")
        began = time.monotonic()
        await db.execute(statements)
        took = time.monotonic() - began
        octets = await db.fetchval(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)::bigint", start
        )
        print(f"{other}: {took:.2f} s, {octets / 1e6:.1f} MB of WAL")  # noqa: T201


@pytest.mark.timeout(1800 if A_YEAR else 60)
async def test_a_long_history_is_answered_alike_after_the_upgrade(
    empty_url: str, syncer: Any
) -> None:
    """No version is opened, views and functions say what they did, and so does the command diff.

    zec's later columns stand in the extra of its images, and are filled in by the upgrade.
    """
    db = await asyncpg.connect(empty_url)
    await db.execute(as_sql(BEFORE))
    await db.execute("set timezone to 'UTC'")
    await seeding.seed(db, SIZE)
    columns = await columns_of(db)
    now = await db.fetchval("select max(finished_at) from syncer_store.zone_scans")
    shares = (0, 0.01, 0.1, 0.4, 0.8)
    instants = [now - timedelta(days=SIZE.days) * share for share in shares]
    pairs = [*itertools.pairwise(instants[::-1])]
    before = await said(db, columns, instants)
    drift = [await differences(db, *pair) for pair in pairs]
    assert all(drift)

    if A_YEAR:
        await migrate(db)
        await db.execute("reset all; set timezone to 'UTC'")
    assert revisions()[-1] == (await upgrade(Server(empty_url)))[1]

    assert before == await said(db, columns, instants)
    filled = "select bool_and(added ?& $1) from syncer.images where service = 'zec'"
    assert await db.fetchval(filled, ["min_disk_size", "nic_network_type"])
    for (earlier, later), expected in zip(pairs, drift, strict=True):
        done = await syncer(
            "diff", earlier.isoformat(), later.isoformat(), SYNCER_DATABASE_URL=empty_url
        )
        found = [tuple(row[name] for name in KEY) for row in rows(done)]
        assert expected == sorted(row for row in found if row[0] != "unknown")
    await db.close()
