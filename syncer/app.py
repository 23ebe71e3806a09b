"""The only wiring: settings to a database, a run, and the signals that end it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

import anyio
import structlog

from syncer.config.settings import Settings
from syncer.core.errors import Interrupted, unwrapped
from syncer.core.model import Fault
from syncer.store import retention
from syncer.store.connection import Server, check_schema, installed_revision, revisions
from syncer.sync.crawl import Progress
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.selection import Selection
from syncer.sync.zones import STOPPED, Stop

__all__ = ["Progress", "Selection", "open_emptied", "open_server", "open_store", "prune", "sync"]
T = TypeVar("T")
_LAST_WORDS: Final = 5.0
"""Seconds that a run's metrics take at most to look up what is stored of the zones."""
_log = structlog.get_logger()


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

        async def revive() -> str:
            await postgres.revive()
            return postgres.dsn()

        server = Server(postgres.dsn(), revive=revive)
        async with server.session() as connection:
            installed = await installed_revision(connection)
        if installed is None or installed in revisions()[:-1]:
            from syncer.store.schema import upgrade  # noqa: PLC0415

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

    async def work(stop: Stop) -> Report:
        async with open_server(settings) as server:
            run = partial(
                run_once,
                settings,
                server,
                selection,
                dry_run=dry_run,
                stop=stop,
                progress=progress,
            )
            if settings.metrics_file is None or dry_run:
                return await run()
            return await _measured(settings, server, run)

    with traced(settings):
        return await _until_told(work)


async def prune(
    settings: Settings, *, all_accounts: bool, thin_after: float, dry_run: bool
) -> retention.Pruned:
    """Let go what is older than ``settings.keep``; SIGTERM and SIGINT end it between two sets."""
    keep = settings.require_keep()

    async def work(stop: Stop) -> retention.Pruned:
        async with open_store(settings) as server:
            return await retention.prune(
                server,
                keep=keep,
                account=None if all_accounts else settings.account,
                thin_after=timedelta(seconds=thin_after),
                dry_run=dry_run,
                vacuum=settings.database.embedded,  # autovacuum has no time there
                stopped=lambda: stop.reason is not None,
            )

    return await _until_told(work)


async def _until_told(work: Callable[[Stop], Awaitable[T]]) -> T:
    """Do something that can be stopped by a signal, and is given up at the second."""
    stop = Stop()
    results: list[T] = []
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, stop, tasks.cancel_scope)
            results.append(await work(stop))
            tasks.cancel_scope.cancel()
    if not results:  # told twice to end: the task group was cancelled
        raise Interrupted("told twice to end: gave up at once; what was stored is whole")
    return results[0]


@contextlib.contextmanager
def traced(settings: Settings) -> Iterator[None]:
    """Send traces where they are asked for. Not to have them is nothing to fail for."""
    with contextlib.ExitStack() as stack:
        if settings.traces:
            try:
                from syncer.serve.otel import exporting  # noqa: PLC0415  (an extra; slow to load)

                stack.enter_context(exporting())
            except ImportError:
                advice = "pip install 'syncer[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT"
                _log.warning("traces.not_recorded", advice=advice)
            except (ValueError, RuntimeError) as error:  # one of OpenTelemetry's variables
                _log.warning("traces.not_recorded", error_message=str(error))
        yield


async def _measured(
    settings: Settings, server: Server, run: Callable[..., Awaitable[Report]]
) -> Report:
    """Do a run and leave its metrics in the file that the settings name, however it ends."""
    from syncer.serve import textfile  # noqa: PLC0415  (start-up: only where asked for)
    from syncer.serve.metrics import Metrics, ended_by, stored_zones  # noqa: PLC0415

    assert settings.metrics_file is not None  # noqa: S101  (the caller looked)
    metrics = Metrics(settings.account, live=False)
    started = anyio.current_time()
    report: Report | None = None
    status, code = "failed", 1
    try:
        report = await run(observer=metrics)
        status, code = report.status, report.exit_code
    except BaseException as error:
        status, code = ended_by(error)
        raise
    finally:
        metrics.ended(status, exit_code=code, seconds=anyio.current_time() - started, report=report)
        with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_WORDS):
            metrics.know(await stored_zones(server, settings.account))
        try:
            textfile.write(metrics, settings.metrics_file)
        except OSError as error:
            _log.warning(
                "metrics.not_written",
                path=str(settings.metrics_file),
                error_message=error.strerror,
                advice="let syncer write in that folder, or unset SYNCER_METRICS_FILE",
            )
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
