"""Plans stay linear and use the right index, also on tables that were never analysed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from syncer.bench import reading
from syncer.simulator import World
from syncer.store.connection import sql
from tests.support import assert_exact, naming
from tests.support import rows as rows_of

IMAGES = 3_000
READ = """
    select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint as rows,
           sum(n_tup_upd) filter (where relname = 'images')::bigint as updated
    from pg_stat_user_tables
    where schemaname = 'syncer_store' and relname in ('images', 'image_history', 'zones')"""


@pytest.fixture
def world() -> World:
    """One zone of many images."""
    return World.generate(seed=1, zones=1, images=IMAGES)


@pytest.mark.parametrize("analysed", [False, True])
async def test_what_a_run_reads_grows_with_what_is_stored(
    db: Any, sync: Any, world: World, *, analysed: bool
) -> None:
    """Where every image changed, each is read a few times; a plan that joins badly reads millions.

    Never analysed is how a first day looks: the planner takes the tables for empty.
    """
    await sync()
    if analysed:
        await db.execute("analyze")
    await db.execute("select pg_stat_reset()")
    [zone] = world.zones()
    for image_id in list(world.images(zone)):
        world.change_image(zone, image_id, imageVersion="2", imageStatus="CREATING")
    assert IMAGES == (await sync()).counts.changed
    rows = updated = 0
    while updated < IMAGES:  # a session that ends reports its numbers soon, not at once
        await db.execute("select pg_stat_clear_snapshot()")
        rows, updated = await db.fetchrow(READ)
    assert IMAGES <= rows <= 40 * IMAGES
    await assert_exact(db, world)


@pytest.mark.parametrize("analysed", [False, True])
async def test_an_image_is_looked_up_in_the_primary_key(db: Any, *, analysed: bool) -> None:
    """Not in the index of the exclusion constraint, which takes ten times as long and more."""
    await db.execute("""
        insert into syncer_store.zones (account, service, zone_id)
        select 'a', 'vm', 'Z-' || n from generate_series(1, 5) as n""")
    await db.execute("""
        insert into syncer_store.images (zone_key, image_id, fingerprint, opened_run_id,
            opened_ordinal, valid_from)
        select zone_key, 'img-' || n, '', 1, n, '2026-02-01'
        from syncer_store.zones cross join generate_series(1, 400) as n""")
    await db.execute("""
        insert into syncer_store.image_history (zone_key, image_id, valid_from, valid_to,
            opened_kind, opened_run_id, opened_ordinal)
        select zone_key, image_id, '2026-01-01'::timestamptz + n * interval '1 day',
               '2026-01-02'::timestamptz + n * interval '1 day', 'changed', n, 1
        from syncer_store.images cross join generate_series(1, 5) as n""")
    if analysed:
        await db.execute("analyze")
    for statement in (
        "select * from syncer.image_versions where zone_id = 'Z-1' and image_id = 'img-7'",
        "select * from syncer_store.image_history where zone_key = 1 and image_id = 'img-7'",
        "select valid_to from syncer_store.image_history where zone_key = 1 "
        "and image_id = 'img-7' order by valid_from desc limit 1",
    ):
        plan = "\n".join(row[0] for row in await db.fetch(f"explain (costs off) {statement}"))
        assert "image_history_pkey" in plan, plan
        assert "image_history_never_overlaps" not in plan, plan


MANY_NAMES = """
    with begun as (
        insert into syncer_store.runs (account, started_at, finished_at, deadline_at, status,
            syncer_version, change_base, changes)
        select 'a' || n, now() - interval '1 h', now(), now(), 'succeeded', '0', n * 1000, 1000
        from generate_series(1, 4) as n
        returning run_id, account
    ), zones as (
        insert into syncer_store.zones (account, service, zone_id, first_run_id)
        select account, 'vm', 'Z', run_id from begun
        returning zone_key, first_run_id
    ), scans as (
        insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
            status, listed)
        select zone_key, first_run_id, now() - interval '1 h', now() - interval '1 h', now(),
               'unchanged', true
        from zones
    ), images as (
        insert into syncer_store.images (zone_key, image_id, image_name, image_version,
            fingerprint, opened_run_id, opened_ordinal)
        select zone_key, 'img-' || n, 'name ' || n, n % (2 + zone_key % 2), '', first_run_id, n
        from zones, generate_series(1, 1000) as n
    )
    select"""


def worked_on(plan: dict[str, Any]) -> int:
    """How many rows went through the nodes of a plan, those included that a join threw away."""
    loops = plan["Actual Loops"]
    rows = plan["Actual Rows"] + plan.get("Rows Removed by Join Filter", 0)
    return int(loops * rows) + sum(worked_on(node) for node in plan.get("Plans", ()))


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("analysed", [False, True])
async def test_nothing_compares_each_image_with_each(
    db: Any, *, analysed: bool, unknown: bool
) -> None:
    """What views and documented statements work on grows with what is stored, and no faster."""
    await db.execute("alter table syncer_store.images disable trigger user")
    await db.execute(MANY_NAMES)
    if unknown:
        await db.execute("update syncer_store.zones set gone_at = now() where zone_key % 4 > 0")
    if analysed:
        await db.execute("analyze")
    views = await db.fetch("""
        select table_name, max(column_name) filter (where column_name = 'service')
        from information_schema.columns where table_schema = 'syncer' group by table_name""")
    statements = [*reading.statements(await reading.look(db))]
    few = "select * from syncer.account_spread where service = 'vm' and image_name like 'name 1%'"
    statements.append(reading.Statement(name=few, text=few))
    for view, column in views:
        for condition in ("", f"where {column} = 'vm'") if column else ("",):
            text = f"select * from syncer.{view} {condition}"
            statements.append(reading.Statement(name=text, text=text))
    assert len(statements) > 80
    for asked in statements:
        explain = f"explain (analyze, timing off, format json) {asked.text}"
        found = await db.fetchval(explain, *asked.arguments)
        rows = worked_on(json.loads(found)[0]["Plan"])
        assert rows < 200 * 4000, (asked.name, rows)


MANY_ACCOUNTS = """
    insert into syncer_store.accounts (account) select 'a' || n from generate_series(1, 20) as n;
    insert into syncer_store.zones (account, service, zone_id, first_run_id, key_digest)
    select 'a' || n, 'vm', 'Z-' || z, n, sha256(('a' || n)::bytea)
    from generate_series(1, 20) as n, generate_series(1, 5) as z order by n, z;
    insert into syncer_store.runs (account, started_at, finished_at, deadline_at, status,
        syncer_version, change_base, changes)
    select 'a' || n, at, at + interval '1 s', at + interval '1 min', 'succeeded', '0',
           (r * 20 + n) / 10 * 2, case when (r * 20 + n) % 10 = 9 then 2 else 0 end
    from generate_series(0, 999) as r, generate_series(1, 20) as n,
         lateral (select now() - (1000 - r) * interval '15 min' + n * interval '18 s' as at) as t
    order by r, n;
    update syncer_store.feed set last_change_id = (
        select max(change_base + changes) from syncer_store.runs);
    insert into syncer_store.images (zone_key, image_id, fingerprint, opened_run_id, opened_ordinal)
    select zone_key, 'img-' || j, '', first_run_id, j
    from syncer_store.zones, generate_series(1, 300) as j;
    insert into syncer_store.image_history (zone_key, image_id, valid_from, valid_to, opened_kind,
        opened_run_id, opened_ordinal, opened_not_before)
    select z.zone_key, 'img-' || 1 + r.run_id % 50 + o, r.started_at, r.finished_at, 'changed',
           r.run_id, 1 + o, r.started_at
    from syncer_store.runs as r
    join syncer_store.zones as z on z.account = r.account and z.zone_id = 'Z-' || 1 + r.run_id % 5
    cross join generate_series(0, 1) as o
    where r.changes > 0;
    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
        status, listed)
    select z.zone_key, r.run_id, r.started_at, r.started_at, r.finished_at, 'unchanged', true
    from syncer_store.runs as r
    join syncer_store.zones as z on z.account = r.account and z.zone_id = 'Z-1'"""
NOTHING = (None,) * 4
PAGES = 300
"""The runs alone take 500, the images 400."""


async def pages(db: Any, statement: str, *arguments: Any) -> int:
    """How many pages a statement touches: one of sql/ by its name, or any."""
    text = statement if " " in statement else sql(statement)
    found = await db.fetchval(
        f"explain (analyze, buffers, costs off, timing off, format json) {text}", *arguments
    )
    plan = json.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_what_is_asked_of_many_accounts_reads_what_it_answers(db: Any, syncer: Any) -> None:
    """Each question that is asked by every run, command or page touches few pages.

    However many accounts and runs there are; and the answer is that of reading everything.
    """
    await db.execute(MANY_ACCOUNTS)
    await db.execute("vacuum analyze")
    head = await db.fetchval("select last_change_id from syncer.feed")
    hour = timedelta(hours=1)
    since = await db.fetchval("select now()") - hour
    questions: dict[str, tuple[Any, ...]] = {
        "read/runs": (None, 20),
        "read/several": (None, None),
        "read/moment": (None, hour, None),
        "read/feed": (*NOTHING, None, True, 100, head - 10),
        "read/changes": (*NOTHING, None, True, 5, head - 10),
        "run/newest_stamp": ("a7",),
        "run/newest": ("a7",),
        "doctor/runs": ("a7",),
        "doctor/time_line": ("a7",),
        "doctor/keys": ("a7", b"another"),
        "read/metrics_zones": ("a7",),
    }
    touched = {name: await pages(db, name, *asked) for name, asked in questions.items()}
    assert {} == {name: many for name, many in touched.items() if many > PAGES}
    rows = await db.fetch(sql("read/feed"), *questions["read/feed"])
    assert list(range(head - 9, head + 1)) == [row["change_id"] for row in rows]
    newest = await db.fetch(sql("read/changes"), *NOTHING, None, True, 5, None)
    assert newest == await db.fetch(sql("read/changes"), *questions["read/changes"])
    bound = await db.fetchval(sql("read/changes_before"), since)
    expected = "select count(*) from syncer.image_changes where changed_at >= $1 and run_id > 20"
    later = await db.fetch(sql("read/changes"), *NOTHING, since, True, None, bound)
    assert await db.fetchval(expected, since) == len(later) > 0
    for filters, limit in (("true", 5), ("account = 'a9'", 5), ("account = 'a9'", 800)):
        every = await db.fetch(
            f"select change_id from syncer.image_changes where {filters} and run_id > 20"
            " order by change_id desc limit $1",
            limit,
        )
        place = () if filters == "true" else ("--account", "a9")
        done = await syncer("changes", *place, "--limit", str(limit))
        assert [row["change_id"] for row in reversed(every)] == [
            row["change_id"] for row in rows_of(done)
        ]


OF_A_ZONE = 800
"""Pages: the 300 images of a zone are read, once or twice, an image a page."""
OF_THE_CONTRACT = {
    "select * from syncer.image_changes order by run_id desc, change_id desc limit 20": PAGES,
    "select * from syncer.image_field_changes order by run_id desc, change_id desc limit 20": PAGES,
    "select * from syncer.image_changes where account = 'a7' and service = 'vm' "
    "and zone_id = 'Z-2' and image_id = 'img-9'": PAGES,
    "select * from syncer.images_asof(now() - interval '1 hour', 'a7', 'vm', 'Z-2')": OF_A_ZONE,
    "select * from syncer.zone_coverage(now() - interval '1 hour', 'a7')": PAGES,
    "select * from syncer.changes_between(now() - interval '1 hour', now(), 'a7', 'vm', 'Z-2')": (
        OF_A_ZONE
    ),
    "select * from syncer.pin_status('Z-2', 'img-9', 'a7')": PAGES,
    "select state, spell_from from syncer.zone_spells where state <> 'read'": PAGES,
    "select state, spell_from from syncer.zone_spells where account = 'a7'": PAGES,
}
"""Statements that read little, however long the history is, and the pages that they may touch."""


async def test_what_is_asked_of_the_contract_reads_what_it_answers(db: Any) -> None:
    """Few pages of many accounts, before any table was analysed and after."""
    await db.execute(MANY_ACCOUNTS)
    await db.execute("""
        update syncer_store.zone_scans set status = 'failed' where run_id % 5000 = 1;
        update syncer_store.image_history set changed_fields = '{image_status}'""")
    for known in ("vacuum", "vacuum analyze"):
        await db.execute(known)
        with naming(known):
            touched = {statement: await pages(db, statement) for statement in OF_THE_CONTRACT}
            over = {name: many for name, many in touched.items() if many > OF_THE_CONTRACT[name]}
            assert {} == over
