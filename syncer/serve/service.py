"""The wiring of the daemon: its server, its signals, its runs, and what shows how it is."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from syncer.config.accounts import Account
from syncer.config.machine import supervisor
from syncer.config.settings import Database, Settings
from syncer.core.errors import SyncerError, unwrapped
from syncer.serve.daemon import Daemon, Monitor, keep_alive
from syncer.serve.health import Health
from syncer.serve.http import is_exposed, listening
from syncer.serve.metrics import Metrics, stored_zones
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notifier
from syncer.serve.timing import Timing
from syncer.store import retention
from syncer.store.connection import Server
from syncer.store.open import open_server
from syncer.sync.report import Report
from syncer.sync.stop import Stop

_log = structlog.get_logger()


async def serve(
    settings: Settings,
    run: Callable[..., Awaitable[Report]],
    *,
    jitter: float | None = None,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> None:
    """Do a ``run`` at the account's interval until SIGTERM or SIGINT; SIGHUP runs at once.

    ``run`` takes a server, and ``stop`` and ``observer`` by name (see ``run_once``). Raises
    ConfigError for what must be fixed before any run can succeed.
    """
    account, systemd = settings.account, supervisor()
    every = account.every
    if jitter is None:
        jitter = min(timing.jitter, every / 10)
    schedule = Schedule(every=every, jitter=jitter, start=time.monotonic(), timing=timing)
    with unwrapped(), bound_contextvars(account=account.name):
        async with open_server(settings.database) as server:
            limit = account.run_timeout + 3 * server.timing.grace(account.run_timeout)
            monitor = Monitor(
                health=Health(every=every, limit=limit),
                metrics=Metrics(account.name, live=True),
                systemd=Notifier(systemd.socket),
            )
            work = _Work(account, settings.database, server, run, monitor.metrics, timing)
            daemon = Daemon(work.run, work.between_runs, schedule=schedule, monitor=monitor)
            watchdog = systemd.watchdog and systemd.watchdog / 2
            async with _http(settings, server, monitor), anyio.create_task_group() as tasks:
                tasks.start_soon(_handle_signals, daemon, tasks.cancel_scope)
                tasks.start_soon(keep_alive, monitor.systemd, monitor.health, watchdog)
                await work.update_metrics()
                monitor.systemd.ready()
                await daemon.work()
                monitor.systemd.stopping()
                tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def _http(settings: Settings, server: Server, monitor: Monitor) -> AsyncIterator[None]:
    if settings.http is None:
        yield
        return
    async with listening(settings.http, server, monitor.health, monitor.metrics) as url:
        _log.info("http.listening", address=url)
        if is_exposed(url):
            _log.warning(
                "http.exposed",
                address=url,
                advice="whoever reaches it may read health and metrics, without a password: keep "
                "it behind a firewall",
            )
        yield


async def _handle_signals(daemon: Daemon, scope: anyio.CancelScope) -> None:
    """SIGHUP: run now. SIGTERM, SIGINT: end when what was read is stored; twice: at once."""
    ending = False
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                daemon.run_now()
            elif ending:
                scope.cancel()
            else:
                ending = True
                daemon.end(signal.Signals(number).name)


class _Work:
    """What the daemon does for an account: runs, and what is due between two of them."""

    def __init__(  # noqa: PLR0917  (all of it is needed)
        self,
        account: Account,
        database: Database,
        server: Server,
        run: Callable[..., Awaitable[Report]],
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._account = account
        self._embedded = database.embedded
        self._server = server
        self._run = run
        self._metrics = metrics
        self._timing = timing
        self._prune_due = time.monotonic()

    async def run(self, stop: Stop) -> Report:
        """Do a run; a server of ours that is gone is started again first."""
        await self._server.revive()
        return await self._run(self._server, stop=stop, observer=self._metrics)

    async def between_runs(self, stopped: Callable[[], bool]) -> None:
        """Update what metrics show of the zones; once a day, delete what is too old to be kept."""
        await self.update_metrics()
        if self._account.keep is not None and time.monotonic() >= self._prune_due:
            await self._prune(stopped)

    async def update_metrics(self) -> None:
        """Take what is stored of the zones into the metrics."""
        self._metrics.set_zones(await stored_zones(self._server, self._account.name))

    async def _prune(self, stopped: Callable[[], bool]) -> None:
        """Delete history that is too old; what fails is tried again after the next run."""
        try:
            await retention.prune(
                self._server,
                keep=self._account.require_keep(),
                account=self._account.name,
                vacuum=self._embedded,  # autovacuum has no time there
                stopped=stopped,
            )
        except SyncerError as error:
            _log.warning("history.not_pruned", error_message=str(error))
        else:
            self._prune_due = time.monotonic() + self._timing.prune
