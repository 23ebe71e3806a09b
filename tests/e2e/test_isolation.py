"""Fence, feed, crashes and takeovers where the role or the database has another isolation level."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from syncer.store.connection import Server
from syncer.store.runs import Counts, Run, begin
from tests.e2e.test_concurrent_runs import *  # noqa: F403  (the same suite, under each level)

LEVELS = {"database {}": "repeatable read", "role syncer in database {}": "serializable"}
"""Whose default it is: the role's is nearer, and the stricter one."""


@pytest.fixture(autouse=True)
async def levels(url: str, db: Any) -> None:
    """The defaults of whoever connects from now on."""
    for whose, level in LEVELS.items():
        target = whose.format(urlsplit(url).path[1:])
        await db.execute(f"alter {target} set default_transaction_isolation = '{level}'")


async def test_two_accounts_that_end_at_once_share_no_number(url: str, db: Any) -> None:
    """The second to number its changes waits for the first, and then sees what that took."""
    await db.execute("""
        create function public.wait() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(42); return new; end $$;
        create trigger wait before update on syncer_store.runs
            for each row when (new.change_base is not null) execute function public.wait()""")
    runs = list[Run]()
    async with (
        begin(Server(url), "a", run_timeout=900.0, selection={}) as (first, _),
        begin(Server(url), "b", run_timeout=900.0, selection={}) as (second, _),
    ):
        runs += [first, second]
        async with anyio.create_task_group() as tasks, db.transaction():
            await db.execute("select pg_advisory_xact_lock(42)")
            for run in runs:
                run.reserve_ordinals(5)
                tasks.start_soon(run.finish, "succeeded", Counts())
            while 2 > await db.fetchval("""
                    select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock'"""):
                await anyio.lowlevel.checkpoint()
    bases = await db.fetch("select change_base from syncer_store.runs order by change_base")
    assert [0, 5] == [row[0] for row in bases]
