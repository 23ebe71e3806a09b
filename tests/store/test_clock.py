"""The time line of a run, and that versions follow each other whatever they are stamped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from syncer.core.model import TRACKED
from syncer.store.clock import Timeline, elapsed_microseconds
from syncer.store.connection import sql

START = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def test_stamps_are_the_start_and_the_time_that_has_passed() -> None:
    """None is earlier than the one before, and between two lies what has passed."""
    began = elapsed_microseconds()
    timeline = Timeline(START)
    first = timeline.now()
    since = elapsed_microseconds()
    while elapsed_microseconds() < since + 1000:
        pass
    second = timeline.now()
    assert START <= first <= second - 1000 * MICROSECOND
    assert second <= START + (elapsed_microseconds() - began) * MICROSECOND
    stamps = [timeline.now() for _ in range(1000)]
    assert all(one <= other for one, other in pairwise(stamps))


async def test_a_version_opens_after_the_one_before_whatever_it_is_stamped(db: Any) -> None:
    """Stamped earlier, or at the same instant: a microsecond later."""
    key = await db.fetchval("""
        insert into syncer_store.zones (account, service, zone_id) values ('a', 'vm', 'A')
        returning zone_key""")
    await db.execute(
        """insert into syncer_store.images (zone_key, image_id, fingerprint, opened_run_id,
               opened_ordinal, valid_from) values ($1, 'a', '', 1, 1, $2)""",
        key,
        START,
    )
    for ordinal, at in enumerate((START, START - timedelta(hours=1)), start=2):
        rows = [["a"], [None], [b"x"], [None], ["changed"], [ordinal], ["image_name"]]
        tracked = [[f"name {ordinal}"] for _ in TRACKED]
        await db.execute(sql("image/change"), key, ordinal, None, at, *rows, [None], *tracked)
    versions = await db.fetch("""
        select valid_from, valid_to from syncer.image_versions order by valid_from""")
    ends = [START + number * MICROSECOND for number in range(3)]
    assert [*zip(ends, [*ends[1:], None], strict=True)] == [tuple(row) for row in versions]
