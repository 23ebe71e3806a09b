"""What a stranger adds: a tracked field by three edits, a service by a small file and a line.

Both are made to a copy of the program, which is then run as a process.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.simulator import World, actions
from syncer.store.schema import revisions
from tests.support import Done, rows

ROOT = Path(__file__).parents[2]
MIGRATION = ROOT / "tests/data/image_arch.py"
A, B = "FRA-A", "HKG-A"
Syncer = Callable[..., Awaitable[Done]]


@pytest.fixture
def world() -> World:
    """Two zones of six images."""
    return World.generate(seed=1, zones=2, images=6)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the program and its migrations."""
    for folder in ("syncer", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder)
    return tmp_path / "copy"


@pytest.fixture
def copied(copy: Path, environment: dict[str, str]) -> Syncer:
    """Run the copy's command in a process of its own; it must exit as expected."""

    async def run(*arguments: str, code: int = 0, **env: str) -> Done:
        process = await anyio.run_process(
            [sys.executable, "-m", "syncer", *arguments],
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(copy), **environment, **env},
            cwd=copy,
        )
        done = Done(process.returncode, process.stdout.decode(), process.stderr.decode())
        assert code == done.code, done.err
        return done

    return run


def after(file: Path, line: str, added: str) -> None:
    """Add lines to a file after the only line that is so, but for its indentation."""
    lines = file.read_text().splitlines()
    (number,) = (n for n, text in enumerate(lines) if text.strip() == line)
    indent = lines[number][: -len(line)]
    lines[number + 1 : number + 1] = [indent + text for text in added.splitlines()]
    file.write_text("\n".join(lines) + "\n")


def track_image_arch(copy: Path) -> None:
    """The three edits: a migration, the column in core/model, its name in the source's fields."""
    migration = MIGRATION.read_text().replace('"HEAD"', f'"{revisions()[-1]}"')
    (copy / "migrations/versions/9999_image_arch.py").write_text(migration)
    after(copy / "syncer/core/model.py", '"min_disk_size",', '"image_arch",')
    vm = copy / "syncer/zenlayer/sources/vm.py"
    after(vm, '"os_type": "osType",', '"image_arch": "imageArch",')


async def versions(db: Any) -> int:
    """How many versions of images there are."""
    number: int = await db.fetchval("select count(*) from syncer.image_versions")
    return number


async def test_a_tracked_field_is_a_migration_a_column_and_a_name(
    copy: Path, copied: Syncer, syncer: Syncer, world: World, db: Any
) -> None:
    """Its first fill opens no version, its first change opens one, and every command shows it."""
    first, second, third, plain, *_ = sorted(world.images(A))
    for zone in (A, B):
        for image_id in world.images(zone):
            world.change_image(zone, image_id, imageArch="x86_64")
    world.change_image(A, second, note="stays in extra")
    world.change_image(A, plain, imageArch=None)
    assert 0 == (await syncer("sync")).code
    world.change_image(A, third, imageVersion="2")  # a closed version, of before the column
    assert 0 == (await syncer("sync")).code
    assert 0 == (await syncer("baseline", "save", "old")).code
    before, there = await db.fetchval("select now()"), await versions(db)

    track_image_arch(copy)
    await copied("db", "upgrade")
    await copied("check", "old")  # also before the first look with the column
    digests = "select fingerprint from syncer_store.images order by fingerprint"
    old = await db.fetch(digests)
    for arguments in ((), ("--full",), ()):
        await copied("sync", *arguments)
        assert there == await versions(db)
        assert not set(old) & set(await db.fetch(digests))  # no zone was taken for known
    images = {row["image_id"]: row for row in rows(await copied("images", "--zone", A))}
    assert "x86_64" == images[second]["image_arch"]
    assert {"note": "stays in extra"} == images[second]["extra"]
    assert None is images[plain]["image_arch"]
    await copied("diff", before.isoformat(), "now", "--exit-code")
    await copied("baseline", "save", "new")

    world.change_image(A, first, imageArch="arm64")
    await copied("sync")
    assert there + 1 == await versions(db)
    change = rows(await copied("changes"))[-1]
    assert (first, "changed", ["image_arch"]) == (
        change["image_id"],
        change["kind"],
        change["changed_fields"],
    )
    values = [change[side]["image_arch"] for side in ("before", "after")]
    assert ["x86_64", "arm64"] == values
    field = await db.fetch(
        "select image_id, old_value, new_value from syncer.image_field_changes "
        "where field = 'image_arch'"
    )
    assert [(first, *values)] == [tuple(row) for row in field]
    (drift,) = rows(await copied("diff", before.isoformat(), "now", "--exit-code", code=6))
    assert (first, ["image_arch"]) == (drift["image_id"], drift["changed_fields"])
    then = {row["image_id"]: row for row in rows(await copied("asof", before.isoformat()))}
    assert ("x86_64", None) == (then[first]["image_arch"], then[plain]["image_arch"])
    await copied("check", "old")  # it was saved when nothing was known of the column
    checked = rows(await copied("check", "new", code=6))
    assert [(first, ["image_arch"])] == [
        (row["image_id"], row["changed_fields"]) for row in checked if row["status"] != "present"
    ]
    world.remove_image(A, first)
    await copied("sync")
    removed = rows(await copied("history", first))[-1]
    assert ("removed", "arm64") == (removed["kind"], removed["before"]["image_arch"])


