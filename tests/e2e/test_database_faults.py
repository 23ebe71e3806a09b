"""The connection to PostgreSQL cut at every message: all is stored once, or the next run does it.

``SYNCER_TEST_CUTS=1 pytest tests/e2e/test_database_faults.py`` cuts at each message of a run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from syncer.core.errors import DatabaseError
from syncer.simulator import World
from syncer.store.connection import Timing
from tests.daemon import QUICKLY
from tests.invariants import check
from tests.proxy import Proxy
from tests.support import assert_exact, naming

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
EVERY = bool(os.environ.get("SYNCER_TEST_CUTS"))
EACH = 43
"""Of as many messages one is tried, unless all are."""
COMMIT = b"Q\0\0\0\x0cCOMMIT;"
BEGIN = b"Q\0\0\0\x0bBEGIN;"
FIRST, SECOND = "FRA-A", "HKG-A"
Hook = Callable[[bytes], str | None]


@pytest.fixture
def timing() -> Timing:
    """What is lost here is there again at once."""
    return QUICKLY


@pytest.fixture
async def proxy(url: str, environment: dict[str, str]) -> AsyncIterator[Proxy]:
    """A network between the program and its database."""
    async with Proxy(url) as running:
        environment["SYNCER_DATABASE_URL"] = running.url
        yield running


def at(number: int, verdict: str, start: bytes = b"") -> Hook:
    """Give a verdict once: at the n-th message that starts so."""
    seen = itertools.count(1)
    return lambda message: verdict if message.startswith(start) and next(seen) == number else None


def drift(world: World, number: int) -> None:
    """Of two zones an image goes, one changes, one comes."""
    for zone in (FIRST, SECOND):
        first, second, *_ = sorted(world.images(zone)) or ["", ""]
        if first:
            world.remove_image(zone, first)
            world.change_image(zone, second, imageVersion=f"9.{number}")
        world.add_image(zone, imageId=f"img-new-{number}", imageName="new")


async def settled(db: Any, world: World) -> None:
    """All is stored, and stored once: the invariants count scans, changes and images."""
    await assert_exact(db, world)
    await check(db, {})


async def messages(proxy: Proxy, sync: Any, world: World) -> int:
    """Store the world, and return how many messages it takes to store a drift of it."""
    assert 0 == (await sync()).exit_code
    drift(world, 0)
    proxy.messages = 0
    assert 0 == (await sync()).exit_code
    return proxy.messages


@pytest.mark.timeout(1800 if EVERY else 60)
@pytest.mark.parametrize("verdict", ["before", "after"])
async def test_a_run_outlives_the_loss_of_its_connection_at_any_message(
    verdict: str, proxy: Proxy, sync: Any, world: World, db: Any
) -> None:
    """Once the run has begun, a lost connection is made anew and nothing is lost or done twice."""
    count = await messages(proxy, sync, world)
    first = 1 if EVERY or verdict == "before" else 1 + EACH // 2  # others than before
    for number in range(first, count + 20, 1 if EVERY else EACH):
        drift(world, number)
        proxy.hook = at(number, verdict)
        off = {"SYNCER_GUARD_ZONE_COUNT": "off"}  # it remembers what was removed before
        began = await db.fetchval("select count(*) from syncer.runs")
        try:
            report = await sync(**off)
        except DatabaseError:
            rows = await db.fetch("select status from syncer.runs offset $1", began)
            assert [row[0] for row in rows] in ([], ["running"])  # before it began, or in that
            proxy.hook = lambda _message: None
            report = await sync(**off)
        assert 0 == report.exit_code, (number, report.fault)
        await settled(db, world)


async def scans(db: Any) -> int:
    """How many zones the last run recorded."""
    count: int = await db.fetchval(
        "select count(*) from syncer.zone_scans "
        "where run_id = (select max(run_id) from syncer.runs)"
    )
    return count


@pytest.mark.parametrize("first", [1, 5, 9], ids=["first", "middle", "last"])
@pytest.mark.parametrize("verdict", ["before", "after"])
async def test_a_commit_without_an_answer_is_done_once(  # noqa: PLR0917
    first: int, verdict: str, proxy: Proxy, sync: Any, world: World, db: Any
) -> None:
    """Whether PostgreSQL committed before the connection was lost is found out, at each commit."""
    withheld = sorted(world.images("SEL-A"))[:15]  # more than the guard lets pass
    for number in range(first, min(first + 4, 12)):  # from the run's begin to its end, the 11th
        with naming(f"commit {number}"):
            for image_id in withheld if number > first else ():
                world.restore_image("SEL-A", image_id)
            assert 0 == (await sync()).exit_code
            drift(world, number)
            for image_id in withheld:
                world.remove_image("SEL-A", image_id)
            await lose_commit(number, verdict, proxy, sync, db)


async def lose_commit(number: int, verdict: str, proxy: Proxy, sync: Any, db: Any) -> None:
    """A run that loses its connection at that commit, and one that does not."""
    cut = at(number, verdict, COMMIT)
    cuts = list[str]()

    def hook(message: bytes) -> str | None:
        given = cut(message)
        cuts.extend([given] if given else [])
        return given

    proxy.hook = hook
    try:
        report = await sync()
        assert (4, 2, 6) == (report.exit_code, report.counts.removed, await scans(db))
    except DatabaseError:
        assert number == 1  # the run had not begun
    assert [verdict] == cuts
    await check(db, {})
    proxy.hook = lambda _message: None
    assert 4 == (await sync()).exit_code
    assert 15 == await db.fetchval(
        "select count(*) from syncer.images where withheld_since > '-infinity'"
    )
    await check(db, {})
