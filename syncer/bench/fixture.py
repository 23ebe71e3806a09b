"""What is measured against: a server, a PostgreSQL, and a fresh database where one is wanted."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import msgspec
from anyio.abc import Process

from syncer.bench import far
from syncer.bench.cloud import checksums_sql
from syncer.bench.link import LinkCounts
from syncer.bench.measure import MeasureOptions, syncer_environment
from syncer.bench.programs import ACCOUNTS, Program
from syncer.bench.server import MAX_PAGE
from syncer.config.machine import bare_environment
from syncer.core.errors import ConfigError, SyncerError, unwrapped
from syncer.embedded import EmbeddedPostgres
from syncer.store.connection import Server
from syncer.store.migrate import upgrade
from syncer.zenlayer.credentials import MAX_CONCURRENCY

_TEMPLATE: Final = "syncer_bench_template"
_DATABASE: Final = "syncer_bench"
STORED: Final = {
    "syncer": checksums_sql(
        zone="z.zone_id",
        images="""syncer_store.images as i join syncer_store.zones as z using (zone_key)
                  where i.removed_at is null""",
    ),
    "sdk": checksums_sql(zone="i.zone_id", images="sdk.images as i"),
    "dlt": checksums_sql(zone="i.zone_id", images="dlt.images as i where i._dlt_valid_to is null"),
    ACCOUNTS: checksums_sql(
        zone="z.account || '/' || z.zone_id",
        images="""syncer_store.images as i join syncer_store.zones as z using (zone_key)
                  where i.removed_at is null""",
    ),
}
"""The statement for the checksums of what each program stored, by zone (of each account)."""
_WRITTEN: Final = """
select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint as written,
       coalesce(sum(n_dead_tup), 0)::bigint as dead
from pg_stat_user_tables where relname in ('images', 'image_history')
"""


_ERROR_SHOWN: Final = 2000  # characters
_TIMEOUT: Final = 1800.0
"""Seconds: of what is measured here, most takes minutes on a slow machine."""
_CONNECTIONS: Final = 200
"""Of the PostgreSQL that is started: fifty accounts at once use three each."""


class WrongAnswer(SyncerError):
    """What was measured did not do its work."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one measurement."""

    wall: float
    """Seconds by the clock."""
    whole: float
    """The same from the start of the process to its exit."""
    cpu: float
    """Seconds of the processor."""
    peak: int = 0
    """The most memory the process held, in bytes; 0 where it was not measured."""
    wal: int = 0
    """Bytes of write-ahead log."""
    written: int = 0
    """Rows of images and versions written."""
    dead: int = 0
    rows: int | None = None
    """Of a statement that reads: the rows that it returns,"""
    buffers: int = 0
    """and the pages that it touches."""
    """Rows of images and versions left dead."""
    calls: int = 0
    """Calls that the server got."""
    refused: int = 0
    """Calls that the server refused for their rate."""
    connections: int = 0
    """Connections that were made over the link to a server that is far away."""
    busy: float = 0.0
    """The share of the machine's processors that was at work meanwhile, for whatever: 0 to 1."""
    report: dict[str, Any] = {}
    """The run's report, where a run was measured."""


RunModule = Callable[[Sequence[str], MeasureOptions, Mapping[str, str]], Awaitable[bytes]]
"""Runs a Python module: its command line, its standard input, further variables; its output."""


async def run_module(
    command: Sequence[str], options: MeasureOptions, environment: Mapping[str, str]
) -> bytes:
    """Run a Python module in a process of its own and return its output.

    Raises WrongAnswer where it fails.
    """
    process = await anyio.run_process(
        [sys.executable, "-m", *command],
        input=msgspec.json.encode(options),
        check=False,
        env={**_bare_environment(), **environment},
    )
    if process.returncode:
        error = process.stderr.decode(errors="replace").strip()[-_ERROR_SHOWN:]
        raise WrongAnswer(f"{' '.join(command)} failed (exit {process.returncode}): {error}")
    return process.stdout