async def test_a_service_is_a_small_file_and_a_line(
    copy: Path,
    copied: Syncer,
    simulator: Any,
    db: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is crawled, stored, checked for removals and shown as the first one is.

    Commands, the doctor and metrics know it by itself. A tracked column that its API has no field
    for is null.
    """
    offered = actions.SERVICES["vm"]
    monkeypatch.setitem(actions.SERVICES, "made", offered)
    simulator.world = World.generate(seed=2, zones=2, images=4, service="made")
    sources = copy / "syncer/zenlayer/sources"
    made = (sources / "vm.py").read_text().replace('"vm"', '"made"').replace("VM", "MADE")
    assert made.count('"category": "category",') == 1
    (sources / "made.py").write_text(made.replace('"category": "category",', ""))
    index = sources / "__init__.py"
    text = index.read_text()
    assert text.count("in (VM, ZEC, BMC)") == 1
    index.write_text(
        text.replace("in (VM, ZEC, BMC)", "in (VM, ZEC, BMC, MADE)").replace(
            "from syncer.zenlayer.sources.vm",
            "from syncer.zenlayer.sources.made import MADE\nfrom syncer.zenlayer.sources.vm",
        )
    )

    await copied("sync", SYNCER_SERVICES="made")
    image_id = min(simulator.world.images(A))
    simulator.world.remove_image(A, image_id)
    metrics = copy / "syncer.prom"
    await copied("sync", "--service", "made", SYNCER_METRICS_FILE=str(metrics))

    kinds = await db.fetch(
        "select service, kind, count(*) from syncer.image_changes group by 1, 2 order by 2"
    )
    assert [("made", "appeared", 8), ("made", "removed", 1)] == [tuple(row) for row in kinds]
    present = rows(await copied("images", "--service", "made", "--presence", "present"))
    assert simulator.world.count() == len(present)
    assert {None} == {row["category"] for row in present}
    assert all(row["image_name"] and row["extra"]["category"] for row in present)
    found = rows(await copied("doctor", SYNCER_SERVICES="made"))
    said = {row["check"]: row["message"] for row in found if row["status"] == "ok"}
    assert "accepted: 2 zones of made" == said["credentials"]
    lines = metrics.read_text().splitlines()
    for zone, images in ((A, 3.0), (B, 4.0)):
        labels = f'account="default",service="made",zone="{zone}"'
        assert f"syncer_images_present{{{labels}}} {images}" in lines
    removed = 'account="default",kind="removed",service="made"'
    assert f"syncer_image_changes_total{{{removed}}} 1.0" in lines
