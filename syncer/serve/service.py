"""The wiring of the daemon: its server, its signals, its runs, and what it tells of them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from syncer.config.machine import supervisor
from syncer.config.settings import Settings
from syncer.core.errors import SyncerError, unwrapped
from syncer.serve import http as health
from syncer.serve.daemon import Daemon, keep_alive
from syncer.serve.metrics import Metrics, stored_zones
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notify
from syncer.store import retention
from syncer.store.connection import Server
from syncer.store.open import open_server
from syncer.sync.report import Report
from syncer.sync.stop import Stop

_DAY: Final = 86_400.0
_log = structlog.get_logger()


async def serve(
    settings: Settings, run: Callable[..., Awaitable[Report]], *, jitter: float | None = None
) -> None:
    """Do a ``run`` every ``settings.every`` seconds until SIGTERM or SIGINT; SIGHUP runs at once.

    ``run`` takes a server, and ``stop`` and ``observer`` by name (see ``run_once``). Raises
    ConfigError for what must be mended before any run can succeed.
    """
    every, told = settings.every, supervisor()
    state, notify = health.State(every=every), Notify(told.socket)
    metrics = Metrics(settings.account, live=True)
    with unwrapped():
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(bound_contextvars(account=settings.account))
            server = await stack.enter_async_context(open_server(settings.database))
            tasks = await stack.enter_async_context(anyio.create_task_group())

            async def once(stop: Stop) -> Report:
                await server.revive()
                return await run(server, stop=stop, observer=metrics)

            async def between() -> None:
                metrics.know(await stored_zones(server, settings.account))
                await pruning.when_due(lambda: daemon.ending)

            pruning = _Pruning(settings, server)
            daemon = Daemon(
                once,
                between,
                schedule=Schedule(
                    every=every,
                    jitter=min(60.0, every / 10) if jitter is None else jitter,
                    start=time.monotonic(),
                ),
                limit=settings.run_timeout + 3 * server.timing.grace(settings.run_timeout),
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
            metrics.know(await stored_zones(server, settings.account))
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


class _Pruning:
    """Lets go what is older than is to be kept, once a day, between two runs."""

    def __init__(self, settings: Settings, server: Server) -> None:
        self._settings = settings
        self._server = server
        self._due = time.monotonic()

    async def when_due(self, stopped: Callable[[], bool]) -> None:
        """Do it if it is due; what fails is tried again after the next run."""
        if self._settings.keep is None or time.monotonic() < self._due:
            return
        try:
            await retention.prune(
                self._server,
                keep=self._settings.require_keep(),
                account=self._settings.account,
                vacuum=self._settings.database.embedded,  # autovacuum has no time there
                stopped=stopped,
            )
        except SyncerError as error:
            _log.warning("history.not_pruned", error_message=str(error))
            return
        self._due = time.monotonic() + _DAY