class Fixture:
    """A server and a PostgreSQL that measurements use one after the other. Use ``open_fixture``.

    ``admin`` is a connection to a database that stays, ``url`` the database that is written to,
    ``home`` a folder for what programs keep there, ``run`` how a module is run, and ``timeout`` for
    how many seconds. ``secure`` is where the same is served over TLS, if it is.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        admin: asyncpg.Connection[Any],
        url: str,
        home: Path,
        run: RunModule = run_module,
        timeout: float = _TIMEOUT,
        secure: far.Secure | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.admin = admin
        self.url = url
        self.home = home
        self.size = (0, 0)
        """How many zones are served, and how many images in each."""
        self.is_stored = False
        """Whether syncer has stored what is served, or an earlier state of it."""
        self.accounts: tuple[str, ...] = ()
        """The accounts that programs which store ``ACCOUNTS`` are given."""
        self.link: far.FarLink | None = None
        """What leads to the server, where it is far away."""
        self._run = run
        self._timeout = timeout
        self.secure = secure
        self._databases = 0

    @contextlib.asynccontextmanager
    async def far_away(self, round_trip: float) -> AsyncIterator[far.FarLink]:
        """Within, the server is ``round_trip`` seconds away and behind TLS."""
        if self.secure is None:
            raise ConfigError(f"no certificate can be made: install {far.NEEDS} (syncer[peers])")
        with unwrapped():
            async with far.open_link(self.secure.port, round_trip=round_trip) as link:
                self.link = link
                try:
                    yield link
                finally:
                    self.link = None

    def give_accounts(self, number: int) -> None:
        """Make a number of accounts, which all see what is served."""
        self.accounts = tuple(f"account-{n:02}" for n in range(number))
        tables = [
            f'[accounts.{name}]\naccess_key_id = "{name}"\naccess_key_secret = "bench"\n'
            for name in self.accounts
        ]
        self._accounts_file.touch(mode=0o600)
        self._accounts_file.write_text("\n".join(tables))

    @property
    def _accounts_file(self) -> Path:
        return self.home / "accounts.toml"

    @property
    def _authorities(self) -> str:
        """The file of the authorities that clients must trust; "": they need not."""
        return str(self.secure.authorities) if self.secure and self.link else ""

    @property
    def _trust(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": self._authorities} if self.link else {}

    async def build_cloud(self, zones: int, images: int) -> None:
        """Serve another cloud, and begin with an empty database."""
        self.size = (zones, images)
        await self.change_server(build=self.size)
        await self.empty_database()

    async def change_server(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  (as JSON)
        """Change what ``ServedCloud`` serves; return its counts and the result of the change."""
        import aiohttp  # noqa: PLC0415  (start-up)

        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.endpoint}/bench", data=msgspec.json.encode(changes)) as response,
        ):
            result: dict[str, Any] = msgspec.json.decode(await response.read())
            return result

    async def empty_database(self) -> None:
        """Begin with an empty database."""
        await self.admin.execute(f"drop database if exists {_DATABASE} with (force)")
        await self.admin.execute(f"create database {_DATABASE} template {_TEMPLATE}")
        await self.admin.execute("checkpoint")
        self._databases += 1
        self.is_stored = False

    async def vacuum(self) -> None:
        """Do what PostgreSQL would do by itself in time: vacuum, analyse, write out."""
        async with self.connected() as connection:
            await connection.execute("vacuum analyze")
        await self.admin.execute("checkpoint")

    async def measure(
        self, kind: str, *, concurrency: int = MAX_CONCURRENCY, max_rate: float | None = None
    ) -> Measurement:
        """Measure one of ``measure.MEASURES`` in a process of its own."""
        zones, images = self.size
        options = MeasureOptions(
            endpoint=self._api,
            database=self.url,
            concurrency=concurrency,
            zones=zones,
            images=images,
            max_rate=max_rate,
        )
        command = ("syncer.bench.measure", kind)
        output, figures = await self._measured(command, options, self._trust)
        return msgspec.convert({**figures, **msgspec.json.decode(output)}, Measurement)

    async def measure_program(self, program: Program) -> Measurement:
        """Measure a program from its start to its exit."""
        # A home for each database: what a program keeps there refers to what it stored.
        home = str(self.home / str(self._databases))
        accounts = self._accounts_file if program.stores == ACCOUNTS else None
        environment = {
            **syncer_environment(self._api, self.url, accounts),
            **self._trust,
            "HOME": home,
            "DLT_DATA_DIR": home,
            **program.environment,
        }
        options = MeasureOptions(
            endpoint=self._api, database=self.url, authorities=self._authorities
        )
        command = ("syncer.bench.whole", *program.command)
        output, figures = await self._measured(command, options, environment)
        *_, peak = output.splitlines()
        return msgspec.convert(
            {**figures, "wall": figures["whole"], "peak": int(peak)}, Measurement
        )

    async def _measured(
        self, command: Sequence[str], options: MeasureOptions, environment: Mapping[str, str]
    ) -> tuple[bytes, dict[str, float]]:
        """Run a Python module; return its output, and the figures of what happened meanwhile."""
        before, cpu, machine = await self._counts(), _cpu_of_children(), Processors.now()
        started = anyio.current_time()
        output = await self._watched(command, options, environment)
        whole, cpu = anyio.current_time() - started, _cpu_of_children() - cpu
        busy = Processors.now().busy_since(machine)
        after = await self._counts()
        differences = {name: after[name] - before[name] for name in after}
        return output, {**differences, "whole": whole, "cpu": cpu, "busy": busy}

    async def _watched(
        self, command: Sequence[str], options: MeasureOptions, environment: Mapping[str, str]
    ) -> bytes:
        """Run a Python module, unless it takes too long or the link ends meanwhile."""
        outputs: list[bytes] = []
        with unwrapped(), anyio.move_on_after(self._timeout):
            async with anyio.create_task_group() as tasks:
                if self.link is not None:
                    tasks.start_soon(self.link.watch)
                outputs.append(await self._run(command, options, environment))
                tasks.cancel_scope.cancel()
        if not outputs:
            raise WrongAnswer(f"{' '.join(command)} did not end in {self._timeout:g} s")
        return outputs[0]

    @property
    def _api(self) -> str:
        """The address where the API is called."""
        return self.link.endpoint if self.link is not None else self.endpoint

    async def _counts(self) -> dict[str, int]:
        async with self.connected() as connection:
            [row] = await connection.fetch(_WRITTEN)
            wal = await connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        served = await self.change_server()
        link = await self.link.counts() if self.link is not None else LinkCounts()
        return {
            "wal": int(wal),
            "written": row["written"],
            "dead": row["dead"],
            "calls": served["calls"],
            "refused": served["refused"],
            "connections": link.connections,
        }

    async def check(
        self, measurement: Measurement, stored: str = "syncer", *, accounts: int = 1
    ) -> None:
        """Compare what was read and stored with what is served. Raises WrongAnswer.

        ``stored`` is a key of ``STORED``; ``accounts`` is how many were read.
        """
        zones, images = self.size
        pages = accounts * zones * -(-images // MAX_PAGE)
        answered = measurement.calls - measurement.refused
        if answered < accounts + pages:  # the zones are asked for too
            raise WrongAnswer(f"{pages} pages are served, but {answered} calls were answered")
        served = (await self.change_server(checksums=True))["checksums"]
        if stored == ACCOUNTS:
            served = {f"{name}/{zone}": served[zone] for name in self.accounts for zone in served}
        async with self.connected() as connection:
            found = dict(await connection.fetch(STORED[stored]))
        if served != found:
            wrong = sorted({*served, *found} - dict(served.items() & found.items()).keys())
            raise WrongAnswer(f"what is stored is not what is served: {len(wrong)} zones differ")
        self.is_stored = self.is_stored or stored == "syncer"

    async def connections(self) -> int:
        """Return how many connections the PostgreSQL that is written to allows."""
        return int(await self.admin.fetchval("show max_connections"))

    async def postgres_version(self) -> str:
        """Return the version of the PostgreSQL that is written to."""
        return str(await self.admin.fetchval("show server_version"))

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Open a connection to the database that is written to."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def open_fixture(url: str | None, pg_bin: str | None) -> AsyncIterator[Fixture]:
    """Start a server, and a PostgreSQL unless one is given; drop the databases at the end."""
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncer-bench-")))
        dsn = url
        if dsn is None:
            dsn = await stack.enter_async_context(_postgres(home / "postgres", pg_bin))
        admin = await asyncpg.connect(dsn)
        stack.push_async_callback(admin.close)
        for name in (_DATABASE, _TEMPLATE):
            await admin.execute(f"drop database if exists {name} with (force)")
            stack.push_async_callback(admin.execute, f"drop database if exists {name} with (force)")
        await admin.execute(f"create database {_TEMPLATE}")
        await upgrade(Server(_of(dsn, _TEMPLATE)))
        certificates = far.make_certificates(home) if far.installed() else None
        endpoint, secure = await stack.enter_async_context(_server(certificates))
        yield Fixture(
            endpoint=endpoint, admin=admin, url=_of(dsn, _DATABASE), home=home, secure=secure
        )


def _of(dsn: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    head, _, rest = dsn.partition("://")
    place, _, path = rest.partition("/")
    return f"{head}://{place}/{database}{path[path.find('?') :] if '?' in path else ''}"


@contextlib.asynccontextmanager
async def _postgres(home: Path, pg_bin: str | None) -> AsyncIterator[str]:
    # No autovacuum: only what is measured writes. ``Fixture.vacuum`` does its work.
    async with EmbeddedPostgres(
        home,
        pg_bin=pg_bin,
        settings={
            "autovacuum": "off",
            "max_wal_size": "4GB",
            "max_connections": str(_CONNECTIONS),
        },
        die_with_parent=True,
    ) as postgres:
        yield str(postgres.dsn("postgres"))


def _cpu_of_children() -> float:
    """Return the processor seconds of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _bare_environment() -> dict[str, str]:
    """Return the environment without the settings of syncer, PostgreSQL and HTTP proxies.

    Modules are compiled once, as those are that pip installs, ours and other programs' alike.
    """
    bare = bare_environment()
    bare.pop("PYTHONDONTWRITEBYTECODE", None)
    return {name: bare[name] for name in bare if not name.lower().endswith("_proxy")}


