"""Sets up what is measured against: a server, a PostgreSQL, a database for each measurement."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import msgspec
from anyio.abc import Process

from syncer.bench.child import Asked
from syncer.bench.cloud import CHECKSUMS
from syncer.config import bare_environment
from syncer.core.errors import SyncError
from syncer.db import Server
from syncer.embedded import EmbeddedPostgres
from syncer.migrate import upgrade

_TEMPLATE: Final = "syncer_bench_template"
_DATABASE: Final = "syncer_bench"
_STORED: Final = {
    "syncer": CHECKSUMS.format(
        table="syncer_store.images",
        join="join syncer_store.zones as z using (zone_key) where i.removed_at is null",
    ),
    "peer": CHECKSUMS.format(table="peer.images", join="join peer.zones as z using (zone_id)"),
}
_WRITTEN: Final = """
select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint as written,
       coalesce(sum(n_dead_tup), 0)::bigint as dead
from pg_stat_user_tables where relname in ('images', 'image_history')
"""


class WrongAnswer(SyncError):
    """What was measured did not do its work."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one measurement came to.

    Seconds of wall (``whole``: of the whole process), seconds of processor, bytes of memory and
    of write-ahead log, rows of images and versions written, rows left dead by it.
    """

    wall: float
    whole: float
    cpu: float
    peak: int
    wal: int = 0
    written: int = 0
    dead: int = 0
    report: dict[str, Any] = {}


class Stage:
    """A server and a PostgreSQL of which each measurement gets a part. Use ``open_stage``."""

    def __init__(self, endpoint: str, control: asyncpg.Connection[Any], url: str) -> None:
        self._endpoint = endpoint
        self._control = control
        self._url = url
        self.sizes = (0, 0)
        self.version = ""

    async def build(self, zones: int, images: int) -> None:
        """Serve another cloud, from an empty database."""
        self.sizes = (zones, images)
        await self.order(build=self.sizes)
        await self.empty()

    async def order(self, **orders: Any) -> dict[str, Any]:  # noqa: ANN401  (as JSON)
        """Change what is served."""
        import aiohttp  # noqa: PLC0415  (start-up)

        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._endpoint}/bench", data=msgspec.json.encode(orders)) as reply,
        ):
            told: dict[str, Any] = msgspec.json.decode(await reply.read())
            return told

    async def empty(self) -> None:
        """Begin with an empty database."""
        await self._control.execute(f"drop database if exists {_DATABASE} with (force)")
        await self._control.execute(f"create database {_DATABASE} template {_TEMPLATE}")
        await self._control.execute("checkpoint")

    async def settle(self) -> None:
        """Do what PostgreSQL would do by itself in time: vacuum, analyse, write out."""
        async with self._connected() as connection:
            await connection.execute("vacuum analyze")
        await self._control.execute("checkpoint")

    async def measure(self, kind: str, *, concurrency: int = 16) -> Sample:
        """Measure one thing in a process of its own."""
        zones, images = self.sizes
        asked = Asked(
            endpoint=self._endpoint,
            database=self._url,
            concurrency=concurrency,
            zones=zones,
            images=images,
        )
        given = msgspec.json.encode(asked).decode()
        return await self._sample([sys.executable, "-m", "syncer.bench.child", kind, given])

    async def _sample(self, command: list[str], env: Mapping[str, str] | None = None) -> Sample:
        before = await self._state()
        started = anyio.current_time()
        done = await anyio.run_process(
            command, check=False, stderr=None, env={**bare_environment(), **(env or {})}
        )
        whole = anyio.current_time() - started
        if done.returncode:
            raise WrongAnswer(f"a measurement failed (exit {done.returncode}): {command[3]}")
        told = msgspec.json.decode(done.stdout.splitlines()[-1])
        after = await self._state()
        spent = {name: after[name] - before[name] for name in after}
        return msgspec.convert({**told, "whole": whole, **spent}, Sample)

    async def _state(self) -> dict[str, int]:
        async with self._connected() as connection:
            [row] = await connection.fetch(_WRITTEN)
            wal = await connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return {"wal": int(wal), "written": row["written"], "dead": row["dead"]}

    async def check(self, *, stored: str = "syncer") -> None:
        """Compare what is stored with what is served. Raises WrongAnswer."""
        served = (await self.order(checksums=True))["checksums"]
        async with self._connected() as connection:
            found = dict(await connection.fetch(_STORED[stored]))
        if served != found:
            wrong = sorted({*served, *found} - dict(served.items() & found.items()).keys())
            raise WrongAnswer(f"what is stored is not what is served: {len(wrong)} zones differ")

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await asyncpg.connect(self._url)
        try:
            yield connection
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def open_stage(url: str | None, pg_bin: str | None) -> AsyncIterator[Stage]:
    """Start a server, and a PostgreSQL unless one is given by URL."""
    async with contextlib.AsyncExitStack() as stack:
        dsn = url
        if dsn is None:
            dsn = await stack.enter_async_context(_postgres(pg_bin))
        control = await asyncpg.connect(dsn)
        stack.push_async_callback(control.close)
        for name in (_DATABASE, _TEMPLATE):
            await control.execute(f"drop database if exists {name} with (force)")
            stack.push_async_callback(
                control.execute, f"drop database if exists {name} with (force)"
            )
        await control.execute(f"create database {_TEMPLATE}")
        await upgrade(Server(_of(dsn, _TEMPLATE)))
        endpoint = await stack.enter_async_context(_server())
        stage = Stage(endpoint, control, _of(dsn, _DATABASE))
        stage.version = str(await control.fetchval("show server_version"))
        yield stage


def _of(dsn: str, database: str) -> str:
    head, _, rest = dsn.partition("://")
    place, _, path = rest.partition("/")
    return f"{head}://{place}/{database}{path[path.find('?') :] if '?' in path else ''}"


@contextlib.asynccontextmanager
async def _postgres(pg_bin: str | None) -> AsyncIterator[str]:
    # Nothing but what is measured writes: no autovacuum. ``Stage.settle`` does its work.
    with tempfile.TemporaryDirectory(prefix="syncer-bench-") as home:
        async with EmbeddedPostgres(
            Path(home) / "postgres",
            pg_bin=pg_bin,
            settings={"autovacuum": "off", "max_wal_size": "4GB"},
            die_with_parent=True,
        ) as postgres:
            yield str(postgres.dsn("postgres"))


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[str]:
    process: Process = await anyio.open_process(
        [sys.executable, "-m", "syncer.bench.server"], stderr=None, env=bare_environment()
    )
    async with process:
        assert process.stdout is not None  # noqa: S101  (a pipe)
        assert process.stdin is not None  # noqa: S101
        yield (await process.stdout.receive()).decode().strip()
        await process.stdin.aclose()
        await process.wait()
