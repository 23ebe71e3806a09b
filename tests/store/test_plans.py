"""Plans stay linear and use the right index, also on tables that were never analysed."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.simulator import World
from tests.support import assert_exact

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
