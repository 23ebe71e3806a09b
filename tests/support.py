"""What several tests share: databases, the command's output, whether the database is the world."""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
import asyncpg
import pytest

from syncer import log
from syncer.core import page, paging
from syncer.core.added import value_of
from syncer.core.guard import Candidate, Judged
from syncer.core.line import image
from syncer.core.model import ADDED, TRACKED, Looked, Tracked, ZoneRef
from syncer.core.page import Page
from syncer.core.paging import Snapshot, Walk
from syncer.embedded import EmbeddedPostgres
from syncer.serve.metrics import Metrics
from syncer.simulator import Simulator, World
from syncer.zenlayer.sources import SOURCES

STRANGER: Final = 54321
"""Another user of this machine; it has no name."""
_numbers = itertools.count(1)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

FIELDS = {
    service: {api: column for column, api in source.fields.items()}
    for service, source in SOURCES.items()
}


def tracked(**values: str | None) -> Tracked:
    """The tracked columns of an image; those that are not given are null."""
    assert values.keys() <= set(TRACKED)
    return tuple(map(values.get, TRACKED))


class Done(NamedTuple):
    code: int
    out: str
    err: str


def call_large(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let zones of more images than this be large, and compared in parts of half as many."""
    monkeypatch.setattr(paging, "LARGE", images)
    monkeypatch.setattr(page, "PART", images // 2)


@contextlib.contextmanager
def as_user(uid: int, *groups: int) -> Iterator[None]:
    """Let this process be another user meanwhile, of the group of the same number."""
    before = os.getgroups()
    os.setgroups([uid, *groups])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@contextlib.contextmanager
def folder_for_data() -> Iterator[Path]:
    """A folder for a server's data, in memory where there is room: a database is 300 files.

    What tests left there that were killed is removed.
    """
    memory = Path("/dev/shm")  # noqa: S108  (each of its folders is one user's)
    room = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    place = memory if room else Path(tempfile.gettempdir())
    for left in place.glob("syncer-tests-*-*"):
        if not Path(f"/proc/{left.name.split('-')[2]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"syncer-tests-{os.getpid()}-", dir=place) as name:
        yield Path(name).resolve()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection, closed at the end."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def database(
    server: EmbeddedPostgres, administrator: Any, options: str = ""
) -> AsyncIterator[str]:
    """The URL of a database that is made with these options, and dropped at the end."""
    name = f"t_{next(_numbers)}"
    await administrator.execute(f"create database {name} {options}")
    try:
        yield server.dsn(name)
    finally:
        await administrator.execute(f"drop database {name} with (force)")


class Migrated(NamedTuple):
    """A migrated, empty database, and a connection that copies it."""

    server: EmbeddedPostgres
    administrator: Any
    name: str

    @property
    def url(self) -> str:
        return self.server.dsn(self.name)

    def copy(self, options: str = "") -> contextlib.AbstractAsyncContextManager[str]:
        """The URL of a copy, which is dropped at the end."""
        options = f"template {self.name} strategy file_copy {options}"
        return database(self.server, self.administrator, options)


async def until(holds: Callable[[], Any]) -> None:
    """Wait for what another process is about to do; meanwhile it has the processor."""
    with anyio.fail_after(30):
        while not (await found if inspect.isawaitable(found := holds()) else found):  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def zones_are_read(db: Any) -> bool:
    """Whether a run has read what is stored of its zones: it asks for those that it expects."""
    found: bool = await db.fetchval("""
        select exists(select from pg_stat_activity where datname = current_database()
        and application_name ~ '(writer|dry run)$' and state = 'idle' and query ~* 'commit')""")
    return found


@contextlib.contextmanager
def naming(what: object) -> Iterator[None]:
    """Say of an error inside at which of several cases it came."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"at {what}")
        raise


def open_files() -> set[tuple[str, str]]:
    """The files that this process has open: their numbers, and what they are."""
    files = Path("/proc/self/fd").iterdir()
    return {(file.name, str(file.readlink())) for file in files if file.is_symlink()}


def rows(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]


STAMP: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When a look was, where it does not matter."""


def looked(zone: str = "FRA-A", service: str = "vm") -> Looked:
    """A look at a listed zone."""
    ref = ZoneRef(service, zone)
    return Looked(zone=ref, started_at=STAMP, observed_at=STAMP, listed=True)


def judged(
    zone: str,
    listed: Sequence[str],
    stored: Sequence[str],
    *,
    withheld: Collection[str] = (),
    service: str = "vm",
    **values: Any,
) -> Judged:
    """A whole look at a zone that lists these images, where those are stored as present."""
    walk = Walk(100_000)
    walk.take(1, Page.of([image(name, tracked()) for name in listed], len(listed)))
    snapshot = walk.finish(looked(zone, service))
    assert isinstance(snapshot, Snapshot)
    candidates = snapshot.unlisted(stored)
    missed = tuple(
        Candidate(image_id=i, image_type="PUBLIC_IMAGE", withheld=i in withheld)
        for i in candidates.image_ids
    )
    before = [i for i in stored if i not in withheld]
    usual = {
        "present": len(stored),
        "withheld_before": len(withheld),
        "listed_before": len(before),
        "still_listed": len({*before} & {*listed}),
    }
    return Judged(candidates=candidates, missed=missed, **(usual | values))


def lose_zone(simulator: Simulator, zone: str) -> None:
    """Let a zone be neither listed nor found."""
    simulator.add_fault(f"hide_zone,zone={zone}")
    simulator.add_fault(f"not_found=zone,zone={zone},action=DescribeImages")


def lose(world: World, zone: str, count: int) -> list[str]:
    """Remove the first ``count`` images of a zone; return their ids."""
    ids = sorted(world.images(zone))[:count]
    for image_id in ids:
        world.remove_image(zone, image_id)
    return ids


def result(report: Any) -> tuple[int, int, int]:
    """How a run ended: its exit code, and how many removals it withheld and did."""
    return report.exit_code, report.counts.withheld, report.counts.removed


async def stored(
    db: Any, where: str = "presence = 'present'", *, service: str | None = None
) -> dict[str, dict[str, Any]]:
    """The images of each zone as SQL sees them, in the API's spelling, of one service or all."""
    zones: dict[str, dict[str, Any]] = {}
    query = f"select * from syncer.images where ({where}) and coalesce(service = $1, true)"
    for row in await db.fetch(query, service):
        served = {
            api: row[column]
            for api, column in FIELDS[row["service"]].items()
            if column not in ADDED
        }
        known = json.loads(row["added"] or "{}")
        for column in known:
            (name,) = (api for api, one in FIELDS[row["service"]].items() if one == column)
            served[name] = known[column]
        served |= {"imageId": row["image_id"], **json.loads(row["extra"])}
        zones.setdefault(row["zone_id"], {})[row["image_id"]] = served
    return zones


def served(world: World) -> dict[str, dict[str, Any]]:
    """The images of each zone as the API serves them; later columns are text."""
    later = dict(SOURCES[world.service].added).values() if world.service in SOURCES else ()
    return {
        zone: {
            image_id: {k: value_of(v) if k in later else v for k, v in row.items()}
            if later
            else row
            for image_id, row in world.images(zone).items()
        }
        for zone in world.zones()
        if world.images(zone)
    }


async def statuses_of_runs(db: Any) -> list[str]:
    """How the runs ended, in their order."""
    rows = await db.fetch("select status from syncer.runs order by run_id")
    return [row["status"] for row in rows]


async def end_sessions(db: Any, named: str = "syncer sync%") -> None:
    """End the sessions whose names are like this, whatever they are at."""
    await db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like $1",
        named,
    )


