"""The only wiring: settings to a database, a run, and the signals that end it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import anyio
import structlog

from syncer.config.accounts import Account
from syncer.config.settings import Settings
from syncer.core.errors import ConfigError, Interrupted, unwrapped
from syncer.core.model import STOPPED, Fault
from syncer.store import clock_repair, retention, schedule
from syncer.store.connection import Server
from syncer.store.fitness import accounts_at_once
from syncer.store.open import open_server, open_store, open_to_compare
from syncer.store.queue import INSTALL, Queue
from syncer.sync.accounts import Ended, run_all
from syncer.sync.options import RunOptions
from syncer.sync.progress import Progress
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.selection import Selection
from syncer.sync.stop import Stop
from syncer.zenlayer.client import Observer
from syncer.zenlayer.sources import SOURCES
from syncer.zenlayer.transport import greet

T = TypeVar("T")
_log = structlog.get_logger()


def run_options(
    account: Account,
    *,
    zones: tuple[str, ...] = (),
    not_zones: tuple[str, ...] = (),
    full: bool = False,
    dry_run: bool = False,
    beside: bool = False,
) -> RunOptions:
    """Return what a run of the account is to do, as in ``RunOptions`` and ``Selection``."""
    return RunOptions(
        account=account.name,
        api=account.api,
        selection=Selection(services=account.services, zones=zones, not_zones=not_zones, full=full),
        page_size=account.page_size,
        run_timeout=account.run_timeout,
        guard=account.guard,
        dry_run=dry_run,
        beside=beside,
    )


async def sync(
    settings: Settings, runs: Sequence[RunOptions], *, progress: Progress | None = None
) -> list[Ended]:
    """Do a run of each account, side by side, and return how each ended.

    After SIGTERM or SIGINT they make no more calls; what was read is still written. A second
    signal gives up at once. A single run raises what ends it.
    """
    settings.require_credentials()

    writes = not all(options.dry_run for options in runs)
    opened = (open_server if writes else open_to_compare)(settings.database)

    async def work(stop: Stop) -> list[Ended]:
        async with (
            opened as server,
            _observers(settings, runs, server) as observed,
        ):

            def run(options: RunOptions, stop: Stop) -> Awaitable[Report]:
                return observed(
                    options.account,
                    lambda observer: run_once(
                        options, server, stop=stop, progress=progress, observer=observer
                    ),
                )

            if len(runs) == 1:
                report = await run(runs[0], stop)
                return [Ended(account=report.account, report=report)]
            wanted = min(len(runs), settings.accounts_at_once)
            at_once = await accounts_at_once(server, wanted)
            return await run_all(
                {options.account: partial(run, options) for options in runs},
                at_once=at_once,
                stop=stop,
            )

    with traced(settings):
        return await _until_stopped(work)


_Observed = Callable[[str, Callable[[Observer | None], Awaitable[Report]]], Awaitable[Report]]
"""Does a run of an account with who observes its calls."""


@contextlib.asynccontextmanager
async def _observers(
    settings: Settings, runs: Sequence[RunOptions], server: Server
) -> AsyncIterator[_Observed]:
    """Let runs within be observed, if there is a metrics file to be written after them."""
    if settings.metrics_file is None or any(options.dry_run for options in runs):
        yield lambda _, run: run(None)
        return
    from syncer.serve import textfile  # noqa: PLC0415  (start-up: only where asked for)

    names = {options.account for options in runs}
    accounts = [account for account in settings.accounts if account.name in names]
    async with textfile.measured(
        settings.metrics_file, accounts, server, others=settings.others
    ) as metrics:
        yield lambda account, run: textfile.observed(metrics[account], run)


async def serve(settings: Settings, *, jitter: float | None = None) -> None:
    """Run every account at its interval until SIGTERM or SIGINT; SIGHUP runs at once.

    Raises ConfigError for what must be fixed before any run can succeed.
    """
    from syncer.serve import service  # noqa: PLC0415  (start-up: aiohttp's server, metrics)

    settings.require_credentials()
    with traced(settings):
        await service.serve(settings, _run_of, jitter=jitter)


async def work(settings: Settings) -> None:
    """Crawl accounts whose turn it is, beside other workers, until SIGTERM or SIGINT.

    Raises ConfigError for what must be put right before any account can be taken.
    """
    try:
        from syncer.serve import worker  # noqa: PLC0415  (start-up: an extra)
    except ImportError as error:
        raise ConfigError(f"a worker needs procrastinate ({error}): {INSTALL}") from error

    settings.require_credentials()
    with traced(settings):
        await worker.work(settings, _run_of)


async def forget(settings: Settings, account: str) -> None:
    """Have an account crawled by no worker any more. Raises ConfigError, LockHeld."""
    async with (
        open_store(settings.database) as server,
        Queue(server) as queue,
        queue.transaction() as connection,
    ):
        await schedule.forget(connection, account)


def _run_of(account: Account, server: Server, **how: Any) -> Awaitable[Report]:  # noqa: ANN401
    return run_once(run_options(account), server, **how)


async def prune(
    settings: Settings, *, all_accounts: bool, thin_after: float, dry_run: bool
) -> retention.Pruned:
    """Delete history too old to be kept; SIGTERM and SIGINT end it between two sets.

    Each account keeps it as long as its settings say; one for which nothing is said is left alone.
    """
    todo = _to_prune(settings, all_accounts=all_accounts)

    async def work(stop: Stop) -> retention.Pruned:
        total = retention.Pruned()
        async with open_store(settings.database) as server:
            for account, keep in todo:
                total += await retention.prune(
                    server,
                    keep=keep,
                    account=account,
                    must_be_stored=len(todo) == 1,
                    thin_after=timedelta(seconds=thin_after),
                    dry_run=dry_run,
                    vacuum=settings.database.embedded,  # autovacuum has no time there
                    stopped=lambda: stop.reason is not None,
                )
                if total.stopped:
                    break
        return total

    return await _until_stopped(work)


def _to_prune(settings: Settings, *, all_accounts: bool) -> list[tuple[str | None, timedelta]]:
    """Return accounts (None: every one that is stored) and how long their history is kept."""
    if not all_accounts:
        kept = [account for account in settings.accounts if account.keep is not None]
        return [(each.name, each.require_keep()) for each in kept or settings.accounts]
    times = {account.require_keep() for account in settings.accounts}
    if len(times) > 1:
        raise ConfigError("the accounts keep history for different times: say --keep for all")
    return [(None, times.pop())]


async def repair_clock(settings: Settings, *, by: str | None) -> clock_repair.Plan:
    """Repair the stamps that are later than the clock, in the name of ``by`` (None: only plan it).

    The clock is believed where the database, this host and the API agree. Raises ClocksDisagree,
    LockHeld, ApiError, DatabaseError.
    """
    account = settings.accounts[0]
    async with open_store(settings.database) as server:
        reply = await greet(account.api, SOURCES[account.services[0]])
        if by is None:
            return await clock_repair.plan(server, api_ahead=reply.clock_ahead)
        return await clock_repair.repair(server, api_ahead=reply.clock_ahead, by=by)


async def _until_stopped(work: Callable[[Stop], Awaitable[T]]) -> T:
    """Do work that the first signal stops and the second gives up. Raises Interrupted."""
    stop = Stop()
    results: list[T] = []
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, stop, tasks.cancel_scope)
            results.append(await work(stop))
            tasks.cancel_scope.cancel()
    if not results:  # the second signal cancelled the task group
        raise Interrupted("asked twice to end: gave up at once; what was stored is whole")
    return results[0]


async def _stop_on_signal(stop: Stop, scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        asked = False
        async for number in signals:
            if asked:
                scope.cancel()
                return
            asked = True
            name = signal.Signals(number).name
            _log.info("run.stopping", signal=name)
            stop.now(Fault(code=STOPPED, message=f"the run was asked to stop ({name})"))


@contextlib.contextmanager
def traced(settings: Settings) -> Iterator[None]:
    """Send traces where they are asked for; where that cannot be done, only warn."""
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
