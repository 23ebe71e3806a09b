"""What replica.md says: a copy by logical replication answers as the first, and goes on alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncer.simulator import World
from tests.deploy.tools import DEPLOY
from tests.support import Migrated, connected, until

PAGE = (DEPLOY / "replica.md").read_text()
PUBLISH, SUBSCRIBE, MISSING, BEHIND, END = re.findall(
    r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
TABLES = "select tablename from pg_tables where schemaname = 'syncer_store' order by 1"


async def answers(db: Any) -> dict[str, list[str]]:
    """All that the tables hold, and what the feed shows."""
    sources = [f"syncer_store.{row[0]}" for row in await db.fetch(TABLES)] + [
        "syncer.image_changes"
    ]
    return {
        source: [row[0] for row in await db.fetch(f"select s::text from {source} as s order by 1")]
        for source in sources
    }


@pytest.fixture
async def copy(migrated: Migrated) -> AsyncIterator[Any]:
    """A connection to a migrated database on the same server."""
    async with migrated.copy() as url, connected(url) as connection:
        yield connection


async def test_a_copy_answers_alike_and_goes_on(
    environment: dict[str, str], db: Any, copy: Any, sync: Any, world: World
) -> None:
    """After the first copy, after a run meanwhile, and after the first server was lost."""
    await sync()
    await db.execute(PUBLISH)
    # One server for both would wait for itself when it makes the slot; else as it stands there.
    await db.execute("select pg_create_logical_replication_slot('syncer', 'pgoutput')")
    empty, _, subscribe = SUBSCRIBE.partition("create subscription")
    url = environment["SYNCER_DATABASE_URL"]
    place = re.sub(r".*host=(.*)&port=(\d+)", r"host=\1 port=\2", url)
    name = await db.fetchval("select current_database()")
    subscribe = re.sub(r"'host=.*'", f"'{place} dbname={name} user=syncer_replica'", subscribe)
    await copy.execute(empty)
    await copy.execute(
        f"create subscription {subscribe.strip().removesuffix(';')} with (create_slot = false)"
    )

    async def complete() -> bool:
        return not await copy.fetch(MISSING)

    await until(complete)
    assert await answers(db) == await answers(copy)

    world.drift(2, appear=3, change=3, remove=3)
    await sync()
    last = await db.fetchval("select max(last_change_id) from syncer.runs")

    async def followed() -> bool:
        newest = "select max(last_change_id) = $1 from syncer.runs"
        return await copy.fetchval(newest, last) is True

    await until(followed)
    assert await db.fetch(BEHIND)
    assert await answers(db) == await answers(copy)

    for statement in END.split(";")[:-1]:
        await copy.execute(statement)
    world.drift(3, appear=2, change=0, remove=0)
    name_of_copy = await copy.fetchval("select current_database()")
    await sync(SYNCER_DATABASE_URL=url.replace(f"/{name}", f"/{name_of_copy}"))
    added = await copy.fetchval(
        "select count(*) from syncer.image_changes where change_id > $1", last
    )
    assert added == 2

    async def freed() -> bool:
        return await db.fetchval("select active from pg_replication_slots") is False

    await until(freed)
    await db.execute("select pg_drop_replication_slot('syncer')")
    await db.execute("drop owned by syncer_replica; drop role syncer_replica")
