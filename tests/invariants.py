"""What holds of the database after every run, whatever happened."""

from __future__ import annotations

import json
from typing import Any

from syncer.core.model import TRACKED

COLUMNS = ", ".join(TRACKED)
WHOLE = {"unchanged", "changed", "guarded"}
Key = tuple[str, str]
Rows = dict[Key, Any]
Look = tuple[Rows, set[str], set[str], set[Key]]
"""What was present, which zones were gone and which were ever read whole, what was missing."""


async def stored(db: Any) -> Rows:
    return {(row["zone_id"], row["image_id"]): row for row in await db.fetch(f"""
        select *, array[{COLUMNS}] as tracked from syncer.images""")}  # fmt: skip


def present(rows: Rows, column: str = "removed_at", value: Any = None) -> Rows:
    return {key: tuple(row["tracked"]) for key, row in rows.items() if row[column] == value}


async def the_feed_rebuilds_the_present(db: Any) -> None:
    """Each change fits the state before it; all of them together are what is stored."""
    state: Rows = {}
    there: set[Key] = set()
    fits = {"appeared": (0, 0), "changed": (1, 1), "removed": (1, 1), "returned": (1, 0)}
    feed = await db.fetch("select * from syncer.image_changes order by change_id")
    for row in feed:
        key, kind = (row["zone_id"], row["image_id"]), row["kind"]
        before, after = json.loads(row["before"] or "null"), json.loads(row["after"] or "null")
        assert (fits[kind], state.get(key)) == ((key in state, key in there), before)
        if kind in {"changed", "returned"}:
            differ = {name for name in TRACKED if before[name] != after[name]}
            assert differ == set(row["changed_fields"])
        state[key] = after or before
        (there.remove if kind == "removed" else there.add)(key)
    assert len(feed) == len({row["change_id"] for row in feed})
    rows = await stored(db)
    assert there == present(rows).keys()
    assert {k: tuple(row["tracked"]) for k, row in rows.items()} == {
        key: tuple(values[name] for name in TRACKED) for key, values in state.items()
    }


async def the_past_stays(db: Any, looks: dict[Any, Look]) -> None:
    """images_asof and image_presence say of each instant what was to be said then."""
    instants, asof = list(looks), {at: dict[Key, Any]() for at in looks}
    search = f"select zone_id, image_id, {COLUMNS} from syncer.images_asof($1)"
    for at in instants:  # joined to a list of instants, each image has its zone's coverage found
        for zone, image_id, *values in await db.fetch(search, at):
            asof[at][zone, image_id] = tuple(values)
    assert asof == {at: look[0] for at, look in looks.items()}
    if len(looks) == 1:  # what was asked just now is no past: images_asof has said the same of it
        return
    search = """select t, zone_id, image_id, syncer.image_presence(account, service, zone_id,
        image_id, t) from syncer.images, unnest($1::timestamptz[]) as t"""
    for at, zone, image_id, answer in await db.fetch(search, instants):
        there, gone, whole, missing = looks[at]
        known = zone in whole - gone and (zone, image_id) not in missing
        expected = "present" if (zone, image_id) in there else "absent" if known else "unknown"
        assert (zone, image_id, expected) == (zone, image_id, answer)


KEY = f"account, service, zone_id, image_id, {COLUMNS}"
KINDS = ("appeared", "changed", "removed", "returned")
COUNTS = ", ".join(f"count(*) filter (where kind = '{kind}')" for kind in KINDS)
NEVER = {
    "an open version is not the latest": f"""
        (select {KEY} from syncer.images where removed_at is null except all
         select {KEY} from syncer.image_versions where valid_to is null)
        union all (select {KEY} from syncer.image_versions where valid_to is null except all
         select {KEY} from syncer.images where removed_at is null)""",
    "versions overlap or are empty": """
        select a.image_id from syncer.image_versions as a join syncer.image_versions as b
            using (account, service, zone_id, image_id)
        where a.valid_from < b.valid_from
          and tstzrange(a.valid_from, a.valid_to) && tstzrange(b.valid_from, b.valid_to)
        union all select image_id from syncer.image_versions where valid_from >= valid_to""",
    "counters and images differ": """
        select zone_id from syncer_store.zones as z where present <> (
            select count(*) filter (where removed_at is null)
            from syncer_store.images as i where i.zone_key = z.zone_key)
        union all select zone_id from syncer.zones as z
        where (present_images, unlisted_images, withheld_removals) <> (
            select count(*) filter (where presence = 'present'), count(unlisted_since),
                   count(withheld_since)
            from syncer.images as i
            where (i.account, i.service, i.zone_id) = (z.account, z.service, z.zone_id))""",
    "a gap is of an image that was not there": """
        select image_id from syncer.image_gaps as g where not exists (
            select from syncer.image_versions as v
            where (v.account, v.service, v.zone_id, v.image_id)
                = (g.account, g.service, g.zone_id, g.image_id)
              and v.valid_from <= g.gap_from and (v.valid_to is null or v.valid_to >= g.gap_to))
        union all select a.image_id from syncer.image_gaps as a join syncer.image_gaps as b
            using (account, service, zone_id, image_id)
        where a.gap_from < b.gap_from
          and tstzrange(a.gap_from, a.gap_to) && tstzrange(b.gap_from, b.gap_to)
        union all select image_id from syncer.image_gaps where gap_from >= gap_to""",
    "evidence is younger than the change, or older than the state": """
        select image_id from syncer.image_changes where not_before >= changed_at
        union all select c.image_id from syncer.image_changes as c
        join syncer.image_versions as v using (account, service, zone_id, image_id)
        join syncer.zone_scans as s using (account, service, zone_id)
        where s.run_id = v.run_id and c.kind in ('changed', 'removed')
          and v.valid_to = c.changed_at and c.not_before < s.observed_at""",
    "a scan and its changes differ": f"""
        select zone_id from syncer.runs join syncer.zone_scans as s using (run_id, account)
        where runs.status <> 'running' and (s.appeared, s.changed, s.removed, s.returned) <> (
            select {COUNTS} from syncer.image_changes as c
            where (c.run_id, c.zone_id) = (s.run_id, s.zone_id))""",
}


async def check(db: Any, looks: dict[Any, Look]) -> None:
    """Check what holds of the database at any time, and remember what it says now."""
    for never, search in NEVER.items():
        assert (never, []) == (never, await db.fetch(search))
    if not await db.fetchval("select count(*) from syncer.runs where status = 'running'"):
        await the_feed_rebuilds_the_present(db)
    whole = await db.fetch("select zone_id from syncer.zone_scans where status = any ($1)", WHOLE)
    gone = await db.fetch("select zone_id from syncer.zones where gone_at is not null")
    rows = await stored(db)
    looks[await db.fetchval("select clock_timestamp()")] = (
        present(rows, "presence", "present"),
        {zone for (zone,) in gone},
        {zone for (zone,) in whole},
        {key for key, row in rows.items() if row["unlisted_since"]},
    )
    await the_past_stays(db, looks)
