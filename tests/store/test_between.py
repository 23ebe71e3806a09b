"""Functions and flat columns of the contract, held to the views and commands that say the same."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from syncer.bench import seed
from syncer.core import added
from syncer.core.model import ADDED, TRACKED, Tracked
from syncer.core.normalise import changed_fields
from tests.support import Migrated, connected, rows

KEY: Final = ("account", "service", "zone_id", "image_id")
SIZE: Final = seed.Size(zones=12, images=400, changes=2_000, days=2)
LATER: Final = """
    update syncer_store.image_history set added = case hashtext(image_id || valid_from) % 3
        when 0 then '{"image_source": "OFFICIAL", "min_disk_size": null}'::jsonb
        when 1 then '{"image_source": "APP"}' end;
    update syncer_store.images set added = '{"image_source": "OFFICIAL", "min_disk_size": "20"}'
    where hashtext(image_id) % 2 = 0"""


@pytest.fixture(scope="module")
async def seeded_url(migrated: Migrated) -> AsyncIterator[str]:
    """The URL of a database with two days of history; later columns are known in part."""
    async with migrated.copy() as url:
        async with connected(url) as connection:
            await seed.seed(connection, SIZE)
            await connection.execute(LATER)
        yield url


@pytest.fixture
async def seeded(seeded_url: str) -> AsyncIterator[Any]:
    async with connected(seeded_url) as connection:
        yield connection


TEXTS: Final = (None, "", "30", "30.0", "3e1", " 30", "31", "1e99", "1E99", "x", "X")


async def test_sql_and_python_see_the_same_fields_change(fresh: Any) -> None:
    """Sizes by their number, and no column that either side does not know."""
    draw = random.Random(1)  # noqa: S311  (a seeded draw)
    pairs = [
        [
            part
            for _ in range(2)
            for part in (
                {name: draw.choice(TEXTS) for name in TRACKED},
                {name: draw.choice(TEXTS) for name in ADDED if draw.random() < 0.7},
            )
        ]
        for _ in range(2_000)
    ]
    found = await fresh.fetch(
        """select syncer_store.changed_fields(b, a) from unnest($1::jsonb[], $2::jsonb[])
           with ordinality as t (b, a, n) order by n""",
        [json.dumps(old | later) for old, later, _, _ in pairs],
        [json.dumps(new | later) for _, _, new, later in pairs],
    )
    expected = [fields_between(*pair) for pair in pairs]
    assert {*TRACKED, *ADDED} == {name for fields in expected for name in fields}
    assert expected == [fields for (fields,) in found]


def fields_between(
    old: Mapping[str, Any], old_later: Any, new: Mapping[str, Any], new_later: Any
) -> list[str]:
    before, after = (
        msgspec.convert(tuple(side[name] for name in TRACKED), Tracked) for side in (old, new)
    )
    return [*changed_fields(before, after), *added.changed(old_later, new_later)]


async def differences(db: Any, one: datetime, two: datetime) -> set[tuple[Any, ...]]:
    """What ``syncer diff`` is to show, worked out of as-of answers."""
    known = [
        {tuple(row)[:3]: row for row in await db.fetch("select * from syncer.zone_coverage($1)", t)}
        for t in (one, two)
    ]
    there = [
        {tuple(row[name] for name in KEY): row for row in await db.fetch(ASOF, t)}
        for t in (one, two)
    ]
    gaps = [{tuple(row) for row in await db.fetch(GAPS, t)} for t in (one, two)]
    expected: set[tuple[Any, ...]] = set()
    compared = set()
    for zone, before in known[0].items():
        after = known[1][zone]
        if before["gone"] or after["gone"]:
            if not (before["gone"] and after["gone"]):
                expected.add(("unknown", *zone, None, ()))
            continue
        unknown = [row["coverage"] == "unknown" for row in (before, after)]
        if any(unknown):
            expected.add(("unknown", *zone, None, ()))
        else:
            compared.add(zone)
        for key in there[0].keys() | there[1].keys():
            old, new = there[0].get(key), there[1].get(key)
            if key[:3] != zone or key in gaps[0] | gaps[1]:
                continue
            if old is None and not unknown[0]:
                expected.add(("appeared", *key, ()))
            elif new is None and not unknown[1]:
                expected.add(("removed", *key, ()))
            elif old is not None and new is not None:
                sides = [json.loads(row["added"] or "{}") for row in (old, new)]
                if fields := fields_between(old, sides[0], new, sides[1]):
                    expected.add(("changed", *key, tuple(fields)))
    expected |= {("unknown", *key, ()) for key in gaps[0] ^ gaps[1] if key[:3] in compared}
    return expected


ASOF = "select * from syncer.images_asof($1)"
GAPS = f"""
    select {", ".join(KEY)} from syncer.image_gaps
    where gap_from <= $1 and (gap_to > $1 or gap_to is null)"""
BETWEEN = f"""
    select kind, {", ".join(KEY)}, changed_fields, changed_fields_text, severity, reason
    from syncer.changes_between($1, $2, {{}})"""


async def test_changes_between_is_the_difference_of_two_as_of_answers(seeded: Any) -> None:
    """Between any instants; and with a zone, by argument or filter, what there is of that zone."""
    now = await seeded.fetchval("select now()")
    start = await seeded.fetchval("select min(started_at) from syncer.runs")
    draw = random.Random(1)  # noqa: S311  (a seeded draw)
    kinds: set[str] = set()
    drawn = [sorted(start + draw.random() * (now - start) for _ in range(2)) for _ in range(6)]
    drawn += [[start - (now - start), now], [start - (now - start), start + (now - start) / 2]]
    for one, two in drawn:
        found = await seeded.fetch(BETWEEN.format("null"), one, two)
        said = {(*tuple(row)[:5], tuple(row["changed_fields"])) for row in found}
        assert await differences(seeded, one, two) == said
        assert len(said) == len(found)
        for row in found:
            assert ", ".join(row["changed_fields"]) == (row["changed_fields_text"] or "")
            assert (row["reason"] is None) == (row["kind"] != "unknown")
            assert (row["severity"] is None) == (row["kind"] in {"appeared", "unknown"})
        kinds |= {row["kind"] for row in found}
        zone = draw.choice([tuple(row)[1:4] for row in found] or [("default", "vm", "FRA-A")])
        for asked, arguments in (
            (BETWEEN.format("$3, $4, $5"), zone),
            (BETWEEN.format("null") + " where (account, service, zone_id) = ($3, $4, $5)", zone),
        ):
            of_zone = await seeded.fetch(asked, one, two, *arguments)
            assert {str(r) for r in found if tuple(r)[1:4] == zone} == set(map(str, of_zone))
    assert {"appeared", "changed", "removed", "unknown"} == kinds


@pytest.mark.parametrize(
    ("one", "two", "reason"),
    [
        ("now()", "now() - interval '1 day'", "the earlier instant is after the later one"),
        ("null", "now()", "no earlier instant was given"),
        ("now()", "null", "no later instant was given"),
    ],
)
async def test_instants_that_cannot_be_compared_are_no_answer(
    one: str, two: str, reason: str, seeded: Any
) -> None:
    """Of each zone it is unknown what differs, and it is said why; nobody reads: nothing did."""
    found = await seeded.fetch(f"select * from syncer.changes_between({one}, {two})")
    zones = await seeded.fetch("select account, service, zone_id from syncer.zones")
    assert {("unknown", *zone, None, reason) for zone in zones} == {
        (*tuple(row)[:5], row["reason"]) for row in found
    }
    assert len(zones) == len(found)


async def test_of_no_instant_nothing_is_known(seeded: Any) -> None:
    """Every zone and image is unknown then, and none is counted."""
    assert {("unknown", None)} == {
        (row["coverage"], row["gone"])
        for row in await seeded.fetch("select * from syncer.zone_coverage(null)")
    }
    assert [("unknown",)] == await seeded.fetch("""
        select distinct syncer.image_presence(account, service, zone_id, image_id, null)
        from syncer.images""")
    for nothing in (
        "images_asof(null)",
        "image_counts(null, now(), '1 day')",
        "image_counts(now(), now() - interval '1 day', '1 day')",
    ):
        assert not await seeded.fetch(f"select * from syncer.{nothing}")
    (pin,) = await seeded.fetch("select * from syncer.pin_status('FRA-A', null, 'edge', 'vm')")
    assert ("unknown", "never seen in this zone; is the id right?") == (
        pin["status"],
        pin["reason"],
    )
    (pin,) = await seeded.fetch("select * from syncer.pin_status(null, 'img-1')")
    assert ("unknown", "no such zone is known") == (pin["status"], pin["reason"])


async def test_a_zone_that_one_account_lost_is_there_for_another(db: Any) -> None:
    """An image that was never seen is not said to be unseen because a zone is gone."""
    await db.execute("""
        insert into syncer_store.zones (account, service, zone_id, gone_at)
        values ('a', 'vm', 'Z-1', now()), ('b', 'vm', 'Z-1', null)""")
    ask = "select reason from syncer.pin_status('Z-1', 'img-never')"
    assert "never seen, but the zone was never read whole" == await db.fetchval(ask)
    await db.execute("update syncer_store.zones set gone_at = now()")
    assert "never seen, but the zone is gone" == await db.fetchval(ask)


@pytest.mark.parametrize("of", ["images_asof", "zone_coverage", "image_counts"])
async def test_an_account_service_or_zone_may_be_asked_for(of: str, seeded: Any) -> None:
    """The answer is that of all, filtered; null is all."""
    at = "timestamptz '{}'".format(await seeded.fetchval("select now() - interval '1 day'"))
    if of == "image_counts":
        at += f", {at} + interval '1 day', '7 hours'"
    for account, service, zone in (
        (None, None, None),
        ("edge", None, None),
        (None, "zec", None),
        ("default", "vm", "FRA-A"),
        ("default", "vm", "nowhere"),
    ):
        asked = await seeded.fetch(
            f"select * from syncer.{of}({at}, $1, $2, $3)", account, service, zone
        )
        expected = await seeded.fetch(
            f"""select * from syncer.{of}({at})
                where ($1::text is null or account = $1) and ($2::text is null or service = $2)
                  and ($3::text is null or zone_id = $3)""",
            *(account, service, zone),
        )
        assert set(map(str, expected)) == set(map(str, asked))


async def test_pin_status_is_what_check_answers(
    seeded_url: str, seeded: Any, syncer: Any, tmp_path: Path
) -> None:
    """For each image ever seen, one that never was, and one of a zone that is not known."""
    pins = [
        tuple(row)
        for row in await seeded.fetch("select distinct zone_id, image_id from syncer.images")
    ]
    zones = {zone for zone, _ in pins}
    pins += [(zone, "img-never") for zone in sorted(zones)] + [("nowhere", "img-never")]
    pinned = tmp_path / "pins.csv"
    pinned.write_text("zone_id,image_id\n" + "".join(f"{z},{i}\n" for z, i in pins))
    done = await syncer("check", str(pinned), "-o", "ndjson", SYNCER_DATABASE_URL=seeded_url)
    shown = rows(done)
    columns = ("account", "service", "zone_id", "image_id", "status")
    found = await seeded.fetch(
        """select s.* from unnest($1::text[], $2::text[]) as p (zone_id, image_id)
            cross join lateral syncer.pin_status(p.zone_id, p.image_id) as s""",
        [zone for zone, _ in pins],
        [image for _, image in pins],
    )
    # check says more of what is there than pin_status is asked: whether it is as it was pinned.
    assert sorted(map(str, ([row[c] for c in columns] for row in shown))) == sorted(
        map(str, ([row[c] for c in columns] for row in found))
    )
    assert {"present", "removed", "unknown"} == {row["status"] for row in found}
    said = {tuple(row[c] for c in KEY): row for row in shown}
    for row in found:
        other = said[tuple(row[c] for c in KEY)]
        assert (row["reason"] is None) == (other["reason"] is None)
        assert (row["reason"] or "")[:10] == (other["reason"] or "")[:10]
        assert len(other["replaced_by"] or ()) == (row["replacements"] or 0)
        assert (row["since"] is None) == (row["image_id"] == "img-never")


async def test_how_a_version_ended_is_the_change_that_ended_it(seeded: Any) -> None:
    """Its kind and its run; and how it began that of the change that it began with."""
    ends = await seeded.fetchrow("""
        select count(*) filter (where v.valid_to is not null) as ended, count(*) as all,
               count(*) filter (
                   where (v.closed_kind, v.closed_run_id) = (c.kind, c.run_id)) as right,
               count(*) filter (where (v.kind, v.run_id) = (b.kind, b.run_id)) as began
        from syncer.image_versions as v
        left join syncer.image_changes as c
            on (c.account, c.service, c.zone_id, c.image_id, c.changed_at)
             = (v.account, v.service, v.zone_id, v.image_id, v.valid_to)
        left join syncer.image_changes as b
            on (b.account, b.service, b.zone_id, b.image_id, b.changed_at)
             = (v.account, v.service, v.zone_id, v.image_id, v.valid_from)""")
    assert ends["ended"] == ends["right"] > 100
    assert ends["all"] == ends["began"]


async def test_the_flat_columns_say_what_arrays_and_json_do(seeded: Any) -> None:
    """Of changes, the document after them (of a removal before); of names, the arrays."""
    names = (*TRACKED[1:], *ADDED)
    differ = " or ".join(f"coalesce(after, before) ->> '{n}' is distinct from {n}" for n in names)
    assert [] == await seeded.fetch(f"""
        select change_id from syncer.image_changes
        where {differ} or changed_fields_text <> array_to_string(changed_fields, ', ')""")
    assert [] == await seeded.fetch("""
        select f.change_id from syncer.image_field_changes as f
        join syncer.image_changes as c using (change_id)
        where (f.kind, f.not_before) is distinct from (c.kind, c.not_before)""")
    spread = await seeded.fetch("""
        select account, service, image_name, zone_id, offered from syncer.image_spread_zones""")
    nested = await seeded.fetch("""
        select account, service, image_name, zones, missing_zones, jsonb_array_length(offers)
        from syncer.image_spread""")
    assert {tuple(row) for row in spread} == {
        (*tuple(row)[:3], zone, offered)
        for row in nested
        for offered, zones in ((True, row["zones"]), (False, row["missing_zones"]))
        for zone in zones
    }
    assert len(spread) == sum(row[5] + len(row["missing_zones"]) for row in nested) > 0


async def test_a_size_is_shown_as_tools_can_hold_it(fresh: Any) -> None:
    """Not more than twelve digits and six decimals, whatever is compared."""
    sizes = ["30", "30.0", "3e1", " 30 ", "0.1234567", "999999999999", "1e12", "1e99", "-1e12", "x"]
    found = await fresh.fetch(
        "select syncer_store.shown_gib(s)::text from unnest($1::text[]) as s", sizes
    )
    assert ["30", "30", "30", "30", "0.123457", "999999999999", *[None] * 4] == [
        f for (f,) in found
    ]
