"""Columns that are tracked since later: first values, true changes, and databases of before.

``tests/data/at_0015_zec.copy`` holds the tables of a database of 0015, as the program of that day
wrote them in three runs a year ago. Of its two zones of zec one changed (a version, and a disk size
that was no column yet), the other never did; the last image there had no ``minDiskSize``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from syncer.simulator import ABSENT, World
from syncer.store.connection import Server
from syncer.store.migrate import as_sql, upgrade
from syncer.store.schema import revisions
from tests.store.test_upgrade import load
from tests.support import Done, assert_exact, connected, rows

SAVED: Final = (Path(__file__).parents[1] / "data" / "at_0015_zec.copy").read_bytes()
ZONE = "asia-east-1a"
STILL = "asia-southwest-1a"
"""The zone that never changed in what was saved."""
ENV = {"SYNCER_SERVICES": "zec"}
LATER = ("nicNetworkType", "imageSource", "minDiskSize")
Syncer = Callable[..., Awaitable[Done]]


@pytest.fixture
def world() -> World:
    return World.generate(seed=5, zones=2, images=12, service="zec")


def strip(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    """Let no image have the later fields; return what they were."""
    found = {}
    for zone in world.zones():
        for image_id, row in world.images(zone).items():
            found[zone, image_id] = {name: row[name] for name in LATER}
            world.change_image(zone, image_id, **dict.fromkeys(LATER, ABSENT))
    return found


def restore(world: World, found: dict[tuple[str, str], dict[str, Any]]) -> None:
    for (zone, image_id), fields in found.items():
        world.change_image(zone, image_id, **fields)


async def versions(db: Any) -> int:
    number: int = await db.fetchval("select count(*) from syncer.image_versions")
    return number


async def known(db: Any, image_id: str, view: str = "syncer.images", zone: str = ZONE) -> list[Any]:
    """What is known of the later columns of an image in a zone, in each row of a view."""
    query = f"select added from {view} where zone_id = $1 and image_id = $2 order by added is null"
    return [json.loads(row[0] or "{}") for row in await db.fetch(query, zone, image_id)]


async def test_a_first_value_opens_no_version_and_a_change_does(
    world: World, sync: Any, syncer: Syncer, db: Any
) -> None:
    """The API begins to send three fields, changes one, and sends it no more.

    Nobody hears of the first values, neither in the feed nor from diff and baselines.
    """
    fields = strip(world)
    image_id = min(world.images(ZONE))
    await sync(**ENV)
    assert [{}] == await known(db, image_id)
    await syncer("baseline", "save", "before")
    before, there = await db.fetchval("select now()"), await versions(db)

    restore(world, fields)
    assert 0 == (await sync(**ENV)).exit_code
    await assert_exact(db, world)
    assert there == await versions(db)
    assert 0 == (await syncer("diff", before.isoformat(), "now", "--exit-code")).code
    assert 0 == (await syncer("check", "before")).code
    await syncer("baseline", "save", "after")
    filled = await db.fetchval("select now()")

    old = world.images(ZONE)[image_id]["minDiskSize"]
    world.change_image(ZONE, image_id, minDiskSize=old + 70)
    await sync(**ENV)
    await assert_exact(db, world)
    (change,) = rows(await syncer("changes"))
    assert (image_id, ["min_disk_size"], "breaking") == (
        change["image_id"],
        change["changed_fields"],
        change["severity"],
    )
    values = [change[side]["min_disk_size"] for side in ("before", "after")]
    assert [str(old), str(old + 70)] == values
    (drift,) = rows(await syncer("diff", filled.isoformat(), "now"))
    assert ["min_disk_size"] == list(drift["changed_fields"])
    assert 0 == (await syncer("check", "before")).code
    (pin,) = rows(await syncer("check", "after", "--image", image_id))
    assert ("changed", ["min_disk_size"]) == (pin["status"], pin["changed_fields"])

    world.change_image(ZONE, image_id, minDiskSize=ABSENT)
    await sync(**ENV)
    assert there + 1 == await versions(db)
    assert str(old + 70) == (await known(db, image_id))[0]["min_disk_size"]
    world.change_image(ZONE, image_id, minDiskSize=old + 70)
    await sync(**ENV)
    assert there + 1 == await versions(db)
    assert "unchanged" == await db.fetchval(
        "select last_status from syncer.zones where zone_id <> $1", ZONE
    )


async def test_the_order_of_a_list_says_nothing(world: World, sync: Any, db: Any) -> None:
    """The network types in another order are the same; another one is a change."""
    image_id = world.add_image(ZONE, nicNetworkType=["virtio", "auto"])
    await sync(**ENV)
    there = await versions(db)
    assert '["auto","virtio"]' == (await known(db, image_id))[0]["nic_network_type"]
    world.change_image(ZONE, image_id, nicNetworkType=["auto", "virtio"])
    await sync(**ENV)
    assert there == await versions(db)
    world.change_image(ZONE, image_id, nicNetworkType=["auto"])
    await sync(**ENV)
    assert there + 1 == await versions(db)


async def test_a_version_keeps_what_it_knew(
    world: World, sync: Any, syncer: Syncer, db: Any
) -> None:
    """A version that ended before the first value has none, and is compared without it."""
    fields = strip(world)
    image_id = min(world.images(ZONE))
    await sync(**ENV)
    before = await db.fetchval("select now()")
    world.change_image(ZONE, image_id, imageVersion="2")
    await sync(**ENV)
    restore(world, fields)
    await sync(**ENV)
    versions_of = await known(db, image_id, "syncer.image_versions")
    assert [3, 0] == [len(one) for one in versions_of]
    (drift,) = rows(await syncer("diff", before.isoformat(), "now"))
    assert ["image_version"] == list(drift["changed_fields"])
    then = rows(await syncer("asof", before.isoformat(), "--image", image_id))
    assert {None} == {row["min_disk_size"] for row in then}


@pytest.fixture
async def old(empty_url: str) -> AsyncIterator[Any]:
    """A connection to a database of 0015."""
    async with connected(empty_url) as db:
        await db.execute(as_sql("0015"))
        yield db


def in_extra(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in (*LATER, "tags") if name in row}


async def test_what_stood_in_extra_is_known(
    world: World, old: Any, empty_url: str, sync: Any
) -> None:
    """A database in which the fields stand in extra: filled by the upgrade, no version is opened.

    A true change afterwards, in a zone that never changed meanwhile, is one. What another service
    sends under these names stays in its extra.
    """
    await old.execute("""
        insert into syncer_store.accounts (account) values ('default');
        insert into syncer_store.runs
            (account, started_at, finished_at, deadline_at, status, change_base, syncer_version)
        values ('default', now() - interval '1 day', now() - interval '1 day', now(), 'succeeded',
                0, '0')""")
    for service in ("zec", "vm"):
        for zone in world.zones():
            key = await old.fetchval(
                "insert into syncer_store.zones (account, service, zone_id, present)"
                " values ('default', $1, $2, 12) returning zone_key",
                service,
                zone,
            )
            for number, (image_id, row) in enumerate(world.images(zone).items()):
                await old.execute(
                    """insert into syncer_store.images (zone_key, image_id, image_name, image_type,
                        image_size, image_description, image_version, image_status, category,
                        os_type, extra, fingerprint, opened_run_id, opened_ordinal, valid_from)
                    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', 1, $12,
                            now() - interval '1 day')""",
                    key,
                    image_id,
                    *(row[name] for name in COLUMNS),
                    json.dumps(in_extra(row)),
                    number + 1,
                )
    there = await versions(old)

    assert ("0015", revisions()[-1]) == await upgrade(Server(empty_url))

    filled = "select count(*) from syncer.images where added ?& $1 and service = $2"
    names = ["nic_network_type", "image_source", "min_disk_size"]
    assert [24, 0] == [await old.fetchval(filled, names, one) for one in ("zec", "vm")]
    left = """
        select distinct array_length(array(select jsonb_object_keys(extra)), 1)
        from syncer.images where service = $1"""
    assert [1, 4] == [await old.fetchval(left, one) for one in ("zec", "vm")]
    report = await sync(SYNCER_DATABASE_URL=empty_url, **ENV)
    assert (0, 0) == (report.exit_code, report.counts.changed)
    assert there == await versions(old)
    image_id = min(world.images(ZONE))
    world.change_image(ZONE, image_id, nicNetworkType=["something else"])
    report = await sync(SYNCER_DATABASE_URL=empty_url, **ENV)
    assert 1 == report.counts.changed
    fields = "select field, new_value from syncer.image_field_changes"
    assert [("nic_network_type", '["something else"]')] == [
        tuple(row) for row in await old.fetch(fields)
    ]


def as_saved(world: World) -> None:
    """Let the world offer what it did when the database of 0015 was saved."""
    image_id = min(world.images(ZONE))
    size = world.images(ZONE)[image_id]["minDiskSize"]
    world.change_image(ZONE, image_id, imageVersion="2", minDiskSize=size + 10)
    world.change_image(STILL, max(world.images(STILL)), minDiskSize=ABSENT)


async def test_a_year_later_a_change_is_a_version_and_a_first_value_is_none(
    world: World, empty_url: str, sync: Any
) -> None:
    """A database of 0015 is upgraded a year after its last run, and the next look finds a change.

    The zone never changed meanwhile: what an image had a year ago stands in its extra alone.
    """
    db = await asyncpg.connect(empty_url)
    await load(db, SAVED, "0015")
    there, env = await versions(db), {**ENV, "SYNCER_DATABASE_URL": empty_url}
    assert ("0015", revisions()[-1]) == await upgrade(Server(empty_url))
    as_saved(world)
    first, *_, last = sorted(world.images(STILL))
    (was,) = await known(db, first, zone=STILL)
    types = [*json.loads(was["nic_network_type"]), "vf-new"]
    world.change_image(STILL, last, minDiskSize=70)  # a first value
    world.change_image(STILL, first, nicNetworkType=types)
    counts = (await sync(**env)).counts
    assert (1, 1) == (counts.changed, counts.zones_unchanged)
    assert 2 == (await sync(**env)).counts.zones_unchanged
    assert there + 1 == await versions(db)
    await assert_exact(db, world)
    assert "70" == (await known(db, last, zone=STILL))[0]["min_disk_size"]
    (change,) = await db.fetch(
        "select field, old_value, new_value from syncer.image_field_changes where image_id = $1",
        first,
    )
    assert ("nic_network_type", was["nic_network_type"]) == tuple(change)[:2]
    assert sorted(types) == json.loads(change["new_value"])
    await db.close()


COLUMNS = (
    *("imageName", "imageType", "imageSize", "imageDescription", "imageVersion", "imageStatus"),
    *("category", "osType"),
)
