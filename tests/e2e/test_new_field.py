"""What a stranger adds: a tracked field by three edits, a service by a small file and a line.

Both are made to a copy of the program, which is then run as a process.
"""

from __future__ import annotations

import json
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

pytestmark = pytest.mark.any_server

ROOT = Path(__file__).parents[2]
MIGRATION = ROOT / "tests/data/image_arch.py"
A, B = "FRA-A", "HKG-A"
Syncer = Callable[..., Awaitable[Done]]
Copied = Callable[..., Awaitable[list[Done]]]
PROGRAM = """
import json, sys
from click.testing import CliRunner
from syncer.cli import cli
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(cli, command, prog_name="syncer", catch_exceptions=False)
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""


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
def copied(copy: Path, environment: dict[str, str]) -> Copied:
    """Run commands of the copy in one process; each must exit as expected."""

    async def run(*commands: str, code: int = 0, **env: str) -> list[Done]:
        process = await anyio.run_process(
            [sys.executable, "-c", PROGRAM, json.dumps([command.split() for command in commands])],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(copy), **environment, **env},
            cwd=copy,
        )
        done = [Done(*json.loads(line)) for line in process.stdout.splitlines()]
        assert [code] * len(commands) == [each.code for each in done], done
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
    copy: Path, copied: Copied, syncer: Syncer, world: World, db: Any
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
    await copied("db upgrade", "check old")  # also before the first look with the column
    digests = "select fingerprint from syncer_store.images order by fingerprint"
    old = await db.fetch(digests)
    for command in ("sync", "sync --full", "sync"):
        await copied(command)
        assert there == await versions(db)
        assert not set(old) & set(await db.fetch(digests))  # no zone was taken for known
    since = f"diff {before.isoformat()} now --exit-code"
    shown, *_ = await copied(f"images --zone {A}", since, "baseline save new")
    images = {row["image_id"]: row for row in rows(shown)}
    assert "x86_64" == images[second]["image_arch"]
    assert {"note": "stays in extra"} == images[second]["extra"]
    assert None is images[plain]["image_arch"]

    world.change_image(A, first, imageArch="arm64")
    # What was saved when nothing was known of the column is as it was.
    _, changed, was, _ = await copied("sync", "changes", f"asof {before.isoformat()}", "check old")
    assert there + 1 == await versions(db)
    change = rows(changed)[-1]
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
    differs, checks = await copied(since, "check new", code=6)
    (drift,) = rows(differs)
    assert (first, ["image_arch"]) == (drift["image_id"], drift["changed_fields"])
    then = {row["image_id"]: row for row in rows(was)}
    assert ("x86_64", None) == (then[first]["image_arch"], then[plain]["image_arch"])
    checked = rows(checks)
    assert [(first, ["image_arch"])] == [
        (row["image_id"], row["changed_fields"]) for row in checked if row["status"] != "present"
    ]
    world.remove_image(A, first)
    _, life = await copied("sync", f"history {first}")
    removed = rows(life)[-1]
    assert ("removed", "arm64") == (removed["kind"], removed["before"]["image_arch"])


async def test_a_service_is_a_small_file_and_a_line(
    copy: Path,
    copied: Copied,
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
    said = await copied(
        "sync --service made",
        "images --service made --presence present",
        "doctor",
        SYNCER_METRICS_FILE=str(metrics),
        SYNCER_SERVICES="made",
    )

    kinds = await db.fetch(
        "select service, kind, count(*) from syncer.image_changes group by 1, 2 order by 2"
    )
    assert [("made", "appeared", 8), ("made", "removed", 1)] == [tuple(row) for row in kinds]
    present = rows(said[1])
    assert simulator.world.count() == len(present)
    assert {None} == {row["category"] for row in present}
    assert all(row["image_name"] and row["extra"]["category"] for row in present)
    found = {row["check"]: row["message"] for row in rows(said[2]) if row["status"] == "ok"}
    assert "accepted: 2 zones of made" == found["credentials"]
    lines = metrics.read_text().splitlines()
    for zone, images in ((A, 3.0), (B, 4.0)):
        labels = f'account="default",service="made",zone="{zone}"'
        assert f"syncer_images_present{{{labels}}} {images}" in lines
    removed = 'account="default",kind="removed",service="made"'
    assert f"syncer_image_changes_total{{{removed}}} 1.0" in lines
