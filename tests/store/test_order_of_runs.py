"""A history that a program of 0008 wrote while the clock stepped goes in the order of its runs.

``tests/data/at_0008_clock.copy`` holds the tables of such a database, as that program wrote them:
the clock is 400 hours ahead in the runs 9 to 13, right again, and 50 hours behind in 22 to 24. Two
accounts; images that change in each of these times, go and come back, are withheld, approved and
not confirmed; a zone that comes, one that goes, one that is read in part; a run that crashed; of
one account a prune thinned the scans, of the other it deleted what was old.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import pytest

from syncer.embedded import EmbeddedPostgres
from syncer.store import clock_repair
from syncer.store.connection import Server
from syncer.store.migrate import as_sql, upgrade
from tests import clock
from tests.invariants import NEVER, WHOLE
from tests.store import test_upgrade
from tests.support import connected, database, tables

SAVED: Final = (Path(__file__).parents[1] / "data" / "at_0008_clock.copy").read_bytes()
SAVED_AT: Final = datetime(2024, 3, 1, 12, tzinfo=UTC)
WRONG: Final = {*range(9, 14), *range(22, 25)}
"""The runs whose clock was wrong."""
APPROVED: Final = {1: (10, 12), 2: (13, 14), 3: (24, 25), 4: (24, 25), 5: (27, None)}
"""Between which runs each approval was given."""
NEVER_ENDED: Final = 1 << 62

Image = tuple[int, str]
"""Its zone and its id."""


class Look(NamedTuple):
    run_id: int
    status: str
    started_at: datetime
    observed_at: datetime
    finished_at: datetime


class Version(NamedTuple):
    opened: int
    closed: int
    removed: bool
    kind: str
    image_version: str
    listed: int | None
    """The last look that listed the state before it; so of ``listed_last`` and its own."""
    listed_last: int | None


class Gap(NamedTuple):
    """From the first whole look that missed an image: the runs of that look, and of its end."""

    listed: int
    missed: int
    ended: int
    by: str | None


LOOKS: Final = """
    select zone_key, run_id, status, started_at, observed_at, finished_at
    from syncer_store.zone_scans
    union all
    select t.zone_key, u.run_id, s.status, u.observed_at, u.observed_at, u.finished_at
    from syncer_store.stretches as t
    join syncer_store.zone_scans as s using (zone_key, run_id)
    cross join lateral unnest(t.run_ids, t.observed, t.finished)
        as u (run_id, observed_at, finished_at)
    order by zone_key, run_id"""
VERSIONS: Final = """
    select v.*,
           lead(opened_run_id) over (partition by zone_key, image_id order by valid_from) as next
    from (
        select zone_key, image_id, valid_from, opened_run_id, opened_kind::text, image_version,
               opened_not_before, removed_run_id, removed_not_before, null as unlisted_after
        from syncer_store.image_history
        union all
        select zone_key, image_id, valid_from, opened_run_id, opened_kind::text, image_version,
               opened_not_before, removed_run_id, removed_not_before, unlisted_after
        from syncer_store.images
    ) as v
    order by zone_key, image_id, valid_from"""


class Seen:
    """What each look saw: of the tables of 0008, by the order of runs alone."""

    def __init__(self, looks: list[Any], versions: list[Any], kept: dict[int, int]) -> None:
        self.kept = kept
        self.looks: dict[int, list[Look]] = {}
        for zone, *look in looks:
            self.looks.setdefault(zone, []).append(Look(*look))
        self.run_of = {
            (zone, look.observed_at): look.run_id
            for zone, those in self.looks.items()
            for look in those
        }
        self.versions: dict[Image, list[Version]] = {}
        self.gaps: dict[Image, list[Gap]] = {}
        for row in versions:
            self._add(row)

    @classmethod
    async def read(cls, db: Any) -> Seen:
        kept = await db.fetch("""
            select k.zone_key, (
                select run_id from syncer_store.runs as r
                where r.account = z.account and r.started_at <= k.kept_from
                order by r.started_at desc limit 1)
            from syncer_store.retention as k join syncer_store.zones as z using (zone_key)
            where k.kept_from is not null""")
        return cls(await db.fetch(LOOKS), await db.fetch(VERSIONS), dict(kept))

    def _add(self, row: Any) -> None:
        zone, image = row["zone_key"], (row["zone_key"], row["image_id"])
        before = self.versions.setdefault(image, [])
        opened, removed = row["opened_run_id"], row["removed_run_id"]
        listed = self._listed(zone, row["opened_not_before"])
        if row["opened_kind"] == "changed" and before:
            listed = self._listed(zone, row["opened_not_before"], before[-1].opened)
            self._miss(image, listed, opened, "seen")
        elif row["opened_kind"] != "appeared" and not before:  # what was before it is pruned
            self.kept[zone] = max(self.kept[zone], opened)
        last = None
        if removed is not None or row["unlisted_after"] is not None:
            at = row["unlisted_after"] if removed is None else row["removed_not_before"]
            last = self._listed(zone, at, opened)
            self._miss(image, last, removed or NEVER_ENDED, "removed" if removed else None)
        before.append(
            Version(
                opened=opened,
                closed=removed or row["next"] or NEVER_ENDED,
                removed=removed is not None,
                kind=row["opened_kind"],
                image_version=row["image_version"],
                listed=listed,
                listed_last=last,
            )
        )

    def _listed(self, zone: int, at: datetime | None, opened: int | None = None) -> int | None:
        """The run of the look at an instant, or of the look that opened the version, if later.

        None: there is none, or it is pruned.
        """
        run_id = None if at is None else self.run_of.get((zone, at))
        if run_id is None or opened is None:
            return opened if at is None else run_id
        return max(run_id, opened)

    def _miss(self, image: Image, listed: int | None, ended: int, by: str | None) -> None:
        for look in self.looks[image[0]]:
            if listed is not None and look.run_id > listed and look.status in WHOLE:
                if look.run_id < ended:
                    gap = Gap(listed, look.run_id, ended, by)
                    self.gaps.setdefault(image, []).append(gap)
                return

    def after(self, image: Image, run_id: int) -> tuple[str, str | None]:
        """The presence and the version of an image after a look of its zone (0: before all)."""
        looks = [look for look in self.looks[image[0]] if look.run_id <= run_id]
        certain = [look.status for look in looks if look.status in WHOLE | {"gone"}]
        there = [v for v in self.versions[image] if v.opened <= run_id < v.closed]
        if certain[-1:] == ["gone"]:
            return "unknown", None
        if any(gap.missed <= run_id < gap.ended for gap in self.gaps.get(image, [])):
            return "unknown", None
        if there:
            return "present", there[0].image_version
        first = self.versions[image][0]
        if first.kind != "appeared" and run_id < first.opened:  # what was before it is pruned
            return "unknown", None
        return ("absent" if certain else "unknown"), None


class Upgraded(NamedTuple):
    """The database after its upgrade, and what it was: each run by the clock that it began by."""

    db: Any
    seen: Seen
    clocks: list[Any]


async def load(db: Any) -> None:
    """Make the database that was saved, at the time when it was."""
    await test_upgrade.load(db, SAVED)
    await clock.step(db, SAVED_AT - await db.fetchval("select now()"))


@pytest.fixture
async def old(empty_url: str) -> AsyncIterator[Any]:
    """A connection to the database that was saved."""
    async with connected(empty_url) as db:
        await load(db)
        yield db


@pytest.fixture(scope="module")
async def upgraded(postgres: EmbeddedPostgres, administrator: Any) -> AsyncIterator[Upgraded]:
    """That database, brought up to date once for the tests that only read."""
    async with database(postgres, administrator) as url, connected(url) as db:
        await load(db)
        clocks = await db.fetch("select run_id, started_at from syncer_store.runs order by run_id")
        seen = await Seen.read(db)
        await upgrade(Server(url))
        yield Upgraded(db=db, seen=seen, clocks=clocks)


async def broken_rules(db: Any) -> list[Any]:
    """What breaks a rule that holds of any database, but where a prune that went by stamps did."""
    return [
        (never, row)
        for never, search in NEVER.items()
        if never != "a scan and its changes differ"
        for row in await db.fetch(search)
    ]


async def wrong_answers(db: Any, seen: Seen) -> list[Any]:
    """What is answered otherwise than the looks saw, when each began and when it had ended."""
    wrong: list[Any] = []
    looks = {(zone, look[0]): Look(*look) for zone, *look in await db.fetch(LOOKS)}
    for zone, those in seen.looks.items():
        before = 0
        for run_id in (look.run_id for look in those):
            look = looks[zone, run_id]
            for at, last in ((look.observed_at, before), (look.finished_at, run_id)):
                wrong += await _wrong(db, seen, zone, at, last)
            before = run_id
    return wrong


async def _wrong(db: Any, seen: Seen, zone: int, at: datetime, last: int) -> list[Any]:
    answers = await db.fetch(
        """
        select i.image_id, a.image_version,
               syncer.image_presence(z.account, z.service, z.zone_id, i.image_id, $2)
        from syncer_store.images as i
        join syncer_store.zones as z using (zone_key)
        left join syncer.images_asof($2) as a
            on (a.account, a.service, a.zone_id, a.image_id)
             = (z.account, z.service, z.zone_id, i.image_id)
        where zone_key = $1""",
        zone,
        at,
    )
    assert answers
    return [
        (zone, image_id, last, at, (presence, version), expected)
        for image_id, version, presence in answers
        if (presence, version) != (expected := seen.after((zone, image_id), last))
        and not (last <= seen.kept.get(zone, 0) and (presence, version) == ("unknown", None))
    ]


async def test_each_instant_is_answered_by_the_looks_that_had_been(
    empty_url: str, old: Any
) -> None:
    """After the upgrade, and after the repair of the clock as well."""
    seen = await Seen.read(old)
    await upgrade(Server(empty_url))
    assert [] == await wrong_answers(old, seen)
    assert [] == await broken_rules(old)
    await clock_repair.repair(Server(empty_url), api_ahead=0.0, by="test")
    assert [] == await wrong_answers(old, seen)
    assert [] == await broken_rules(old)


async def test_what_was_seen_last_before_a_change_is_said_by_its_look(upgraded: Upgraded) -> None:
    db, seen = upgraded.db, upgraded.seen
    run_of = {(zone, look[3]): look[0] for zone, *look in await db.fetch(LOOKS)}
    found = await db.fetch("""
        select zone_key, image_id, run_id, kind, not_before, c.changed_at
        from syncer.image_changes as c
        join syncer_store.zones as z using (account, service, zone_id)""")
    for zone, image_id, run_id, kind, not_before, changed_at in found:
        assert not_before is None or not_before < changed_at
        versions = seen.versions[zone, image_id]
        if kind == "removed":
            (listed,) = (v.listed_last for v in versions if v.removed and v.closed == run_id)
        else:
            (listed,) = (v.listed for v in versions if v.opened == run_id)
        if listed is not None:
            assert (kind, listed) == (kind, run_of[zone, not_before])
        elif zone not in seen.kept:
            assert not_before is None


async def test_when_images_were_missing(upgraded: Upgraded) -> None:
    """Each gap begins and ends with its looks, and says when the image was seen around it."""
    db, seen = upgraded.db, upgraded.seen
    looks = {(zone, look[0]): Look(*look) for zone, *look in await db.fetch(LOOKS)}
    found = await db.fetch("""
        select zone_key, image_id, gap_from, ended_by, last_listed_at, seen_at, gap_to
        from syncer.image_gaps join syncer_store.zones using (account, service, zone_id)""")
    ends = {tuple(row[:4]): row["gap_to"] for row in found}
    expected = {
        (zone, image_id, looks[zone, gap.missed].finished_at, gap.by,
         looks[zone, gap.listed].observed_at,
         looks[zone, gap.ended].observed_at if gap.by == "seen" else None)
        for (zone, image_id), gaps in seen.gaps.items()
        for gap in gaps
    }  # fmt: skip
    assert expected == {tuple(row[:6]) for row in found}
    assert {"seen", "removed", None} == {row[3] for row in expected}
    for (zone, image_id), gaps in seen.gaps.items():
        for gap in gaps:
            end = ends[zone, image_id, looks[zone, gap.missed].finished_at, gap.by]
            if gap.by is None:
                assert end is None
            else:
                assert looks[zone, gap.ended].started_at < end <= looks[zone, gap.ended].finished_at


STAMPS: Final = """
    select run_id, started_at as at from syncer_store.runs
    union all select run_id, finished_at from syncer_store.runs
    union all select run_id, started_at from syncer_store.zone_scans
    union all select run_id, observed_at from syncer_store.zone_scans
    union all select run_id, finished_at from syncer_store.zone_scans
    union all select u.run_id, unnest(array[u.observed_at, u.finished_at])
              from syncer_store.stretches as t, unnest(t.run_ids, t.observed, t.finished)
                  as u (run_id, observed_at, finished_at)
    union all select opened_run_id, valid_from from syncer_store.images
    union all select removed_run_id, removed_at from syncer_store.images
    union all select opened_run_id, valid_from from syncer_store.image_history
    union all select removed_run_id, valid_to from syncer_store.image_history
    union all select since_run_id, missing_since from syncer_store.missing
    union all select ended_run_id, gap_to from syncer_store.image_gaps
    union all select run_id, decided_at from syncer_store.approvals"""


async def test_each_run_begins_after_every_stamp_of_the_runs_before_it(upgraded: Upgraded) -> None:
    """The next run will begin after all of them; what the clock said stays beside it."""
    db = upgraded.db
    found = await db.fetch(f"""
        select account, run_id, min(at), max(at)
        from ({STAMPS}) as s join syncer_store.runs using (run_id)
        group by account, run_id order by account, run_id""")
    ends: dict[str, datetime] = {}
    for account, run_id, first, last in found:
        assert account not in ends or (run_id, ends[account]) < (run_id, first)
        ends[account] = last
    for account, newest, newest_at in await db.fetch("""
            select account, max(at), syncer_store.newest_stamp(account)
            from syncer_store.stamps group by account"""):
        assert (account, newest) == (account, newest_at)
    assert upgraded.clocks == await db.fetch(
        "select run_id, clock_at from syncer.runs order by run_id"
    )


async def test_approvals_stay_between_the_runs_that_they_were_given_between(
    upgraded: Upgraded,
) -> None:
    db = upgraded.db
    runs = {row["run_id"]: row for row in await db.fetch("select * from syncer.runs")}
    approvals = await db.fetch("select * from syncer.approvals order by approval_id")
    assert [*APPROVED] == [approval["approval_id"] for approval in approvals]
    for number, at, decided_at, outcome in (
        (a["approval_id"], a["approved_at"], a["decided_at"], a["outcome"]) for a in approvals
    ):
        before, used = APPROVED[number]
        assert (number, runs[before]["finished_at"]) < (number, at)
        if used is not None:
            assert (number, at) < (number, runs[used]["started_at"])
            decided_in_it = runs[used]["started_at"] < decided_at < runs[used]["finished_at"]
            assert decided_in_it == (outcome != "replaced")
            assert at <= decided_at < runs[used]["finished_at"]


async def test_what_zones_and_images_say_of_themselves_is_of_their_runs(upgraded: Upgraded) -> None:
    db = upgraded.db
    zones = await db.fetch("""
        select z.zone_id, z.first_seen_at between r.started_at and r.finished_at as first,
               z.gone_at between g.started_at and g.finished_at as gone
        from syncer_store.zones as z
        join syncer_store.runs as r
            on r.run_id = case when z.zone_id = 'SIN-E' then 14
                               when z.account = 'default' then 1 else 2 end
        left join syncer_store.runs as g on g.run_id = 22""")
    assert {("FRA-A", True, None), ("HKG-A", True, None), ("SEL-A", True, True),
            ("SIN-E", True, None)} == set(map(tuple, zones))  # fmt: skip
    assert 0 == await db.fetchval("""
        select count(*)
        from syncer.images as i
        join syncer_store.zones as z using (account, service, zone_id)
        where i.first_seen_at <> (
            select min(v.valid_from) from syncer.image_versions as v
            where (v.account, v.zone_id, v.image_id) = (i.account, i.zone_id, i.image_id))
          and exists (
              select from syncer.image_changes as c
              where (c.account, c.zone_id, c.image_id) = (i.account, i.zone_id, i.image_id)
                and c.kind = 'appeared')""")


async def test_what_is_kept_begins_with_the_run_that_it_began_with(upgraded: Upgraded) -> None:
    """Or later: of one zone the prune deleted what had been before run 23, by its clock behind."""
    db = upgraded.db
    began = dict(await db.fetch("select run_id, started_at from syncer.runs"))
    kept = dict(
        await db.fetch("select zone_id, kept_from from syncer.zones where account = 'other'")
    )
    assert {"FRA-A", "HKG-A"} == kept.keys()
    assert began[15] < kept["HKG-A"] < began[23] < kept["FRA-A"] < began[26]


LATER: Final = """
    with run as (
        insert into syncer_store.runs (run_id, account, started_at, clock_at, finished_at,
            deadline_at, status, syncer_version, change_base, changes)
        overriding system value
        values (29, 'default', $1, now(), $1 + interval '10 s', now(), 'succeeded', '', 99, 0)
    ), zone as (
        update syncer_store.zones set newest_at = $1 + interval '20 s'
        where account = 'default' and zone_id = 'SEL-A'
        returning zone_key
    ), retirement as (
        insert into syncer_store.retirements (zone_key, retired_at, retired_by)
        select zone_key, $1 + interval '20 s', 'test' from zone
    ), ended as (
        delete from syncer_store.missing where since_run_id = 16 returning *
    )
    insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
        ended_run_id, seen_at, last_listed_at, rule, withheld_since)
    select zone_key, image_id,
           case when image_id = min(image_id) over ()
                then $1 + interval '3 s' else missing_since end,
           $1 + interval '5 s', 'seen', 29, $1 + interval '4 s', last_listed_at, 'many',
           withheld_since
    from ended"""


async def test_what_was_written_since_0009_moves_too(empty_url: str, old: Any) -> None:
    """Gaps that a later run ended, a zone that a person retired after it; its clock stays."""
    await old.execute(as_sql("0008:0013"))
    newest = await old.fetchval("select max(at) from syncer_store.stamps where account = 'default'")
    began = newest + timedelta(microseconds=1)
    await old.execute(f"prepare later (timestamptz) as {LATER}")
    await old.execute(f"execute later ('{began}')")
    clock_at = await old.fetchval("select clock_at from syncer_store.runs where run_id = 29")
    await upgrade(Server(empty_url))
    run = await old.fetchrow("select * from syncer_store.runs where run_id = 29")
    assert (began, clock_at) < (run["started_at"], run["clock_at"])
    assert clock_at == run["clock_at"]
    begins = run["started_at"]
    looks = {look[1]: Look(*look[1:]) for look in await old.fetch(f"""
        select s.* from ({LOOKS}) as s join syncer_store.zones using (zone_key)
        where zone_id = 'HKG-A' and account = 'default'""")}  # fmt: skip
    gaps = await old.fetch("select * from syncer_store.image_gaps where ended_run_id = 29")
    assert {looks[16].finished_at, begins + timedelta(seconds=3)} == {g["gap_from"] for g in gaps}
    for gap in gaps:
        assert begins + timedelta(seconds=5) == gap["gap_to"]
        assert (looks[14].observed_at, begins + timedelta(seconds=4)) == (
            gap["last_listed_at"],
            gap["seen_at"],
        )
        assert looks[16].started_at < gap["withheld_since"] < looks[16].finished_at
    retired = await old.fetchval("select retired_at from syncer_store.retirements")
    assert begins + timedelta(seconds=20) == retired
    assert retired == await old.fetchval("select syncer_store.newest_stamp('default')")


STAYS: Final = """
    with run as (
        insert into syncer_store.runs (run_id, account, started_at, clock_at, finished_at,
            deadline_at, status, syncer_version, change_base, changes)
        overriding system value
        select 29 + n, 'default', $1 + n * interval '1 minute', now(),
               $1 + n * interval '1 minute' + interval '10 s', now(), 'succeeded', '', 99, 0
        from generate_series(0, 1) as n
    )
    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
        status, listed)
    select zone_key, 29 + n, $1 + n * interval '1 minute' + interval '1 s',
           $1 + n * interval '1 minute' + interval '2 s',
           $1 + n * interval '1 minute' + interval '3 s', 'guarded', true
    from syncer_store.zones, generate_series(0, 1) as n
    where (account, zone_id) in (('default', 'HKG-A'), ('default', 'FRA-A'))"""


async def test_an_approval_that_stayed_is_of_before_the_look_that_it_was_for(
    empty_url: str, old: Any
) -> None:
    """Since 0010 one stays for what did not count: later whole looks say not when it was given."""
    await old.execute(as_sql("0008:0013"))
    newest = await old.fetchval("select max(at) from syncer_store.stamps where account = 'default'")
    tick = timedelta(microseconds=1)
    await old.execute(f"prepare stays (timestamptz) as {STAYS}")
    await old.execute(f"execute stays ('{newest + 2 * tick}')")
    await old.execute(f"""
        insert into syncer_store.approvals (zone_key, max_removals, approved_by, approved_at,
            applied_run_id)
        select zone_key, 5, 'test', '{newest + tick}', 30 from syncer_store.zones
        where (account, zone_id) = ('default', 'HKG-A');
        update syncer_store.approvals set applied_run_id = 30 where approval_id = 5""")
    await upgrade(Server(empty_url))
    runs = {row["run_id"]: row for row in await old.fetch("select * from syncer_store.runs")}
    pending = await old.fetch("""
        select a.approved_by, a.approved_at, z.zone_id
        from syncer_store.approvals as a join syncer_store.zones as z using (zone_key)
        where a.outcome is null""")
    assert {"HKG-A", "FRA-A"} == {row["zone_id"] for row in pending}
    for row in pending:
        before = runs[27]["finished_at"]
        assert before <= row["approved_at"] < runs[29]["started_at"], row


async def test_a_repair_takes_the_runs_of_a_right_clock_back_to_when_they_were(
    empty_url: str, old: Any
) -> None:
    """Those of a wrong clock stay between them."""
    began = dict(await old.fetch("select run_id, started_at from syncer_store.runs"))
    await upgrade(Server(empty_url))
    await clock_repair.repair(Server(empty_url), api_ahead=0.0, by="test")
    repaired = await old.fetch("select run_id, account, started_at from syncer.runs order by 2, 1")
    for account in ("default", "other"):
        times = [row["started_at"] for row in repaired if row["account"] == account]
        assert sorted(times) == times
    assert {run_id: at for run_id, at in began.items() if run_id not in WRONG} == {
        row["run_id"]: row["started_at"] for row in repaired if row["run_id"] not in WRONG
    }
    assert 0 == await old.fetchval("select count(*) from syncer_store.stamps where at > now()")


async def written(db: Any) -> dict[str, list[Any]]:
    """By table, by which transaction each row was written, and where it stands."""
    return {
        table: await db.fetch(f"select xmin::text, ctid::text from {table}")
        for table in await tables(db)
    }


async def test_nothing_is_written_where_the_runs_are_in_order(empty_url: str) -> None:
    """A database of 0008 whose clock never stepped back: its rows are the very same."""
    db = await asyncpg.connect(empty_url)
    await test_upgrade.load(db, test_upgrade.SAVED)
    await db.execute(as_sql("0008:0013"))
    rows = await written(db)
    await upgrade(Server(empty_url))
    assert rows.items() <= (await written(db)).items()  # later tables are empty
    await db.close()


async def test_nothing_is_written_where_only_a_persons_clock_stepped(empty_url: str) -> None:
    """Since 0009 runs go by one time line; approved during a run after a step ahead, no other."""
    db = await asyncpg.connect(empty_url)
    await test_upgrade.load(db, test_upgrade.SAVED)
    await db.execute(as_sql("0008:0013"))
    await db.execute("""
        update syncer_store.runs set clock_at = started_at where run_id = 10;
        update syncer_store.approvals set approved_at = decided_at + interval '1 hour'
        where run_id = 10""")
    rows = await written(db)
    await upgrade(Server(empty_url))
    assert rows.items() <= (await written(db)).items()  # later tables are empty
    await db.close()