class Processors(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine's processors did since it started, in ticks."""

    total: int
    idle: int

    @classmethod
    def now(cls) -> Processors:
        """Return it as it is now (Linux: proc(5))."""
        with Path("/proc/stat").open() as stat:
            user, nice, system, idle, iowait, *rest = map(int, stat.readline().split()[1:9])
        return cls(total=user + nice + system + idle + iowait + sum(rest), idle=idle + iowait)

    def busy_since(self, earlier: Processors) -> float:
        """Return the share of the time since then in which they were at work: 0 to 1."""
        total = self.total - earlier.total
        return 1 - (self.idle - earlier.idle) / total if total else 0.0


@contextlib.asynccontextmanager
async def _server(
    certificates: far.Certificates | None,
) -> AsyncIterator[tuple[str, far.Secure | None]]:
    """Start the server; yield its address, and where it serves the same over TLS."""
    command = [sys.executable, "-m", "syncer.bench.server"]
    if certificates is not None:
        command.append(str(certificates.server))
    process: Process = await anyio.open_process(command, stderr=None, env=bare_environment())
    async with process:
        assert process.stdout is not None  # noqa: S101  (a pipe)
        assert process.stdin is not None  # noqa: S101
        address, *ports = (await process.stdout.receive()).decode().split()
        secure = None
        if certificates is not None:
            secure = far.Secure(port=int(ports[0]), authorities=certificates.authorities)
        yield address, secure
        await process.stdin.aclose()
        await process.wait()
