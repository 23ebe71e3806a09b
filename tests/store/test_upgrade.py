"""A database of 0008, with history, upgraded: every answer that was right is the same after it.

``tests/data/at_0008.copy`` holds the tables of such a database, as the program of that day wrote
them: two accounts over three zones, images that appear, change, go, return, are withheld, approved
and not confirmed, zones that go and come back, looks that fail or are torn, runs that crashed,
baselines, and a prune that thinned.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from syncer.store.connection import Server
from syncer.store.migrate import as_sql, upgrade
from syncer.store.schema import revisions
from tests.invariants import NEVER
from tests.support import connected

SAVED: Final = (Path(__file__).parents[1] / "data" / "at_0008.copy").read_bytes()
ZONE: Final = ("account", "service", "zone_id")
IMAGE: Final = (*ZONE, "image_id")
VIEWS: Final = {
    "images": IMAGE,
    "image_versions": (*IMAGE, "valid_from"),
    "image_changes": ("change_id",),
    "image_field_changes": (*IMAGE, "changed_at", "field"),
    "zones": ZONE,
    "zone_scans": (*ZONE, "run_id"),
    "runs": ("run_id",),
    "image_spread": ("account", "service", "image_name"),
    "approvals": ("approval_id",),
    "baselines": ("name",),
    "baseline_images": ("name", *IMAGE),
    "rate_limits": ("account",),
}
"""Each view of 0008, and its key."""
MOMENT: Final = timedelta(microseconds=1)

ASKED: Final = 20

Key = tuple[Any, ...]
Answers = dict[Key, dict[str, Any]]
"""By view or function, instant (of a function) and key."""


async def load(db: Any, saved: bytes, revision: str = "0008") -> None:
    """Make a database of a revision of the tables that were saved, one by one, as text."""
    await db.execute(as_sql(revision))
    await db.execute("set timezone to 'UTC'; set session_replication_role to replica")
    for part in re.split(rb"^-- ", saved, flags=re.MULTILINE)[1:]:
        head, _, rows = part.partition(b"\n")
        table, columns = head.decode().removesuffix(")").split(" (")
        await db.execute(f"delete from syncer_store.{table}")  # a migration made the feed's row

        async def source(rows: bytes = rows.rstrip(b"\n") + b"\n") -> AsyncIterator[bytes]:
            yield rows

        await db.copy_to_table(
            table, schema_name="syncer_store", columns=columns.split(", "), source=source()
        )
    await db.execute("reset session_replication_role")
    for table, column in await db.fetch("""
            select table_name, column_name from information_schema.columns
            where table_schema = 'syncer_store' and is_identity = 'YES'"""):
        await db.execute(f"""
            select setval(pg_get_serial_sequence('syncer_store.{table}', '{column}'),
                          (select coalesce(max({column}), 0) + 1 from syncer_store.{table}))""")


async def instants(db: Any, number: int) -> list[datetime]:
    """A number of instants, evenly chosen of those on and next to the edges of all there is.

    The last one is yet to come.
    """
    found = await db.fetch("""
        select distinct at
        from (
            select valid_from as at from syncer.image_versions
            union select valid_to from syncer.image_versions
            union select finished_at from syncer.zone_scans
            union select observed_at from syncer.zone_scans
            union select started_at from syncer.runs
            union select finished_at from syncer.runs
            union select gone_at from syncer.zones
            union select kept_from from syncer.zones
            union select withheld_since from syncer.images) as edges
        where at is not null
        order by at""")
    edges = [at + side for (at,) in found for side in (-MOMENT, timedelta(), MOMENT)]
    step = max(1, len(edges) // number)
    return [*edges[step // 2 :: step][:number], await db.fetchval("select now() + '1 hour'")]


async def answers(db: Any, asked: list[datetime]) -> Answers:
    """All that the views show, and what the functions answer of instants."""
    said: Answers = {}
    for view, key in VIEWS.items():
        for row in await db.fetch(f"select * from syncer.{view}"):
            said[view, *map(row.get, key)] = dict(row)
    for at in asked:
        for function, key in (("zone_coverage", ZONE), ("images_asof", IMAGE)):
            for row in await db.fetch(f"select * from syncer.{function}($1)", at):
                said[function, at, *map(row.get, key)] = dict(row)
        for *image, presence in await db.fetch(PRESENCE, at):
            said["image_presence", at, *image] = {"presence": presence}
    return said


PRESENCE: Final = f"""
    select {", ".join(IMAGE)}, syncer.image_presence({", ".join(IMAGE)}, $1)
    from syncer.images"""
VERSIONS: Final = f"""
    select {", ".join(IMAGE)}, valid_from, valid_to, opened_run_id
    from (select zone_key, image_id, valid_from, removed_at as valid_to, opened_run_id
          from syncer_store.images
          union all
          select zone_key, image_id, valid_from, valid_to, opened_run_id
          from syncer_store.image_history) as v
    join syncer_store.zones using (zone_key)"""
MISSED: Final = f"""
    select {", ".join(IMAGE)}, listed_at, ended_at, opened_run_id, run_id
    from (select zone_key, image_id, unlisted_after as listed_at, opened_run_id,
                 null::timestamptz as ended_at, null::bigint as run_id
          from syncer_store.images
          where removed_at is null and (unlisted_after is not null or withheld_since is not null)
          union all
          select zone_key, image_id, removed_not_before, opened_run_id, removed_at, removed_run_id
          from syncer_store.images where removed_run_id is not null
          union all
          select zone_key, image_id, removed_not_before, opened_run_id, valid_to, removed_run_id
          from syncer_store.image_history where removed_run_id is not null
          union all
          select zone_key, image_id, opened_not_before, 0, valid_from, opened_run_id
          from (select zone_key, image_id, opened_kind, opened_not_before, valid_from, opened_run_id
                from syncer_store.images
                union all
                select zone_key, image_id, opened_kind, opened_not_before, valid_from, opened_run_id
                from syncer_store.image_history) as v
          where opened_kind = 'changed') as v
    join syncer_store.zones using (zone_key)
    where listed_at is not null or run_id is null"""
LOOKS: Final = f"""
    select {", ".join(ZONE)}, run_id, observed_at, finished_at
    from syncer.zone_scans where status in ('unchanged', 'changed', 'guarded')
    union
    select {", ".join(ZONE)}, u.*
    from syncer_store.stretches as t join syncer_store.zones using (zone_key),
         unnest(t.run_ids, t.observed, t.finished) as u
    order by run_id"""


class Facts:
    """What is stored at 0008, where the answers after the upgrade depend on it."""

    def __init__(self, *found: list[Any]) -> None:
        scans, looks, versions, missed = found
        self.observed_at = {(*of_zone(s), s["run_id"]): s["observed_at"] for s in scans}
        self.opened_by = {(*of_image(v), v["valid_from"]): v["opened_run_id"] for v in versions}
        self.ended = {(*of_image(v), v["valid_to"]): v["valid_from"] for v in versions}
        self.looks: dict[Key, list[Any]] = {}
        for look in looks:
            self.looks.setdefault(of_zone(look), []).append(look)
        self.gaps: dict[Key, list[Gap]] = {}
        for row in missed:
            self._miss(row)

    def _miss(self, row: Any) -> None:
        """Keep from when to when an image was missing: not listed by whole looks, in the end."""
        zone, image = of_zone(row), of_image(row)
        opened = self.observed_at.get((*zone, row["opened_run_id"]))
        listed_at = max(filter(None, (row["listed_at"], opened)))
        for look in self.looks.get(zone, []):
            if look["observed_at"] > listed_at:
                if row["run_id"] is None or look["run_id"] < row["run_id"]:
                    gap = Gap(look["finished_at"], row["ended_at"])
                    self.gaps.setdefault(image, []).append(gap)
                return

    def missing(self, image: Key, at: datetime | None = None) -> bool:
        """Whether an image was missing at an instant, or (None) is."""
        return any(
            gap.until is None if at is None
            else gap.since <= at and (gap.until is None or at < gap.until)
            for gap in self.gaps.get(image, [])
        )  # fmt: skip

    def opened_at(self, image: Key, valid_from: datetime) -> datetime | None:
        """When the look was that opened a version, if it is kept."""
        return self.observed_at.get((*image[:3], self.opened_by[*image, valid_from]))

    @classmethod
    async def read(cls, db: Any) -> Facts:
        scans = "select * from syncer.zone_scans"
        return cls(*[await db.fetch(search) for search in (scans, LOOKS, VERSIONS, MISSED)])


class Gap(NamedTuple):
    since: datetime
    until: datetime | None


def of_zone(row: Any) -> Key:
    return tuple(row[name] for name in ZONE)


def of_image(row: Any) -> Key:
    return tuple(row[name] for name in IMAGE)


def expected(before: Answers, facts: Facts, now: datetime) -> Answers:
    """What is to be answered after the upgrade: the same, but for what was wrong."""
    after: Answers = {}
    for key, old in before.items():
        what, row = key[0], dict(old)
        if what == "images":
            row["presence"] = unknown_where_missing(row["presence"], key[1:], facts)
        elif what == "image_versions":
            row["last_listed_at"] = listed_by_the_look_that_opened_it(row, facts)
        elif what == "zones":
            row["present_images"] = only_what_is_present(row, facts)
        elif what == "image_changes":
            row["not_before"] = seen_by_the_look_that_opened_it(row, facts)
        elif what == "image_spread" and all_missing(row, facts):
            continue
        elif what == "zone_coverage" and key[1] > now:
            row = {name: row[name] if name in ZONE else None for name in row}
            row["coverage"] = "unknown"
        elif what == "image_presence":
            row["presence"] = unknown_where_missing(row["presence"], key[2:], facts, key[1])
            if key[1] > now:
                row["presence"] = "unknown"
        elif what == "images_asof":
            if key[1] > now or facts.missing(key[2:], key[1]):
                continue
            opened = facts.opened_at(key[2:], row["valid_from"])
            row["observed_at"] = max(filter(None, (row["observed_at"], opened)))
        after[key] = row
    return after


def all_missing(spread: dict[str, Any], facts: Facts) -> bool:
    """Whether every image by which zones offered a name is missing: none is known to offer it."""
    place = spread["account"], spread["service"]
    return all(
        facts.missing((*place, offer["zone_id"], offer["image_id"]))
        for offer in json.loads(spread["offers"])
    )


def unknown_where_missing(
    presence: str, image: Key, facts: Facts, at: datetime | None = None
) -> str:
    """What was withheld, or not confirmed, used to be present."""
    return "unknown" if presence == "present" and facts.missing(image, at) else presence


def listed_by_the_look_that_opened_it(version: dict[str, Any], facts: Facts) -> datetime | None:
    """Where a later look did not list it: the last that did, though it was not whole."""
    if version["last_listed_at"] is None:
        return None
    opened = facts.opened_at(of_image(version), version["valid_from"])
    seen: datetime = max(filter(None, (version["last_listed_at"], opened)))
    return seen


def only_what_is_present(zone: dict[str, Any], facts: Facts) -> int:
    """Counts agree with what is said of each image: what is missing, or of a gone zone, was in."""
    missing = sum(image[:3] == of_zone(zone) for image in facts.gaps if facts.missing(image))
    return 0 if zone["gone_at"] else zone["present_images"] - missing


def seen_by_the_look_that_opened_it(change: dict[str, Any], facts: Facts) -> datetime | None:
    """A state is known from the look that opened it, though that was not whole."""
    seen: datetime | None = change["not_before"]
    image, at = of_image(change), change["changed_at"]
    if change["kind"] in {"changed", "removed"}:
        opened = facts.opened_at(image, facts.ended[*image, at])
        seen = max(filter(None, (seen, opened)), default=None)
    return seen


@pytest.fixture
async def old(empty_url: str) -> AsyncIterator[Any]:
    """A connection to the database that was saved."""
    async with connected(empty_url) as db:
        await load(db, SAVED)
        yield db


@pytest.mark.parametrize("halts", [[], ["0009"], ["0010"]], ids=["at_once", "at_0009", "at_0010"])
async def test_every_answer_that_was_right_stays(
    empty_url: str, old: Any, sync: Any, halts: list[str]
) -> None:
    """All views, and the functions at twenty instants on, before and after edges of what was.

    Also where the database stood at a migration between; and a run afterwards changes no past.
    """
    asked = await instants(old, ASKED)
    before, facts = await answers(old, asked), await Facts.read(old)
    columns = {key[0]: row.keys() for key, row in before.items()}
    for first, then in itertools.pairwise(["0008", *halts]):
        await old.execute(as_sql(f"{first}:{then}"))
    now = await old.fetchval("select now()")
    assert (["0008", *halts][-1], revisions()[-1]) == await upgrade(Server(empty_url))
    after = await answers(old, asked)
    said = {key: {name: row[name] for name in columns[key[0]]} for key, row in after.items()}
    assert expected(before, facts, now) == said
    assert WHAT_CHANGES == differ(before, said)
    assert not [found for search in NEVER.values() for found in await old.fetch(search)]
    await sync(SYNCER_DATABASE_URL=empty_url)
    later = await answers(old, asked)
    for key, row in after.items():
        if key[0] == "image_changes" or (key[0] in AS_OF and key[1] < now):
            assert row == later[key]


AS_OF: Final = {"images_asof", "image_presence"}
GAPS: Final = [
    "default FRA-A img-102: 02-25 06:23 - 02-25 09:24 removed",
    "default FRA-A img-103: 02-25 06:23 - 02-25 09:24 removed",
    "default FRA-A img-104: 02-25 06:23 - 02-25 08:23 seen",
    "default HKG-A img-107: 02-25 11:24 - 02-25 12:24 removed",
    "default MIA-A img-114: 02-29 21:24 -  withheld",
    "default MIA-A img-115: 02-29 21:24 -  withheld",
    "default MIA-A img-116: 02-29 21:24 -  withheld",
    "default FRA-A img-119: 03-01 21:25 -  withheld",
    "default FRA-A img-120: 03-01 21:25 -  withheld",
    "default FRA-A img-121: 03-01 21:30 -  withheld",
    "other HKG-A img-106: 03-03 22:34 -  withheld",
    "other HKG-A img-107: 03-03 22:34 -  withheld",
    "other HKG-A img-109: 03-03 22:34 -  withheld",
    "default FRA-A img-105: 03-03 23:34 -  withheld",
    "default HKG-A img-110: 03-04 00:34 - 03-04 01:34 removed",
]
WHAT_CHANGES: Final = {
    "image_changes not_before",
    "image_presence presence",
    "image_versions last_listed_at",
    "image_spread",
    "images presence",
    "images_asof observed_at",
    "images_asof",
    "zone_coverage coverage",
    "zone_coverage gone",
    "zone_coverage last_complete_at",
    "zone_coverage last_complete_run_id",
    "zones present_images",
}
"""Of what is saved each rule of what was wrong changes something."""


def differ(before: Answers, after: Answers) -> set[str]:
    """What is not answered any more (the view or function), or otherwise (with the column)."""
    gone = {key[0] for key in before.keys() - after.keys()}
    return gone | {
        f"{key[0]} {name}"
        for key in before.keys() & after.keys()
        for name, value in before[key].items()
        if value != after[key][name]
    }


async def test_when_images_were_missing(empty_url: str, old: Any) -> None:
    """What is missing, and what had been until it was removed or seen again changed."""
    await upgrade(Server(empty_url))
    found = await old.fetch("""
        select format('%s %s %s: %s - %s %s', account, zone_id, image_id,
                      to_char(gap_from, 'MM-DD HH24:MI'), to_char(gap_to, 'MM-DD HH24:MI'),
                      coalesce(ended_by, case when withheld_since is not null
                                              then 'withheld' else 'not confirmed' end))
        from syncer.image_gaps order by gap_from, image_id""")
    assert GAPS == [line for (line,) in found]
