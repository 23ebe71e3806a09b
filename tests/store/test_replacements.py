"""image_replacements is the rule of core/replacement.py in SQL, and reads what it answers."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncer.core.replacement import STAMPS, Image, plain_name, replacements
from tests.core.test_replacement import SAME, START

NAMES = [name for group in SAME for name in group]
PIECES = (
    *("Ubuntu", "ubuntu", "Windows Server", "CentOS", "22.04", "20.04.1", "20.04.2", "7", "2019"),
    *("Minimal", "Standard", "Datacenter", "LTS", "20240501", "2024-05-01", "2024.13.01", "v2024"),
    *("20240501093000", "T0930Z", "09:30", "1714555555", "build", "Build 17763", "#12", ".1"),
    *(" ", "  ", "-", "_", ".", "(", ")", "[", "]", "/", "\t", "\n", "\v", "\u00a0", "\u00c4"),
)
NAME = st.one_of(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=5).map(" ".join),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=9),
)


@settings(max_examples=100, deadline=None)
@example(names=[*NAMES, "\U0001f427" * 500, "\U0001f427" * 501])
@given(names=st.lists(NAME, min_size=10, max_size=40))
async def test_sql_and_python_see_the_same_in_a_name(names: list[str], fresh: Any) -> None:
    """Whatever a name is made of; where nothing is left, SQL says null."""
    rows = await fresh.fetch(
        "select syncer_store.plain_name(n) from unnest($1::text[]) with ordinality as t (n, i) "
        "order by i",
        names,
    )
    assert [plain_name(name) or None for name in names] == [row[0] for row in rows]


async def test_sql_and_python_have_one_expression_for_stamps(fresh: Any) -> None:
    """The migration has it as it was then: who changes it writes another, and the index anew."""
    function = await fresh.fetchval("select prosrc from pg_proc where proname = 'plain_name'")
    assert f"'{STAMPS}$'" in function


ZONES = """
    insert into syncer_store.zones (account, service, zone_id, gone_at)
    values ('a', 'vm', 'Z-1', null), ('a', 'vm', 'Z-2', null), ('a', 'zec', 'Z-1', null),
           ('b', 'vm', 'Z-1', null), ('a', 'vm', 'Z-gone', '2026-02-01')"""
IMAGE = """
    insert into syncer_store.images (zone_key, image_id, image_name, image_type, category, os_type,
        fingerprint, opened_run_id, opened_ordinal, first_seen_at, valid_from, opened_kind,
        opened_not_before, removed_at, removed_run_id, removed_ordinal)
    values ($1, $2, $3, $4, 'Ubuntu', $5, '', 1, 1, $6, $7, $8, $9, $10,
        case when $10::timestamptz is not null then 1 end,
        case when $10::timestamptz is not null then 1 end)"""
BEFORE = """
    insert into syncer_store.image_history (zone_key, image_id, valid_from, valid_to, opened_kind,
        opened_run_id, opened_ordinal)
    values ($1, $2, $3, $4, 'returned', 1, 1)"""
MISSING = """
    insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, last_run_id)
    values ($1, $2, '2026-03-01', 1, 1)"""
ANSWER = """
    select z.zone_key, r.image_id, r.candidate, r.rule, r.replacement_id
    from syncer.image_replacements as r
    join syncer_store.zones as z using (account, service, zone_id)
    order by z.zone_key, r.image_id, r.candidate"""


async def test_the_view_is_the_rule(db: Any) -> None:
    """Random images of five zones: gone, missing, there from the first look, changed, returned."""
    draw = random.Random(1)  # noqa: S311  (a seeded draw)
    await db.execute(ZONES)
    went: list[tuple[int, Image]] = []
    present: dict[int, list[Image]] = {}
    for n in range(500):
        zone = draw.randint(1, 5)
        came = seen = START + timedelta(days=draw.randint(0, 9))
        kind = draw.choice(("appeared", "changed", "returned", "changed again"))
        if kind in {"returned", "changed again"}:
            came += timedelta(days=draw.randint(1, 9))
        valid_from = came + timedelta(days="changed" in kind)
        found = Image(
            image_id=f"img-{n}",
            image_name=draw.choice((*NAMES[:4], NAMES[:4][0], "ubuntu 22.04 minimal", None)),
            image_type=draw.choice(("PUBLIC_IMAGE",) * 3 + ("CUSTOM_IMAGE",)),
            category="Ubuntu",
            os_type=draw.choice(("linux", "linux", "Linux", "windows", None)),
            first_seen_at=seen,
            came_at=came,
        )
        state = draw.choice(("removed", "missing", "present", "present", "first look"))
        await db.execute(
            IMAGE,
            *(zone, found.image_id, found.image_name, found.image_type, found.os_type),
            *(seen, valid_from, kind.split()[0]),
            None if state == "first look" else seen - timedelta(hours=1),
            valid_from + timedelta(days=1) if state == "removed" else None,
        )
        if kind == "changed again":
            await db.execute(BEFORE, zone, found.image_id, came, valid_from)
        if state == "missing":
            await db.execute(MISSING, zone, found.image_id)
        if state in {"removed", "missing"}:
            went.append((zone, found))
        elif state == "present":
            present.setdefault(zone, []).append(found)

    expected = [
        (zone, gone.image_id, number, found.rule, found.image_id)
        for zone, gone in sorted(went, key=lambda pair: (pair[0], pair[1].image_id))
        if zone != 5
        for number, found in enumerate(replacements(gone, present[zone]), 1)
    ]
    assert {"same_name", "similar_name"} == {row[3] for row in expected}
    assert len(expected) > 300
    assert expected == [tuple(row) for row in await db.fetch(ANSWER)]


MANY = """
    insert into syncer_store.zones (account, service, zone_id)
    select 'a', 'vm', 'Z-' || n from generate_series(1, 20) as n;
    insert into syncer_store.images (zone_key, image_id, image_name, fingerprint, opened_run_id,
        opened_ordinal, first_seen_at, valid_from, opened_not_before, removed_at, removed_run_id,
        removed_ordinal)
    select zone_key, 'img-' || n,
           'Name ' || n % 300 || case when n > 300 then ' 20240501' else '' end,
           '', 1, n, at, at, case when n > 300 then at end,
           case when gone then '2026-02-01'::timestamptz end,
           case when gone then 7 end, case when gone then n end
    from syncer_store.zones, generate_series(1, 420) as n, lateral (
        select '2026-01-01'::timestamptz + n * interval '1 s' as at,
               n % 30 = 0 and n <= 300 as gone) as t;
    insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, last_run_id)
    select zone_key, 'img-7', '2026-02-01', 1, 1 from syncer_store.zones"""
ONE = """
    select image_id, replacement_id, candidate from syncer.image_replacements
    where account = 'a' and service = 'vm' and zone_id = 'Z-3' and image_id = $1"""
OF_THOSE = """
    select count(r.first) from syncer.images as i, lateral (
        select min(replacement_id) as first from syncer.image_replacements as r
        where (r.account, r.service, r.zone_id, r.image_id)
            = (i.account, i.service, i.zone_id, i.image_id)) as r
    where i.account = 'a' and i.service = 'vm' and i.zone_id = 'Z-3' and i.image_id = $1"""


async def test_what_replaced_an_image_is_found_by_indexes(db: Any) -> None:
    """Among 8,400 images, never analysed and analysed: by name for one, and for many at once."""
    await db.execute(MANY)
    for state in ("never analysed", "analysed"):
        if state == "analysed":
            await db.execute("analyze")
        for image_id, instead in (("img-30", "img-330"), ("img-7", "img-307")):
            rows = await db.fetch(ONE, image_id)
            assert [(image_id, instead, 1)] == [tuple(row) for row in rows]
            for statement in (ONE, OF_THOSE):
                assert await read(db, statement, image_id) < 60, (state, statement)
        assert "images_came" in await plan(db, ONE, "img-30")
        assert 100 == await db.fetchval("select count(*) from syncer.image_replacements")
    all_of_it = await read(db, "select * from syncer.image_replacements")
    assert all_of_it < 12 * 220  # 200 were removed, 20 are missing


async def plan(db: Any, statement: str, *arguments: Any) -> str:
    explained = "explain (analyze, buffers, costs off, timing off, format json) "
    return str(await db.fetchval(explained + statement, *arguments))


async def read(db: Any, statement: str, *arguments: Any) -> int:
    """How many pages a statement touches."""
    found = json.loads(await plan(db, statement, *arguments))[0]["Plan"]
    return int(found["Shared Hit Blocks"] + found["Shared Read Blocks"])
