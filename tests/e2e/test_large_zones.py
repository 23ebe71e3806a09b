"""A zone too large to be held in memory comes to what any other does."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from syncer.simulator import Simulator, World
from syncer.store.approvals import approve
from syncer.sync import zones
from syncer.sync.spool import Spool
from tests.support import assert_exact, call_large, empty, open_files

pytestmark = pytest.mark.any_server

A, B = "FRA-A", "HKG-A"


def cloud() -> World:
    """One zone of thirty images, one of nine."""
    return World.generate(seed=2, zones=0, sizes={A: 30, B: 9})


@pytest.fixture
def world() -> World:
    return cloud()


async def life(simulator: Simulator, sync: Any, db: Any) -> AsyncIterator[tuple[str, Any]]:
    """What becomes of a zone in two dozen runs; what each said, and what it left behind."""
    world, ids = simulator.world, list(simulator.world.images(A))

    async def run(what: str, *faults: str, dry: bool = False, **how: Any) -> tuple[str, Any]:
        for fault in faults:
            simulator.add_fault(f"{fault},zone={A}")
        settings = {"SYNCER_PAGE_SIZE": "8", **how}
        would = planned(await sync(**settings, dry_run=True)) if dry else None
        report = await sync(**settings)
        simulator.clear_faults()
        return what, [would, said(report), await stored(db)]

    yield await run("first load", dry=True)
    yield await run("no change")
    yield await run("another order", "reorder=page")
    world.change_image(A, ids[3], imageVersion="2", note=1)
    world.change_image(A, ids[17], note=[1])
    yield await run("changed", dry=True)
    world.remove_image(A, ids[5])
    yield await run("removed", dry=True)
    world.restore_image(A, ids[5])
    world.add_image(A)
    yield await run("returned")
    for number, image_id in enumerate(ids[:20]):
        world.change_image(A, image_id, imageVersion=f"3.{number}")
    yield await run("incomplete", "total=+1,page=2,by_id=false")
    world.change_image(A, ids[20], imageStatus="UNAVAILABLE")
    yield await run("a page fails", "status=403,page=3,by_id=false")
    yield await run("whole again")
    world.change_image(A, ids[21], imageSize="77")
    yield await run("no totalCount", "total=omitted,by_id=false")
    yield await run("a row twice", "duplicate=1,by_id=false")
    yield await run("a row twice, but another", "duplicate=2,changed,by_id=false")
    yield await run("pages are capped", "page_cap=5")
    yield await run("another page size", SYNCER_PAGE_SIZE="31")
    yield await run("living images are not listed", f"omit,ids={ids[7]}", f"omit,ids={ids[22]}")
    for image_id in ids[:15]:
        world.remove_image(A, image_id)
    yield await run("withheld", dry=True)
    world.change_image(A, ids[25], imageName="changed meanwhile")
    world.restore_image(A, ids[0])
    yield await run("still withheld")
    yield await run("empty", "empty_listing")
    yield await run("full", full=True)
    for most in (3, 20):
        await approve(db, account=None, service=None, zone_id=A, max_removals=most, by="test")
        yield await run(f"{most} are approved")
    yield await run("not listed", "hide_zone")
    yield await run("gone", "not_found=zone")
    yield await run("back")
    for image_id in ids[1:15]:
        world.restore_image(A, image_id)
    yield await run("all are back")
    yield await run("no change at the end")
    await assert_exact(db, world)


async def test_a_large_zone_comes_to_what_any_other_does(
    simulator: Simulator, sync: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same reports and exits, the same plans of dry runs, the same rows: after every run."""
    lived = [step async for step in life(simulator, sync, db)]
    await empty(db)
    simulator.world = cloud()
    call_large(10, monkeypatch)
    put = 0

    class Counted(Spool):
        def put(self, data: bytes | memoryview) -> Any:
            nonlocal put
            put += 1
            return super().put(data)

    monkeypatch.setattr(zones, "Spool", Counted)
    ordinary = iter(lived)
    async for step in life(simulator, sync, db):
        assert next(ordinary) == step
    assert not list(ordinary)
    assert put > 50


def said(report: Any) -> Any:
    return report.status, report.exit_code, report.latched, msgspec.to_builtins(report.counts)


def planned(report: Any) -> Any:
    """What a dry run would do, image by image."""
    return said(report), sorted(
        (
            written.zone.ref.zone_id,
            written.status,
            sorted(image.image_id for image in written.diff.appeared),
            sorted(
                (change.image.image_id, change.kind, change.fields)
                for change in written.diff.changes
            ),
            sorted(image.image_id for image in written.diff.refreshed),
        )
        for written in report.zones
        if written.diff is not None
    )


NOT_COMPARED = {"account", "syncer_version", "selection", "request_id", "change_id"}
VIEWS = {
    "images": "zone_id, image_id",
    "image_changes": "run_id, zone_id, image_id, kind",
    "image_versions": "zone_id, image_id, valid_from",
    "zones": "zone_id",
    "zone_scans": "run_id, zone_id",
    "runs": "run_id",
}


async def stored(db: Any) -> Any:
    """All that is stored, but for times and for the order within a run."""
    return {
        view: [
            {
                name: "a time" if isinstance(value, datetime) else value
                for name, value in row.items()
                if name not in NOT_COMPARED
            }
            for row in await db.fetch(f"select * from syncer.{view} order by {order}")
        ]
        for view, order in VIEWS.items()
    }


async def test_a_zone_of_twenty_thousand_images(simulator: Simulator, sync: Any, db: Any) -> None:
    """Twenty thousand images and some: stored, seen again, 1 % changed, some removed; no leak."""
    world = simulator.world = World.generate(seed=3, zones=0, sizes={A: 20_500})
    gc.collect()  # what an earlier test left open in a cycle is closed now, not meanwhile
    before = open_files()
    assert 20_500 == (await sync()).counts.appeared
    ids = list(world.images(A))
    for image_id in ids[::100]:
        world.change_image(A, image_id, imageVersion="99")
    for image_id in ids[50::5000]:
        world.remove_image(A, image_id)
    counts = (await sync()).counts
    assert (205, 5, 0) == (counts.changed, counts.removed, counts.withheld)
    counts = (await sync()).counts
    assert (1, 20_495) == (counts.zones_unchanged, counts.images)
    await assert_exact(db, world)
    assert before == open_files()
