"""A team reads its own accounts through every view and function, and reaches no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from syncer.bench import seed
from syncer.embedded.binaries import find_binaries
from syncer.store.connection import sql
from tests.deploy.tools import DEPLOY, run
from tests.support import connected

SIZE = seed.Size(zones=10, images=300, changes=600, days=2, every=timedelta(hours=1))
MORE = """
    insert into syncer_store.account_schedule (account, every, due_at) values
        ('default', '1h', now()), ('edge', '1h', now());
    insert into syncer_store.clock_repairs values
        ('default', now(), now(), now(), true, 'alice'), ('edge', now(), now(), now(), true, 'bob');
    insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, last_run_id)
    select distinct on (zone_key) zone_key, image_id, now(), 1, 1
    from syncer_store.images join syncer_store.zones using (zone_key)
    where account = 'edge' and removed_at is null order by 1, 2;
    insert into syncer_store.images (zone_key, image_id, image_name, image_type, category, os_type,
        fingerprint, opened_run_id, opened_ordinal, opened_not_before)
    select i.zone_key, 'img-again', i.image_name, i.image_type, i.category, i.os_type, '', 1, 1,
           now()
    from syncer_store.missing join syncer_store.images as i using (zone_key, image_id)
    join syncer_store.zones as z using (zone_key) where account = 'edge';
    insert into syncer_store.baselines (name, as_of, saved_by, filters)
    values ('ours', now(), 'bob', '{}');
    insert into syncer_store.baseline_images (baseline_id, zone_key, image_id)
    select b.baseline_id, m.zone_key, m.image_id from syncer_store.baselines as b,
        syncer_store.missing as m join syncer_store.zones using (zone_key)
    where name = 'ours' and account = 'edge';
    insert into syncer_store.approvals (zone_key, max_removals, approved_by)
    select distinct zone_key, 1, 'bob' from syncer_store.missing"""
ACROSS = {"account_spread", "workers"}
"""Views that look over accounts or machines, which a team has not."""
DAY = "now() - interval '1 day', now()"
FUNCTIONS = {
    "images_asof": ("now()", "now(), 'default'", "now(), null", "now(), 'edge', 'vm'"),
    "zone_coverage": ("now()", "now(), 'default'", "now(), null"),
    "image_counts": (f"{DAY}, '1 day'", f"{DAY}, '1 day', null", f"{DAY}, '1 day', 'default'"),
    "changes_between": (DAY, f"{DAY}, 'default'", f"{DAY}, 'edge'"),
    "pin_status": ("'SIN-A', 'img-again'", "'SIN-A', 'img-again', 'default'"),
}
PRESENCE = "{}.image_presence(account, service, zone_id, image_id, now())"


@pytest.fixture
async def team(db: Any, url: str, pg_bin: str | None) -> AsyncIterator[Any]:
    """A connection of anna, who is in a team with the account `edge`; beside it is `default`."""
    await seed.seed(db, SIZE)
    await db.execute(MORE)
    await db.execute(sql("schema/roles"))
    psql = find_binaries(pg_bin).psql
    printed = ""
    for accounts in ("default", "edge, later"):  # the last one counts
        printed += run(
            *(psql, "--no-psqlrc", "--set=team=team_web", f"--set=accounts={accounts}"),
            *(f"--file={DEPLOY / 'sql/team.sql'}", url),
        )
    assert "nothing is known of an account 'later'" in printed
    await db.execute("create role anna login in role team_web")
    async with connected(url.replace("://syncer@", "://anna@")) as connection:
        yield connection
    await db.execute("""
        drop schema team_web cascade; drop owned by team_web; drop role team_web, anna""")


async def test_a_team_sees_its_own_accounts_and_no_other(team: Any, db: Any) -> None:
    """Through every view and function it gets what there is of them, and nothing else.

    Neither are there other ways.
    """
    await sees_its_accounts(team, db)
    await reaches_nothing_else(team, db)


async def sees_its_accounts(team: Any, db: Any) -> None:
    views = "select viewname from pg_views where schemaname = $1"
    of_all, of_team = [{row[0] for row in await db.fetch(views, name)} for name in SCHEMAS]
    assert of_all - ACROSS == of_team

    for view in sorted(of_team - {"baselines", "schema_version", "feed"}):
        whole = f"select v::text from syncer.{view} as v where account = 'edge' order by 1"
        there = await db.fetch(whole)
        assert there, view
        assert there == await team.fetch(f"select v::text from team_web.{view} as v order by 1")
    assert ["ours"] == [row[0] for row in await team.fetch("select name from team_web.baselines")]
    newest = "select max(change_id) from syncer.image_changes where account = 'edge'"
    assert await db.fetchval(newest) == await team.fetchval("select * from team_web.feed")

    names = "select distinct proname from pg_proc where pronamespace = $1::regnamespace"
    for schema in SCHEMAS:
        assert {*FUNCTIONS, "image_presence"} == {row[0] for row in await db.fetch(names, schema)}
    for name, asked in FUNCTIONS.items():
        for arguments in asked:
            found = await team.fetch(f"select * from team_web.{name}({arguments})")
            assert ("default" in arguments) == (not found), (name, arguments)
            assert {"edge", "later"} >= {row["account"] for row in found}
    for account in ("edge", "default"):
        pins = f"from syncer.images where account = '{account}'"
        expected = await db.fetchval(f"select array_agg({PRESENCE.format('syncer')}) {pins}")
        rows = await db.fetch(f"select account, service, zone_id, image_id {pins}")
        said = [await team.fetchval(ONE, *row) for row in rows]
        assert (expected if account == "edge" else ["unknown"] * len(rows)) == said


SCHEMAS = "syncer", "team_web"
ONE = "select team_web.image_presence($1, $2, $3, $4, now())"


async def test_what_a_team_makes_in_a_session_gets_no_rights_of_the_owner(
    team: Any, db: Any
) -> None:
    """Where all may make temporary things: as long as nobody has given `db roles`."""
    database = await db.fetchval("select quote_ident(current_database())")
    await db.execute(f"grant temporary on database {database} to team_web")
    said: list[str] = []
    team.add_log_listener(lambda _, message: said.append(message.message))
    await team.execute("""
        create function pg_temp.leak(pg_catalog.text) returns boolean language plpgsql as $$
        begin raise notice 'as %', current_user; return true; end $$;
        create domain pg_temp.text as pg_catalog.text check (pg_temp.leak(value))""")
    for statement in (
        "select * from team_web.images_asof(now())",
        "select * from team_web.pin_status('SIN-A', 'img-again')",
        "select team_web.image_presence('edge', 'vm', 'SIN-A', 'img-again', now())",
    ):
        await team.execute(statement)
    assert [] == said


async def test_what_runs_with_its_owners_rights_names_its_path(team: Any, db: Any) -> None:
    """Ours and a team's: where it does not end with what a session made, that comes first."""
    paths = await db.fetch("""
        select p.oid::regprocedure::text, coalesce((
                   select s from unnest(proconfig) as s where s like 'search_path=%'), '') as path
        from pg_proc as p
        where prosecdef and pronamespace::regnamespace::text !~ '^(pg_catalog|information_schema)$'
        """)
    assert {
        "syncer_store.at_work(text)",
        "team_web.image_presence(text,text,text,text,timestamp with time zone)",
    } <= {row[0] for row in paths}
    assert {"search_path=pg_catalog, pg_temp"} == {row["path"] for row in paths}


async def reaches_nothing_else(team: Any, db: Any) -> None:
    """Neither the views of all, nor what they are made of; and it makes nothing of its own.

    Each view is a barrier: else the error of a condition could show the rows of others.
    """
    for statement in (
        "select * from syncer.images",
        "select * from syncer.images_asof(now())",
        "select * from syncer_store.images",
        "select syncer.image_presence('default', 'vm', 'FRA-A', 'img-1', now())",
        "create function team_web.seen(text) returns boolean return true",
        "create view team_web.mine as select 1",
        "create or replace view team_web.images as select 1",
        "create temporary table mine ()",
        "delete from team_web.runs",
        "set role syncer_reader",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await team.execute(statement)
    options = "select reloptions from pg_class where relnamespace = 'team_web'::regnamespace"
    assert {("security_barrier=true",)} == {tuple(row[0]) for row in await db.fetch(options)}
