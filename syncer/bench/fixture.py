"""Sets up what is measured against: a server, a PostgreSQL, a database for each measurement."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import msgspec
from anyio.abc import Process

from syncer.bench.cloud import CHECKSUMS
from syncer.bench.measure import Asked, environment
from syncer.bench.programs import Program
from syncer.bench.server import MAX_PAGE
from syncer.config.machine import bare_environment
from syncer.core.errors import SyncerError
from syncer.embedded import EmbeddedPostgres
from syncer.store.connection import Server
from syncer.store.migrate import upgrade

_TEMPLATE: Final = "syncer_bench_template"
_DATABASE: Final = "syncer_bench"
STORED: Final = {
    "syncer": CHECKSUMS.format(
        zone="z.zone_id",
        images="""syncer_store.images as i join syncer_store.zones as z using (zone_key)
                  where i.removed_at is null""",
    ),
    "sdk": CHECKSUMS.format(zone="i.zone_id", images="sdk.images as i"),
    "dlt": CHECKSUMS.format(
        zone="i.zone_id", images="dlt.images as i where i._dlt_valid_to is null"
    ),
}
"""The checksum of what each program stored, by zone."""
_WRITTEN: Final = """
select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint as written,
       coalesce(sum(n_dead_tup), 0)::bigint as dead
from pg_stat_user_tables where relname in ('images', 'image_history')
"""


_FAULT_SHOWN: Final = 2000  # characters


class WrongAnswer(SyncerError):
    """What was measured did not do its work."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one measurement came to.

    Seconds of wall (``whole``: of the whole process), seconds of processor, bytes of memory (0: not
    measured) and of write-ahead log, rows of images and versions written, rows left dead by it,
    calls that the server got and refused.
    """

    wall: float
    whole: float
    cpu: float
    peak: int = 0
    wal: int = 0
    written: int = 0
    dead: int = 0
    calls: int = 0
    refused: int = 0
    report: dict[str, Any] = {}


class Stage:
    """A server and a PostgreSQL of which each measurement gets a part. Use ``open_stage``."""

    def __init__(
        self, endpoint: str, control: asyncpg.Connection[Any], url: str, home: Path
    ) -> None:
        self._endpoint = endpoint
        self._control = control
        self._url = url
        self._home = home
        self._databases = 0
        self.sizes = (0, 0)
        self.stored = False
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
        self._databases += 1
        self.stored = False

    async def settle(self) -> None:
        """Do what PostgreSQL would do by itself in time: vacuum, analyse, write out."""
        async with self._connected() as connection:
            await connection.execute("vacuum analyze")
        await self._control.execute("checkpoint")

    async def measure(
        self, kind: str, *, concurrency: int = 16, max_rate: float | None = None
    ) -> Sample:
        """Measure one thing in a process of its own."""
        zones, images = self.sizes
        asked = Asked(
            endpoint=self._endpoint,
            database=self._url,
            concurrency=concurrency,
            zones=zones,
            images=images,
            max_rate=max_rate,
        )
        told, spent = await self._run(("syncer.bench.measure", kind), asked)
        return msgspec.convert({**spent, **msgspec.json.decode(told)}, Sample)

    async def run(self, program: Program) -> Sample:
        """Measure a whole program, from its start to its end."""
        # What it keeps at home is worth nothing without its database.
        home = str(self._home / str(self._databases))
        environ = {
            **environment(self._endpoint, self._url),
            "HOME": home,
            "DLT_DATA_DIR": home,
            **program.environment,
        }
        asked = Asked(endpoint=self._endpoint, database=self._url)
        _, spent = await self._run(program.command, asked, environ)
        return msgspec.convert({**spent, "wall": spent["whole"]}, Sample)

    async def _run(
        self, command: Sequence[str], asked: Asked, environ: Mapping[str, str] | None = None
    ) -> tuple[bytes, dict[str, float]]:
        """Run a Python module; return its output, and what was spent meanwhile."""
        before, cpu = await self._state(), _cpu_of_children()
        started = anyio.current_time()
        told = await self._output(command, asked, environ or {})
        whole, cpu = anyio.current_time() - started, _cpu_of_children() - cpu
        after = await self._state()
        spent = {name: after[name] - before[name] for name in after}
        return told, {**spent, "whole": whole, "cpu": cpu}

    async def _output(
        self, command: Sequence[str], asked: Asked, environ: Mapping[str, str]
    ) -> bytes:
        done = await anyio.run_process(
            [sys.executable, "-m", *command],
            input=msgspec.json.encode(asked),
            check=False,
            env={**_bare_environment(), **environ},
        )
        if done.returncode:
            fault = done.stderr.decode(errors="replace").strip()[-_FAULT_SHOWN:]
            raise WrongAnswer(f"{' '.join(command)} failed (exit {done.returncode}): {fault}")
        return done.stdout

    async def _state(self) -> dict[str, int]:
        async with self._connected() as connection:
            [row] = await connection.fetch(_WRITTEN)
            wal = await connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        told = await self.order()
        return {
            "wal": int(wal),
            "written": row["written"],
            "dead": row["dead"],
            "calls": told["calls"],
            "refused": told["refused"],
        }

    async def check(self, sample: Sample, stored: str = "syncer") -> None:
        """Compare what was read and stored with what is served. Raises WrongAnswer."""
        zones, images = self.sizes
        pages = zones * -(-images // MAX_PAGE)
        answered = sample.calls - sample.refused
        if answered < 1 + pages:  # the zones are asked for too
            raise WrongAnswer(f"{pages} pages are served, but {answered} calls were answered")
        served = (await self.order(checksums=True))["checksums"]
        async with self._connected() as connection:
            found = dict(await connection.fetch(STORED[stored]))
        if served != found:
            wrong = sorted({*served, *found} - dict(served.items() & found.items()).keys())
            raise WrongAnswer(f"what is stored is not what is served: {len(wrong)} zones differ")
        self.stored = self.stored or stored == "syncer"

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
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncer-bench-")))
        dsn = url
        if dsn is None:
            dsn = await stack.enter_async_context(_postgres(home / "postgres", pg_bin))
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
        stage = Stage(endpoint, control, _of(dsn, _DATABASE), home)
        stage.version = str(await control.fetchval("show server_version"))
        yield stage


def _of(dsn: str, database: str) -> str:
    head, _, rest = dsn.partition("://")
    place, _, path = rest.partition("/")
    return f"{head}://{place}/{database}{path[path.find('?') :] if '?' in path else ''}"


@contextlib.asynccontextmanager
async def _postgres(home: Path, pg_bin: str | None) -> AsyncIterator[str]:
    # Nothing but what is measured writes: no autovacuum. ``Stage.settle`` does its work.
    async with EmbeddedPostgres(
        home,
        pg_bin=pg_bin,
        settings={"autovacuum": "off", "max_wal_size": "4GB"},
        die_with_parent=True,
    ) as postgres:
        yield str(postgres.dsn("postgres"))


def _cpu_of_children() -> float:
    """Return the seconds of processor of all that ended."""
    times = os.times()
    return times.children_user + times.children_system


def _bare_environment() -> dict[str, str]:
    """Return the environment without what configures us, a database, or a way round loopback."""
    ours = bare_environment()
    return {name: ours[name] for name in ours if not name.lower().endswith("_proxy")}


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
