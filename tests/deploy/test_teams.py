"""A team reads its own accounts through every view and function, and reaches no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from syncer.embedded.binaries import find_binaries
from syncer.store.connection import sql
from tests import seed
from tests.deploy.tools import DEPLOY, run

SIZE = seed.Size(zones=10, images=300, changes=600, days=2, every=timedelta(hours=1))
MORE = """
    insert into syncer_store.account_schedule (account, every, due_at) values
        ('default', '1h', now()), ('edge', '1h', now());
    insert into syncer_store.clock_repairs (account, stamp_table, old_at, new_at) select a, 'runs', now(), now() from
        unnest('{default,edge}'::text[]) as a"""
ACROSS = {"account_spread", "workers"}
"""Views that look over accounts or machines, which a team has not."""
FUNCTIONS = {
    "images_asof": "now()",
    "zone_coverage": "now()",
    "image_counts": "now() - interval '1 day', now(), '1 day'",
    "changes_between": "now() - interval '1 day', now()",
}
PRESENCE = "select {}.image_presence(account, service, zone_id, image_id, now()) from syncer.images"


@pytest.fixture
async def team(db: Any, url: str, pg_bin: str | None) -> AsyncIterator[Any]:
    """A connection of anna, who is in a team with the account `edge`; beside it is `default`."""
    await seed.seed(db, SIZE)
    await db.execute(sql("schema/roles"))
    psql = find_binaries(pg_bin).psql

    def made(*variables: str) -> str:
        return run(psql, "--no-psqlrc", *variables, f"--file={DEPLOY / 'sql/team.sql'}", url)

    for accounts in ("default", "edge, later"):  # the last one counts
        printed = made("--set=team=team_web", f"--set=accounts={accounts}")
    assert "nothing is known of an account 'later'" in printed
    await db.execute("create role anna login in role team_web")
    connection = await asyncpg.connect(url.replace("://syncer@", "://anna@"))
    yield connection
    await connection.close()
    await db.execute("""
        drop schema team_web cascade; drop owned by team_web; drop role team_web, anna""")
