"""The wiring of the daemon: its server, its signals, its runs, and what shows how it is."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import anyio
import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from syncer.config.accounts import Account
from syncer.config.machine import supervisor
from syncer.config.settings import Settings
from syncer.core.errors import DatabaseError, unwrapped
from syncer.serve.daemon import Daemon, keep_alive
from syncer.serve.health import Condition, Healths
from syncer.serve.http import is_exposed, listening
from syncer.serve.metrics import Together
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notifier
from syncer.serve.timing import Timing
from syncer.serve.work import Work, work_of
from syncer.store.connection import Server
from syncer.store.fitness import accounts_at_once
from syncer.store.open import open_server
from syncer.sync.report import Report

_log = structlog.get_logger()


async def serve(
    settings: Settings,
    run: Callable[..., Awaitable[Report]],
    *,
    jitter: float | None = None,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> None:
    """Do runs of each account at its interval until SIGTERM or SIGINT; SIGHUP runs all at once.

    ``run`` takes an account and a server, and ``stop`` and ``observer`` by name. Raises ConfigError
    for what must be fixed before any run can succeed.
    """
    systemd = supervisor()
    notifier = Notifier(systemd.socket)
    alone = {"account": settings.accounts[0].name} if len(settings.accounts) == 1 else {}
    with unwrapped(), bound_contextvars(**alone):
        async with open_server(settings.database) as server:
            gate = anyio.Semaphore(await most_at_once(settings, server))
            works = [
                work_of(settings, account, server, run, notifier) for account in settings.accounts
            ]
            start = time.monotonic()
            daemons = [
                _Daily(work=work, timing=timing).daemon(
                    gate, start=start, share=number / len(works), jitter=jitter
                )
                for number, work in enumerate(works)
            ]
            health = Healths({work.account.name: work.monitor.health for work in works})
            metrics = Together([work.monitor.metrics for work in works])
            metrics.register_process()
            watchdog = systemd.watchdog and systemd.watchdog / 2
            async with (
                serving_http(settings, server, health, metrics),
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_handle_signals, daemons, tasks.cancel_scope)
                tasks.start_soon(keep_alive, notifier, health, watchdog)
                for work in works:
                    await work.update_metrics()
                notifier.ready()
                async with anyio.create_task_group() as running:
                    for work, daemon in zip(works, daemons, strict=True):
                        running.start_soon(_work_for, work.account, daemon)
                notifier.stopping()
                tasks.cancel_scope.cancel()
    _log.info("daemon.ended")


async def _work_for(account: Account, daemon: Daemon) -> None:
    """Do the runs of an account; each line of the log names it."""
    with bound_contextvars(account=account.name):
        await daemon.work()


async def most_at_once(settings: Settings, server: Server) -> int:
    """Return how many accounts may be crawled side by side; a database that is away is no fault."""
    wanted = min(len(settings.accounts), settings.accounts_at_once)
    if wanted == 1:
        return 1
    try:
        return await accounts_at_once(server, wanted)
    except DatabaseError:  # each run says so, and goes on when it is back
        return wanted


@contextlib.asynccontextmanager
async def serving_http(
    settings: Settings, server: Server, health: Condition, metrics: Together
) -> AsyncIterator[None]:
    """Serve health and metrics over HTTP within, where the settings ask for it."""
    if settings.http is None:
        yield
        return
    async with listening(settings.http, server, health, metrics) as url:
        _log.info("http.listening", address=url)
        if is_exposed(url):
            _log.warning(
                "http.exposed",
                address=url,
                advice="whoever reaches it may read health and metrics, without a password: keep "
                "it behind a firewall",
            )
        yield


async def _handle_signals(daemons: Sequence[Daemon], scope: anyio.CancelScope) -> None:
    """SIGHUP: run now. SIGTERM, SIGINT: end when what was read is stored; twice: at once."""
    ending = False
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                for daemon in daemons:
                    daemon.run_now()
            elif ending:
                scope.cancel()
            else:
                ending = True
                name = signal.Signals(number).name
                _log.info("daemon.ending", signal=name)
                for daemon in daemons:
                    daemon.end(name)


class _Daily(msgspec.Struct, kw_only=True):
    """What the daemon does for an account: its runs, and once a day what is due between two."""

    work: Work
    timing: Timing
    prune_due: float = 0.0
    """When history is deleted next, by the monotonic clock."""

    def daemon(
        self, gate: anyio.Semaphore, *, start: float, share: float, jitter: float | None
    ) -> Daemon:
        """Return what does its runs: the first at ``start``, the others a share of the interval on.

        So accounts of one interval take turns. ``jitter`` is in seconds (None: the usual one).
        """
        every, monitor = self.work.account.every, self.work.monitor
        schedule = Schedule(
            every=every,
            jitter=min(self.timing.jitter, every / 10) if jitter is None else jitter,
            start=start + share * every,
            timing=self.timing,
        )
        return Daemon(
            self.work.once, self.between_runs, schedule=schedule, monitor=monitor, gate=gate
        )

    async def between_runs(self, stopped: Callable[[], bool]) -> None:
        """Update what metrics show of the zones; once a day, delete what is too old to be kept."""
        await self.work.update_metrics()
        if time.monotonic() >= self.prune_due and await self.work.prune(stopped):
            self.prune_due = time.monotonic() + self.timing.prune