async def empty(db: Any) -> None:
    """Forget all that is stored."""
    names = [name for name in await tables(db) if name != "syncer_store.feed"]
    await db.execute(f"truncate {', '.join(names)} restart identity cascade")
    await db.execute("update syncer_store.feed set last_change_id = 0, pruned_to = 0")


async def tables(db: Any) -> list[str]:
    """The tables of the store, as they are named in a statement."""
    return [f"syncer_store.{row[0]}" for row in await db.fetch("""
        select tablename from pg_tables
        where schemaname = 'syncer_store' and tablename <> 'alembic_version'""")]  # fmt: skip


async def assert_exact(db: Any, *worlds: World) -> None:
    """What is present is what the worlds hold, and the counters and the history agree with it."""
    for world in worlds:
        assert served(world) == await stored(db, service=world.service if worlds[1:] else None)
    assert [] == await db.fetch("""
        select zone_id from syncer_store.zones as z where
        present <> (select count(*) filter (where removed_at is null)
                    from syncer_store.images as i where i.zone_key = z.zone_key)
        union all
        select image_id from syncer_store.missing""")
    assert [] == await db.fetch("""
        select image_id from syncer.image_versions as v join syncer.images as i
            using (account, service, zone_id, image_id)
        where v.valid_to is null and (v.image_name, v.image_version, i.presence)
              is distinct from (i.image_name, i.image_version, 'present')""")


@contextlib.contextmanager
def logged(style: str) -> Iterator[io.StringIO]:
    """Everything that is logged inside, at level debug."""
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        log.configure(style, "debug")
    try:
        yield text
    finally:
        log.configure("json", "error")


def samples_of(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Metrics by name and the values of their labels, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }
