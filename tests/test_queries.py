"""The questions of migrations/queries.md, asked of a history of two accounts.

``SYNCER_TEST_YEAR=1`` asks a year of 60 zones and half a million changes.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from syncer.bench import seed
from syncer.embedded import EmbeddedPostgres
from syncer.store.connection import sql
from tests.support import naming

PAGE: Final = Path(__file__).parents[1] / "migrations/queries.md"
QUESTIONS: Final = dict(
    enumerate(re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL), 1)
)
A_YEAR: Final = bool(os.environ.get("SYNCER_TEST_YEAR"))
TWELVE_DAYS: Final = seed.Size(
    zones=12, images=600, changes=2_400, days=12, every=timedelta(hours=2)
)
OLD, NEW = "img-EVhEsCuXhCN0urZ7Vt77oOr6K", "img-rebuilt"
PLANTED: Final = f"""
    create temp table ours as
    select zone_key, (select max(run_id) from syncer_store.runs where account = 'edge') as run_id
    from syncer_store.zones
    where (account, service, zone_id) = ('edge', 'vm', 'FRA-A');
    insert into syncer_store.images (zone_key, image_id, image_name, image_type, image_size,
        image_version, image_status, category, os_type, fingerprint, opened_run_id, opened_ordinal,
        first_seen_at, valid_from, opened_kind, opened_not_before, changed_fields, removed_at,
        removed_run_id, removed_ordinal, removed_not_before)
    select zone_key, id, 'Ubuntu Server 22.04 LTS ' || name, type, '30', version, 'AVAILABLE',
           'Ubuntu', 'linux', '', run_id, 900 + nth, seen, since, kind::syncer_store.opening,
           since - interval '2 hours', fields, gone, case when gone is not null then run_id end,
           case when gone is not null then 950 end, gone - interval '2 hours'
    from ours, (values
        (1, '{OLD}', 'x86 64-bit', 'PUBLIC_IMAGE', '22.04', now() - interval '9 days',
         now() - interval '8 days', 'changed', '{{image_status}}'::text[],
         now() - interval '2 days'),
        (2, '{NEW}', 'x86 64-bit 20260714', 'PUBLIC_IMAGE', '22.04.3', now() - interval '1 day',
         now() - interval '1 day', 'appeared', null, null),
        (3, 'img-later', 'x86 64-bit 20260601', 'PUBLIC_IMAGE', '22.04.2',
         now() - interval '1 hour', now() - interval '1 hour', 'appeared', null, null),
        (4, 'img-minimal', 'Minimal x86 64-bit', 'PUBLIC_IMAGE', '22.04.10',
         now() - interval '1 day', now() - interval '1 day', 'appeared', null, null),
        (5, 'img-own', 'of our own', 'CUSTOM_IMAGE', '22.04', now() - interval '7 days',
         now() - interval '3 days', 'changed', '{{image_status}}'::text[], null)
    ) as i (nth, id, name, type, version, seen, since, kind, fields, gone);
    insert into syncer_store.image_history (zone_key, image_id, image_name, image_type, image_size,
        image_version, image_status, category, os_type, valid_from, valid_to, opened_kind,
        opened_run_id, opened_ordinal)
    select zone_key, image_id, 'Ubuntu Server 22.04 x86 64-bit', image_type, image_size,
           image_version, 'CREATING', category, os_type, first_seen_at, valid_from, 'appeared',
           opened_run_id, 960
    from syncer_store.images where image_id = '{OLD}';
    insert into syncer_store.image_history (zone_key, image_id, image_name, image_status,
        valid_from, valid_to, opened_kind, opened_run_id, opened_ordinal, changed_fields)
    select zone_key, image_id, image_name, (array['UNAVAILABLE', 'AVAILABLE'])[1 + n % 2],
           first_seen_at + (n - 1) * interval '1 day', first_seen_at + n * interval '1 day',
           case n when 1 then 'appeared' else 'changed' end::syncer_store.opening, opened_run_id,
           970 + n, case when n > 1 then '{{image_status}}'::text[] end
    from syncer_store.images, generate_series(1, 4) as n where image_id = 'img-own';
    insert into syncer_store.zones (account, service, zone_id, first_run_id)
    select 'edge', 'vm', 'NEW-A', run_id from ours;
    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
        status, listed, images, appeared)
    select zone_key, first_run_id, now() - interval '5 min', now() - interval '5 min', now(),
           'changed', true, 1, 1 from syncer_store.zones where zone_id = 'NEW-A';
    insert into syncer_store.images (zone_key, image_id, fingerprint, opened_run_id, opened_ordinal,
        first_seen_at, valid_from)
    select zone_key, 'img-first', '', first_run_id, 980, now(), now()
    from syncer_store.zones where zone_id = 'NEW-A';
    insert into syncer_store.approvals (zone_key, max_removals, approved_at, approved_by, outcome,
        decided_at, run_id, candidates)
    select zone_key, 1, now() - interval '50 hours', 'bob', 'applied', now() - interval '2 days',
           run_id, 1 from ours;
    insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by, rule,
        withheld_since, ended_run_id, approval_id)
    select zone_key, '{OLD}', now() - interval '60 hours', now() - interval '2 days', 'removed',
           'many', now() - interval '60 hours', ours.run_id, approval_id
    from ours join syncer_store.approvals using (zone_key);
    insert into syncer_store.runs (account, started_at, finished_at, deadline_at, status,
        syncer_version, change_base)
    select 'young', now() - interval '1 day', now(), now(), 'succeeded', '', max(change_base)
    from syncer_store.runs;
    insert into syncer_store.zones (account, service, zone_id, first_run_id, first_seen_at)
    select account, 'vm', 'NEW-A', run_id, started_at
    from syncer_store.runs where account = 'young';
    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
        status, listed)
    select z.zone_key, r.run_id, r.started_at, r.started_at, r.started_at, 'failed', true
    from syncer_store.runs as r join syncer_store.zones as z using (account)
    where account = 'young'"""
"""An image renamed, withheld and removed; what came; one that flaps; a new zone and account."""


@pytest.fixture
async def ask(postgres: EmbeddedPostgres, db: Any, url: str) -> AsyncIterator[Any]:
    """Ask a question by its number, as a reader."""
    await seed.seed(db, seed.YEAR if A_YEAR else TWELVE_DAYS)
    await db.execute(PLANTED)
    await db.execute(sql("schema/roles"))
    reader = await asyncpg.connect(url)
    await reader.execute("""
        set role syncer_reader; set search_path to ''; set timezone to 'UTC';
        set default_transaction_read_only to on""")

    async def asked(number: int) -> list[Any]:
        found: list[Any] = await reader.fetch(QUESTIONS[number])
        return found

    yield asked
    await reader.close()


def test_there_are_thirty_of_them() -> None:
    """Each has a number, a question and one statement, and stands under who asks it."""
    numbers = re.findall(r"^### (\d+)\. .*\?$", PAGE.read_text(), re.MULTILINE)
    assert [str(number) for number in range(1, 31)] == numbers
    assert [1] * 30 == [statement.count(";") for statement in QUESTIONS.values()]
    assert 4 == len(re.findall(r"^## ", PAGE.read_text(), re.MULTILINE))


@pytest.mark.timeout(900 if A_YEAR else 60)
async def test_each_answers_what_it_asks(ask: Any, db: Any) -> None:
    """No answer is empty, or mixes accounts unseen; what was planted is found as it is."""
    answers = {number: await ask(number) for number in QUESTIONS}
    for number, rows in answers.items():
        with naming(number):
            assert rows
            assert "account" in rows[0] or number == 9  # whose rows are of all accounts
            assert len(rows) == len({tuple(map(str, row.values())) for row in rows})

    def of(number: int, *columns: str, **wanted: Any) -> list[tuple[Any, ...]]:
        """The columns of the rows of an answer that have what is wanted."""
        rows = [r for r in answers[number] if wanted.items() <= dict(r).items()]
        return [tuple(row[column] for column in columns) for row in rows]

    edge = {"account": "edge", "zone_id": "FRA-A"}
    assert {"edge"} == {row["account"] for row in answers[1]}  # that of `default` is gone
    assert [(NEW,)] == of(2, "image_id", **edge)  # Minimal is another, for all its version
    assert [
        (OLD, "removed", "img-later", "edge"),
        ("img-R7sPhNGg", "unknown", None, None),
    ] == of(3, "image_id", "status", "replacement_id", "account")
    assert [("img-later", "similar_name")] == of(4, "replacement_id", "rule", image_id=OLD)
    assert [("absent",)] == of(5, "presence", image_id=OLD)
    assert {("unknown",)} == set(of(5, "presence", account="default"))
    assert [("unknown", "NEW-A")] == of(6, "kind", "zone_id", account="young")
    assert [("removed", "breaking")] == of(6, "kind", "severity", image_id=OLD)
    assert [
        ("CREATING", timedelta(days=1)),
        ("AVAILABLE", timedelta(days=6)),
    ] == of(7, "image_status", "duration")
    assert [(await changed(db, "interval '7 days'"),)] == [(len(answers[10]),)]
    names = "Ubuntu Server 22.04 x86 64-bit -> Ubuntu Server 22.04 LTS x86 64-bit"
    assert [(names,)] == of(11, "names", image_id=OLD)
    assert [("absent", False)] == of(12, "presence", "or_before", image_id=OLD)
    assert [("present",)] == of(15, "presence", account="edge")
    assert [("absent",)] == of(15, "presence", account="default")
    assert [("many", "removed", "bob")] == of(19, "rule", "ended_by", "approved_by", image_id=OLD)
    assert {("failed",), ("incomplete",)} == set(of(20, "last_status"))
    assert {None} == {row["replacement_id"] for row in answers[22]}
    assert {"gone", "failed", "incomplete"} == {row["state"] for row in answers[23]}
    assert [("gone",)] == of(23, "state", account="default", zone_id="FRA-A", spell_to=None)
    assert [(0,)] == of(24, "percent_read", account="young")
    [[read]] = of(24, "percent_read", account="default", zone_id="FRA-A")
    assert [0, read] == sorted(row["percent_read"] for row in answers[24])[:2]
    assert read < 95
    assert [(2,)] == of(26, "outages", image_id="img-own")
    present = await db.fetchval("select count(*) from syncer.images where presence = 'present'")
    assert present == sum(row["images"] for row in answers[27])
    last = max(row["at"] for row in answers[28])
    assert present == sum(row["images"] or 0 for row in answers[28] if row["at"] == last)
    assert await changed(db, "interval '12 weeks'") == sum(row["changes"] for row in answers[29])
    assert [("img-own",)] == of(30, "image_id")


async def changed(db: Any, age: str) -> int:
    """How many versions began and ended within an age, after each zone's first look."""
    number: int = await db.fetchval(f"""
        select count(*) filter (where v.valid_from > now() - {age} and v.valid_from > z.first)
             + count(*) filter (where v.closed_kind = 'removed' and v.valid_to > now() - {age})
        from syncer.image_versions as v
        join (
            select account, service, zone_id, min(valid_from) as first
            from syncer.image_versions group by account, service, zone_id
        ) as z using (account, service, zone_id)""")
    return number
