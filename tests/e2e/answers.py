"""Functions and derived views, each against a plain reading of those that they are made of.

``oracle.py`` holds images, versions, scans, gaps and as-of answers to a model of the API; here what
is worked out of them is worked out once more, in Python, at the instants where something began or
ended and a microsecond beside them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, Final

from tests.store.test_between import BETWEEN, differences

WHOLE: Final = {"unchanged", "changed", "guarded"}
ZONE: Final = ("account", "service", "zone_id")
KEY: Final = (*ZONE, "image_id")
MICROSECOND: Final = timedelta(microseconds=1)
INSTANTS: Final = """
    select valid_from from syncer.image_versions
    union select valid_to from syncer.image_versions union select gap_from from syncer.image_gaps
    union select gap_to from syncer.image_gaps union select finished_at from syncer.zone_scans
    union select kept_from from syncer.zones union select gone_at from syncer.zones"""
RETIREMENTS: Final = """
    select account, service, zone_id, retired_at
    from syncer_store.retirements join syncer_store.zones using (zone_key)"""
PINS: Final = """
    select i.image_id, i.presence, s.status
    from syncer.images as i
    left join syncer.pin_status(i.zone_id, i.image_id, i.account, i.service) as s on true
    where s.status is distinct from
        case i.presence when 'absent' then 'removed' else i.presence end"""
Key = tuple[Any, ...]


def of(row: Any, names: tuple[str, ...]) -> Key:
    return tuple(row[name] for name in names)


class Answers:
    """A database of a random world, and its scans as they were before any was thinned out."""

    def __init__(self, db: Any, random: Random, micro: Callable[[datetime | None], Any]) -> None:
        self.db, self.random, self.micro = db, random, micro
        self.scans: dict[Key, dict[int, tuple[int, str]]] = defaultdict(dict)

    async def note(self) -> None:
        """Keep what scans there are: after each run."""
        for row in await self.db.fetch("select * from syncer.zone_scans"):
            seen = self.micro(row["finished_at"]), row["status"]
            self.scans[of(row, ZONE)][row["run_id"]] = seen

    async def wrong(self) -> list[str]:
        """Return every answer that is not what its parts say."""
        edges = [at for (at,) in await self.db.fetch(INSTANTS) if at is not None]
        now = await self.db.fetchval("select clock_timestamp()")
        instants = [at + by for at in edges for by in (-MICROSECOND, 0 * MICROSECOND, MICROSECOND)]
        instants += [now, now + timedelta(days=1000), min(edges) - timedelta(days=9)]
        found = list[str]()
        for _ in range(12):
            one, two = sorted(self.random.sample(instants, 2))
            found += await self.between(one, two)
        for divided in (1, 3, 7):
            one, two = sorted(self.random.sample(instants, 2))
            found += await self.counts(one, two, divided)
        for at in self.random.sample(instants, 4):
            found += await self.presence(at)
        found += await self.outages()
        found += await self.spells()
        return found + [f"pin_status: {row}" for row in await self.db.fetch(PINS)]

    async def between(self, one: datetime, two: datetime) -> list[str]:
        """``changes_between`` is the difference of two as-of answers."""
        there = {
            of(row, ZONE)
            for row in await self.db.fetch(
                "select * from syncer.zones where first_seen_at <= $1", two
            )
        }
        rows = await self.db.fetch(BETWEEN.format("null"), one, two)
        said = [(row["kind"], *of(row, KEY), tuple(row["changed_fields"])) for row in rows]
        expected = [row for row in await differences(self.db, one, two) if row[1:4] in there]
        return unequal(f"changes_between {one} {two}", Counter(expected), Counter(said))

    async def counts(self, one: datetime, two: datetime, divided: int) -> list[str]:
        """``image_counts`` counts what ``images_asof`` has, where that is known."""
        step = max((two - one) / divided, timedelta(seconds=1))
        rows = await self.db.fetch("select * from syncer.image_counts($1, $2, $3)", one, two, step)
        said = Counter((row["at"], *of(row, ZONE), row["images"]) for row in rows)
        expected = Counter[Key]()
        for at in {row["at"] for row in rows}:
            there = Counter(
                of(row, ZONE)
                for row in await self.db.fetch("select * from syncer.images_asof($1)", at)
            )
            for row in await self.db.fetch("select * from syncer.zone_coverage($1)", at):
                zone = of(row, ZONE)
                expected[at, *zone, there[zone] if row["coverage"] == "known" else None] += 1
        return unequal(f"image_counts {one} {two} {step}", expected, said)

    async def presence(self, at: datetime) -> list[str]:
        """What ``images_asof`` has is present, zone by zone as at once."""
        whole = await self.db.fetch("select * from syncer.images_asof($1)", at)
        present = await self.db.fetch(
            f"""select {", ".join(KEY)} from syncer.images
                where syncer.image_presence(account, service, zone_id, image_id, $1) = 'present'""",
            at,
        )
        by_zone = Counter[str]()
        for row in await self.db.fetch(f"select {', '.join(ZONE)} from syncer.zones"):
            ask = "select * from syncer.images_asof($1, $2, $3, $4)"
            by_zone.update(map(str, await self.db.fetch(ask, at, *row)))
        return unequal(f"images_asof {at} by zone", Counter(map(str, whole)), by_zone) + unequal(
            f"image_presence {at}",
            Counter(of(row, KEY) for row in whole),
            Counter(of(row, KEY) for row in present),
        )

    async def outages(self) -> list[str]:
        """An image that was AVAILABLE and is no more is out until it is AVAILABLE again."""
        lives: dict[Key, list[Any]] = defaultdict(list)
        for row in await self.db.fetch("select * from syncer.image_versions order by valid_from"):
            lives[of(row, KEY)].append(row)
        expected = Counter[Key]()
        for key, life in lives.items():
            for number, version in enumerate(life):
                later = life[number + 1 :]
                if version["image_status"] != "AVAILABLE" or version["valid_to"] is None:
                    continue
                began = "removed"
                if version["closed_kind"] == "changed":
                    began = later[0]["image_status"]
                up = [v["valid_from"] for v in later if v["image_status"] == "AVAILABLE"]
                if began != "AVAILABLE":
                    expected[*key, began, version["valid_to"], up[0] if up else None] += 1
        rows = await self.db.fetch("select * from syncer.image_outages")
        shown = (*KEY, "began_as", "outage_from", "outage_to")
        return unequal("image_outages", expected, Counter(of(row, shown) for row in rows))

    async def spells(self) -> list[str]:
        """``zone_spells`` joins scans that came to the same, also those that were thinned out."""
        retired: dict[Key, list[int]] = defaultdict(list)
        for row in await self.db.fetch(RETIREMENTS):
            retired[of(row, ZONE)].append(self.micro(row["retired_at"]))
        said: dict[Key, list[Key]] = defaultdict(list)
        for row in await self.db.fetch("select * from syncer.zone_spells order by spell_from"):
            wait = row["longest_wait"] and row["longest_wait"] // MICROSECOND
            times = self.micro(row["spell_from"]), self.micro(row["spell_to"])
            said[of(row, ZONE)].append((row["state"], *times, row["scans"], wait))
        kept = {
            of(row, ZONE): self.micro(row["kept_from"])
            for row in await self.db.fetch("select * from syncer.zones")
        }
        found = list[str]()
        for zone, scans in self.scans.items():
            expected = spells_of(scans, retired[zone])
            shown = said[zone]
            if (since := kept[zone]) is not None:  # of what is older, little is kept
                expected = [row[:3] for row in expected if row[1] > since]
                shown = [row[:3] for row in shown if row[1] > since]
                shown = shown[
                    max(len(shown) - len(expected), 0) :
                ]  # the first that is kept begins one
            if expected != shown:
                found.append(f"zone_spells {zone}: {expected} is not {shown}")
        return found


def spells_of(scans: dict[int, tuple[int, str]], retired: list[int]) -> list[Key]:
    """Return state, beginning, end, scans and the longest wait of each spell of a zone."""
    events = [(at, run, "read" if how in WHOLE else how) for run, (at, how) in scans.items()]
    events += [(at, -1, "gone") for at in retired]
    spells: list[tuple[str, list[int], int]] = []
    gone = False
    for at, run, how in sorted(events):
        gone = how == "gone" or (gone and how != "read")
        state = "gone" if gone else how
        if spells:
            spells[-1][1].append(at)
        if spells and spells[-1][0] == state:
            spells[-1] = (*spells[-1][:2], spells[-1][2] + (run >= 0))
        else:
            spells.append((state, [at], int(run >= 0)))
    return [
        (
            state,
            times[0],
            None if number == len(spells) else times[-1],
            count,
            max((b - a for a, b in pairwise(times)), default=None) or None,
        )
        for number, (state, times, count) in enumerate(spells, 1)
    ]


def unequal(what: str, expected: Counter[Any], said: Counter[Any]) -> list[str]:
    """Say what is there too little and too much, if anything is."""
    if expected == said:
        return []
    lacks, more = list((expected - said).elements())[:3], list((said - expected).elements())[:3]
    return [f"{what}: lacks {lacks}, has {more}"]
