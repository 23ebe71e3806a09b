"""The only wiring: settings to a database, a run, and the signals that end it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from syncer.config import Settings, supervisor
from syncer.core.errors import Interrupted, unwrapped
from syncer.core.model import Fault
from syncer.core.schedule import Schedule
from syncer.crawl import Progress
from syncer.db import Server, check_schema, installed_revision, revisions
from syncer.ledger import grace
from syncer.report import Report
from syncer.run import run_once
from syncer.scheduler import STOPPED, Stop
from syncer.selection import Selection

if TYPE_CHECKING:
    from syncer.daemon import Daemon

__all__ = ["Progress", "Selection", "open_emptied", "open_server", "open_store", "serve", "sync"]
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
                    report = await run()
                else:
                    report = await _measured(settings, server, run)
            tasks.cancel_scope.cancel()
    if report is None:  # told twice to end: the task group was cancelled
        raise Interrupted("told twice to end: gave up at once; what was stored is whole")
    return report


async def _measured(
    settings: Settings, server: Server, run: Callable[..., Awaitable[Report]]
) -> Report:
    """Do a run and leave its metrics in the file that the settings name, however it ends."""
    from syncer.ops import textfile  # noqa: PLC0415  (start-up: only where asked for)
    from syncer.ops.metrics import Metrics, ended_by, stored_zones  # noqa: PLC0415

    assert settings.metrics_file is not None  # noqa: S101  (the caller looked)
    metrics = Metrics(settings.account, live=False)
    started = anyio.current_time()
    report: Report | None = None
    status, code = "failed", 1
    try:
        report = await run(observer=metrics)
        status, code = report.status, report.exit_code
    except Exception as error:
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
                error=error.strerror,
                advice="let syncer write in that folder, or unset SYNCER_METRICS_FILE",
            )
    return report


async def serve(settings: Settings, *, jitter: float | None = None) -> None:
    """Run every ``settings.every`` seconds until SIGTERM or SIGINT; SIGHUP runs at once.

    Raises ConfigError for what must be mended before any run can succeed.
    """
    from syncer.daemon import Daemon, keep_alive  # noqa: PLC0415  (start-up: not for sync)
    from syncer.ops import health  # noqa: PLC0415
    from syncer.ops.metrics import Metrics, stored_zones  # noqa: PLC0415
    from syncer.ops.notify import Notify  # noqa: PLC0415

    settings.require_credentials()
    every, told = settings.every, supervisor()
    state, notify = health.State(every=every), Notify(told.socket)
    metrics = Metrics(settings.account, live=True)
    selection = Selection(services=settings.services)
    with unwrapped():
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(open_server(settings))
            tasks = await stack.enter_async_context(anyio.create_task_group())

            async def once(stop: Stop) -> Report:
                return await run_once(
                    settings, server, selection, dry_run=False, stop=stop, observer=metrics
                )

            async def between() -> None:
                metrics.know(await stored_zones(server, settings.account))

            daemon = Daemon(
                once,
                between,
                schedule=Schedule(
                    every=every,
                    jitter=min(60.0, every / 10) if jitter is None else jitter,
                    start=time.monotonic(),
                ),
                limit=settings.run_timeout + 3 * grace(settings.run_timeout),
                state=state,
                metrics=metrics,
                notify=notify,
            )
            if settings.http is not None:
                url = await stack.enter_async_context(
                    health.serve(settings.http, server, state, metrics)
                )
                _log.info("http.listening", address=url)
            tasks.start_soon(_heed_signals, daemon, tasks.cancel_scope)
            tasks.start_soon(keep_alive, notify, state, told.watchdog and told.watchdog / 2)
            await between()
            notify.ready()
            await daemon.work()
            notify.stopping()
            tasks.cancel_scope.cancel()


async def _heed_signals(daemon: Daemon, scope: anyio.CancelScope) -> None:
    """SIGHUP: run now. SIGTERM, SIGINT: end when what was read is stored; twice: at once."""
    told = False
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                daemon.run_now()
            elif told:
                scope.cancel()
            else:
                told = True
                daemon.end(signal.Signals(number).name)


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
