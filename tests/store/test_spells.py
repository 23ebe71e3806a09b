"""Views of from when to when, asked of histories whose answers are worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 1, tzinfo=UTC)


def hour(number: float | None) -> datetime | None:
    return None if number is None else START + timedelta(hours=number)


ZONES = """
    insert into syncer_store.zones (account, service, zone_id)
    values ('a', 'vm', 'Z-1'), ('a', 'vm', 'Z-2'), ('b', 'vm', 'Z-1')"""
SCAN = """
    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
        status, listed, error_code, error_message)
    values ($1, $2, $3, $3, $3, $4, true, $5, 'in words: ' || $5)"""


async def test_zone_spells_say_when_a_zone_was_read_failed_or_was_gone(db: Any) -> None:
    """Thinned or not; retired by a person; and what is gone stays so until it is read whole."""
    await db.execute(ZONES)
    scans = [
        *((1, 1, "changed", None), (1, 2, "unchanged", None), (1, 3, "guarded", None)),
        *((1, 6, "failed", "HTTP_500"), (1, 7, "failed", "TIMEOUT")),
        *((1, 8, "incomplete", "TORN"), (1, 9, "failed", "HTTP_500"), (1, 10, "unchanged", None)),
        *((1, 11, "gone", "INVALID_ZONE_NOT_FOUND"), (1, 15, "failed", "HTTP_500")),
        *((1, 16, "incomplete", "TORN"), (1, 17, "changed", None), (1, 30, "unchanged", None)),
        *((2, 1, "unchanged", None), (2, 9, "unchanged", None)),  # this one stands for 2 to 8 too
        (3, 5, "failed", "DENIED"),
    ]
    for zone, at, status, error in scans:
        await db.execute(SCAN, zone, at, hour(at), status, error)
    await db.execute("""
        insert into syncer_store.stretches
        select 2, 1, array_agg(n), array_agg(at), array_agg(at)
        from (select n, '2026-03-01T00:00Z'::timestamptz + n * interval '1 hour' as at
              from generate_series(2, 8) as n where n <> 4) as t""")
    await db.execute(
        "insert into syncer_store.retirements values (2, $1, 'ann', $2)", hour(9.5), hour(99)
    )
    rows = await db.fetch("""
        select account, zone_id, state, spell_from, spell_to, scans, longest_wait, error_code,
               error_message
        from syncer.zone_spells order by account, zone_id, spell_from""")
    expected = [
        ("a", "Z-1", "read", 1, 6, 3, 3, None),
        ("a", "Z-1", "failed", 6, 8, 2, 1, "HTTP_500"),
        ("a", "Z-1", "incomplete", 8, 9, 1, 1, "TORN"),
        ("a", "Z-1", "failed", 9, 10, 1, 1, "HTTP_500"),
        ("a", "Z-1", "read", 10, 11, 1, 1, None),
        ("a", "Z-1", "gone", 11, 17, 3, 4, "INVALID_ZONE_NOT_FOUND"),
        ("a", "Z-1", "read", 17, None, 2, 13, None),
        ("a", "Z-2", "read", 1, 9.5, 8, 2, None),
        ("a", "Z-2", "gone", 9.5, None, 0, None, None),
        ("b", "Z-1", "failed", 5, None, 1, None, "DENIED"),
    ]
    assert [(*row[:3], hour(row[3]), hour(row[4]), row[5], row[7]) for row in expected] == [
        (*row[:6], row[7]) for row in map(tuple, rows)
    ]
    waits = [None if row[6] is None else timedelta(hours=row[6]) for row in expected]
    assert waits == [row["longest_wait"] for row in rows]
    words = [row["error_message"] for row in rows if row["error_message"]]
    assert ["in words: HTTP_500", "in words: TORN", "in words: HTTP_500"] == words[:3]
    assert "retired by ann" in words
    coverage = (
        "select coverage from syncer.zone_coverage($1) where account = 'a' and zone_id = 'Z-1'"
    )
    await db.execute("""
        insert into syncer_store.runs (account, started_at, finished_at, deadline_at, status,
            syncer_version, change_base)
        select 'a', started_at, finished_at, finished_at, 'succeeded', '', 0
        from generate_series(1, 30) as n, lateral (
            select '2026-03-01T00:00Z'::timestamptz + n * interval '1 hour' as started_at,
                   '2026-03-01T00:00Z'::timestamptz + n * interval '1 hour' as finished_at) as t""")
    for at, known in ((5, "known"), (9, "known"), (12, "unknown"), (16, "unknown"), (18, "known")):
        assert known == await db.fetchval(coverage, hour(at)), at  # as the spells have it


IMAGE = """
    insert into syncer_store.images (zone_key, image_id, image_name, image_status, fingerprint,
        opened_run_id, opened_ordinal, first_seen_at, valid_from, opened_kind, changed_fields,
        opened_not_before, removed_at, removed_run_id, removed_ordinal, removed_not_before)
    values ($1, $2, $3, $4, '', 1, 1, $5, $5, $6,
        case when $6::syncer_store.opening = 'changed' then '{image_status}'::text[] end,
        $7, $8,
        case when $8::timestamptz is not null then 1 end,
        case when $8::timestamptz is not null then 1 end, $9)"""
VERSION = """
    insert into syncer_store.image_history (zone_key, image_id, image_name, image_status,
        valid_from, valid_to, opened_kind, changed_fields, opened_run_id, opened_ordinal,
        opened_not_before, removed_run_id, removed_ordinal, removed_not_before)
    values ($1, $2, $3, $4, $5, $6, $7,
        case when $7::syncer_store.opening = 'changed' then '{image_status}'::text[] end,
        1, 1, $8, case when $9 then 1 end, case when $9 then 1 end,
        case when $9 then $6::timestamptz - interval '1 hour' end)"""
UP, MADE, OFF = "AVAILABLE", "CREATING", "UNAVAILABLE"


async def versions(db: Any, image_id: str, *states: tuple[str | None, float, float | None]) -> None:
    """Store the states of an image: its status, from and to; a hole between two is an absence."""
    *closed, (status, begin, end) = states
    seen = hour(begin - 1) if closed else None
    kind = _kind(states, len(closed))
    name, removed = f"Name {len(closed)}", None if end is None else hour(end - 1)
    latest = (name, status, hour(begin), kind, seen, hour(end), removed)
    await db.execute(IMAGE, 1, image_id, *latest)
    for number, (was, start, until) in enumerate(closed):
        left = states[number + 1][1] != until
        seen = hour(start - 1) if number else None
        args = (f"Name {number}", was, hour(start), hour(until), _kind(states, number), seen, left)
        await db.execute(VERSION, 1, image_id, *args)


def _kind(states: tuple[tuple[str | None, float, float | None], ...], number: int) -> str:
    if number == 0:
        return "appeared"
    return "changed" if states[number - 1][2] == states[number][1] else "returned"


async def test_image_outages_say_from_when_to_when_an_image_could_not_be_used(db: Any) -> None:
    """From the end of AVAILABLE to the next, over what lies between; what never was has none."""
    await db.execute(ZONES)
    await versions(db, "i-fine", (UP, 1, 5), (UP, 5, None))
    await versions(db, "i-new", (MADE, 1, 5), (UP, 5, None))
    await versions(db, "i-off", (UP, 1, 5), (OFF, 5, 9), (UP, 9, None))
    await versions(db, "i-lasts", (UP, 1, 5), (None, 5, None))
    await versions(db, "i-left", (UP, 1, 5))
    await versions(db, "i-back", (UP, 1, 5), (UP, 7, 8), (UP, 8, None))
    await versions(
        db,
        "i-much",
        (UP, 1, 5),
        (OFF, 5, 6),
        (MADE, 6, 8),
        (MADE, 9, 11),
        (UP, 11, 12),
        (UP, 13, 20),
    )
    await versions(db, "i-slow", (UP, 1, 5), (MADE, 8, 9), (OFF, 9, 10))
    rows = await db.fetch("""
        select image_id, image_name, began_as, outage_from, outage_to, duration, not_before
        from syncer.image_outages where zone_id = 'Z-1' order by image_id, outage_from""")
    expected = [
        ("i-back", "Name 0", "removed", 5, 7),
        ("i-lasts", "Name 1", None, 5, None),
        ("i-left", "Name 0", "removed", 5, None),
        ("i-much", "Name 1", OFF, 5, 11),
        ("i-much", "Name 4", "removed", 12, 13),
        ("i-much", "Name 5", "removed", 20, None),
        ("i-off", "Name 1", OFF, 5, 9),
        ("i-slow", "Name 0", "removed", 5, None),
    ]
    assert [
        (
            *row[:3],
            hour(row[3]),
            hour(row[4]),
            row[4] and timedelta(hours=row[4] - row[3]),
            hour(row[3] - 1),
        )
        for row in expected
    ] == [tuple(row) for row in rows]


async def test_image_counts_are_those_of_images_asof_at_each_instant(db: Any) -> None:
    """Step by step, ends included; null before the first whole look and while a zone was gone."""
    await db.execute(ZONES)
    await db.execute("""
        insert into syncer_store.runs (account, started_at, finished_at, deadline_at, status,
            syncer_version, change_base)
        select 'a', at, at, at, 'succeeded', '', 0
        from generate_series(1, 30) as n, lateral (
            select '2026-03-01T00:00Z'::timestamptz + n * interval '1 hour' as at) as t""")
    for zone, at, status in (
        *((1, 2, "changed"), (1, 9, "gone"), (1, 11, "unchanged"), (1, 30, "unchanged")),
        (2, 3, "unchanged"),
    ):
        await db.execute(SCAN, zone, at, hour(at), status, None)
    await versions(db, "i-stays", (UP, 2, None))
    await versions(db, "i-changes", (UP, 2, 4), (OFF, 4, None))
    await versions(db, "i-goes", (UP, 3, 6))
    await versions(db, "i-returns", (UP, 2, 5), (UP, 7.5, None))
    await versions(db, "i-missed", (UP, 2, None))
    await versions(db, "i-missing", (UP, 4, None))
    await db.execute(
        "insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by, "
        "ended_run_id, seen_at) values (1, 'i-missed', $1, $2, 'seen', 9, $2)",
        *(hour(5), hour(7)),
    )
    await db.execute(
        "insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, "
        "last_run_id) values (1, 'i-missing', $1, 1, 1)",
        hour(12),
    )
    rows = await db.fetch(
        "select at, zone_id, images from syncer.image_counts($1, $2, '1 hour') "
        "where account = 'a' order by zone_id, at",
        *(hour(0), hour(14)),
    )
    #           0     1     2  3  4  5  6  7  8  9    10    11 12 13 14
    counted = [None, None, 4, 5, 6, 4, 3, 4, 5, None, None, 5, 4, 4, 4]
    assert counted == [row["images"] for row in rows if row["zone_id"] == "Z-1"]
    assert [None] * 3 + [0] * 12 == [row["images"] for row in rows if row["zone_id"] == "Z-2"]
    for number, count in enumerate(counted):
        asked = "select count(*) from syncer.images_asof($1) where zone_id = 'Z-1'"
        assert (count or 0) == await db.fetchval(asked, hour(number)), number
    months = await db.fetch(
        "select at, images from syncer.image_counts('2026-02-28', '2026-05-01', '1 month') "
        "where account = 'a' and zone_id = 'Z-1' order by at"
    )
    assert [None, 4, 4] == [row["images"] for row in months]


async def test_image_field_spells_say_how_long_a_field_had_a_value(db: Any) -> None:
    """Over versions in which others changed; not over an absence; sizes by their number."""
    await db.execute(ZONES)
    await versions(
        db, "i", (UP, 1, 3), (UP, 3, 5), (OFF, 5, 6), (UP, 6, 8), (UP, 9, 10), (UP, 10, None)
    )
    await versions(db, "other", (MADE, 2, 4))
    await db.execute("""
        update syncer_store.image_history set image_size = case when opened_kind = 'appeared'
            then '30' when valid_from < '2026-03-01T06:00Z' then '30.0' else '40' end;
        update syncer_store.images set image_size = '4e1',
            added = case image_id when 'i' then '{"image_source": null}'::jsonb end""")
    ask = """
        select image_id, value, spell_from, spell_to, duration from syncer.image_field_spells
        where account = 'a' and zone_id = 'Z-1' and field = $1 order by image_id, spell_from"""
    spells: dict[str, list[tuple[str, str | None, float, float | None]]] = {
        "image_status": [
            *(("i", UP, 1, 5), ("i", OFF, 5, 6), ("i", UP, 6, 8), ("i", UP, 9, None)),
            ("other", MADE, 2, 4),
        ],
        "image_size": [
            *(("i", "30", 1, 6), ("i", "40", 6, 8), ("i", "40", 9, None)),
            ("other", "4e1", 2, 4),
        ],
        "image_source": [("i", None, 10, None)],
        "min_disk_size": [],
    }
    for field, expected in spells.items():
        assert [
            (i, value, hour(begin), hour(end), end and timedelta(hours=end - begin))
            for i, value, begin, end in expected
        ] == [tuple(row) for row in await db.fetch(ask, field)], field


async def test_account_spread_says_what_accounts_do_not_offer_alike(db: Any) -> None:
    """As sets over their zones; an account without a whole look lacks nothing.

    Nor does one that has the name where it is unknown: not listed, not confirmed absent.
    """
    await db.execute("""
        insert into syncer_store.zones (account, service, zone_id)
        values ('a', 'vm', 'Z-1'), ('a', 'vm', 'Z-2'), ('b', 'vm', 'Z-1'), ('c', 'vm', 'Z-1'),
               ('a', 'zec', 'Z-1')""")
    for zone, status in ((1, "changed"), (2, "changed"), (3, "changed"), (4, "failed")):
        await db.execute(SCAN, zone, 1, hour(1), status, None)
    await db.executemany(
        """insert into syncer_store.images (zone_key, image_id, image_name, image_version,
               image_size, image_status, fingerprint, opened_run_id, opened_ordinal)
           values ($1, $2, $3, $4, $5, $6, '', 1, 1)""",
        [
            *((1, "i1", "alike", "1", "30", UP), (3, "i2", "alike", "1", "30.0", UP)),
            *((1, "i3", "only a", None, "30", UP), (2, "i4", "only a", "2", "40", UP)),
            *((1, "i5", "otherwise", "1", "30", UP), (2, "i6", "otherwise", "2", "30", UP)),
            (3, "i7", "otherwise", "1", "30", OFF),
            *((4, "i8", "alike", "1", "30", UP), (5, "i9", "only zec", "1", "30", UP)),
            (1, "i10", None, "1", "30", UP),
            *((1, "i11", "unsure", "1", "30", UP), (3, "i12", "unsure", "2", "30", UP)),
        ],
    )
    await db.execute(
        "insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, "
        "last_run_id) values (3, 'i12', $1, 1, 1)",
        hour(1),
    )
    found = await db.fetch("select * from syncer.account_spread order by image_name")
    a, b = ["a"], ["b"]
    assert [
        ("vm", "only a", ["accounts"], a, b, ["2", None], ["30", "40"], [UP], 1, 1),
        (
            *("vm", "otherwise", ["image_version", "image_status"], a + b, []),
            *(["1", "2"], ["30"], [UP, OFF], 2, 0),
        ),
    ] == [tuple(row) for row in found]
