"""A disk that is full: one line, exit 1; when there is room again, all is exact."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.embedded import EmbeddedPostgres
from syncer.simulator import World
from tests.daemon import ThreeRuns, drift_widely
from tests.invariants import check
from tests.support import Migrated, assert_exact


@pytest.fixture
async def disk(postgres: EmbeddedPostgres) -> AsyncIterator[Path]:
    """A file system of 32 MiB that is the server's user's; skips where none may be made."""
    data = anyio.Path(postgres.home) / f"data-{postgres.major}"
    owner = (await data.stat()).st_uid
    # Not below pytest's folder, which the server's user may not enter.
    with tempfile.TemporaryDirectory(prefix="syncer-small-") as name:
        await anyio.Path(name).chmod(0o755)
        small = Path(name) / "disk"
        await anyio.Path(small).mkdir()
        options = f"size=32m,uid={owner},gid={owner},mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(small)]
        if os.geteuid() or (await anyio.run_process(mount, check=False)).returncode:
            pytest.skip("only root may mount a small file system, and not in every container")
        yield small
        await anyio.run_process(["umount", "-l", str(small)])


@pytest.fixture
async def url(disk: Path, migrated: Migrated) -> AsyncIterator[str]:
    """The URL of a migrated, empty database on the small disk.

    Where autovacuum has just been at a catalog that all databases share, a session writes a file
    before it can begin, and none begins on a full disk: then no zone is named.
    """
    admin = migrated.administrator
    await admin.execute("alter system set autovacuum = off")
    await admin.execute("select pg_reload_conf()")
    await admin.execute(f"create tablespace small location '{disk}'")
    async with migrated.copy("tablespace small") as url:
        yield url
    await admin.execute("drop tablespace small")
    await admin.execute("alter system reset autovacuum")
    await admin.execute("select pg_reload_conf()")


def fill(file: Path) -> None:
    """Write until there is no room."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as full:
        while full.write(b"x" * 4096):
            pass


async def test_a_full_disk_is_one_named_line(
    disk: Path, environment: dict[str, str], world: World, db: Any
) -> None:
    """It names a zone, the SQLSTATE and the server's words; the daemon lives; the next is exact."""

    async def spoil() -> None:
        drift_widely(world)
        fill(disk / "full")

    async def repair() -> None:
        (disk / "full").unlink()

    serving = ThreeRuns(environment)
    await serving.work(spoil, repair)
    serving.assert_one_line(r"\Avm/\S+: .*No space left on device.*\(SQLSTATE 53100\)")
    await assert_exact(db, world)
    await check(db, {})


async def test_the_command_says_that_the_disk_is_full(
    disk: Path, process: Any, world: World, db: Any
) -> None:
    """Exit 1, and no traceback."""
    fill(disk / "full")
    done = await process("sync")
    assert (1, "") == (done.code, done.out)
    assert 1 == len(done.err.splitlines()), done.err
    assert "SQLSTATE 53100" in done.err
    (disk / "full").unlink()
    assert 0 == (await process("sync")).code
    await assert_exact(db, world)
