"""The only wiring: settings to a database, a run, and the signals that end it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator

import anyio

from syncer.config import Settings
from syncer.core.errors import Interrupted, unwrapped
from syncer.core.model import Fault
from syncer.crawl import Progress
from syncer.db import Server, check_schema, installed_revision, revisions
from syncer.report import Report
from syncer.run import run_once
from syncer.scheduler import STOPPED, Stop
from syncer.selection import Selection

__all__ = ["Progress", "Selection", "open_emptied", "open_server", "open_store", "sync"]


@contextlib.asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL: start the embedded one and bring its schema up to date.

    A database given by URL or PG* variables is left as it is: only ``syncer db upgrade``
    changes its schema.
    """
    database = settings.database
    if not database.embedded:
        yield Server(database.url.reveal() if database.url else None)
        return
    from syncer.embedded import EmbeddedPostgres  # noqa: PLC0415  (start-up: only where used)

    async with EmbeddedPostgres(database.home, pg_bin=database.pg_bin) as postgres:
        server = Server(postgres.dsn())
        async with server.session() as connection:
            installed = await installed_revision(connection)
        if installed is None or installed in revisions()[:-1]:
            from syncer.migrate import upgrade  # noqa: PLC0415

            await upgrade(server)
        yield server


@contextlib.asynccontextmanager
async def open_emptied(settings: Settings) -> AsyncIterator[Server]:
    """Open the embedded PostgreSQL with all it held dropped, whoever was connected to it."""
    from syncer.embedded import EmbeddedPostgres  # noqa: PLC0415

    database = settings.database
    async with EmbeddedPostgres(database.home, pg_bin=database.pg_bin) as postgres:
        async with Server(postgres.dsn("postgres")).session() as connection:
            await connection.execute("drop database if exists syncer with (force)")
            await connection.execute("create database syncer")
        async with open_server(settings) as server:
            yield server


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL for reading; its schema must be this program's."""
    async with open_server(settings) as server:
        async with server.session() as connection:
            await check_schema(connection, server.where)
        yield server


async def sync(
    settings: Settings,
    selection: Selection,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Do one run. SIGTERM and SIGINT stop the asking; what was read is still written.

    A second signal gives up at once.
    """
    settings.require_credentials()
    stop = Stop()
    report: Report | None = None
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, stop, tasks.cancel_scope)
            async with open_server(settings) as server:
                report = await run_once(
                    settings, server, selection, dry_run=dry_run, stop=stop, progress=progress
                )
            tasks.cancel_scope.cancel()
    if report is None:  # told twice to end: the task group was cancelled
        raise Interrupted("told twice to end: gave up at once; what was stored is whole")
    return report


async def _stop_on_signal(stop: Stop, scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        told = False
        async for number in signals:
            if told:
                scope.cancel()
                return
            told = True
            name = signal.Signals(number).name
            stop.now(Fault(code=STOPPED, message=f"the run was told to stop ({name})"))
