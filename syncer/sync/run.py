"""One pass over everything asked for: list, read, judge, write, remove, report.

``run_once`` is the whole of a run; every command that crawls calls it and nothing else.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Final

import anyio
import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from syncer.config.settings import Settings
from syncer.core.backoff import Backoff
from syncer.core.errors import DatabaseGone, Denied, Interrupted, unwrapped
from syncer.core.model import Fault
from syncer.secrets import redacted
from syncer.store.connection import Server
from syncer.store.lock import session_name
from syncer.store.runs import Run, grace
from syncer.store.start import Known, begin, look
from syncer.store.writer import Writer
from syncer.sync.crawl import WRITERS, Crawl, Listings, Progress
from syncer.sync.report import Report
from syncer.sync.selection import Selection
from syncer.sync.zones import STOPPED, Stop
from syncer.tracing import span
from syncer.zenlayer.client import Observer, open_client
from syncer.zenlayer.limiter import Learnt

_POLICY: Final = Backoff()
_GIVEN_UP: Final = 1.0
"""Seconds that a run which is told twice to stop takes to record its end."""
_log = structlog.get_logger()


async def run_once(
    settings: Settings,
    server: Server,
    selection: Selection,
    *,
    dry_run: bool,
    stop: Stop,
    progress: Progress | None = None,
    policy: Backoff = _POLICY,
    observer: Observer | None = None,
) -> Report:
    """Do one run and return what it came to.

    Raises ConfigError, LockHeld, DatabaseGone, Superseded, or Interrupted where it was told to
    stop before it began; a refusal by the API is a report with status ``failed``.
    """
    settings.require_credentials()
    account, started = settings.account, time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(bound_contextvars(account=account))
        told = stack.enter_context(span("run", {"syncer.account": account}))
        stack.enter_context(unwrapped())
        client = await stack.enter_async_context(
            open_client(settings, policy=policy, observer=observer)
        )
        listings = Listings(client, selection, stop)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(listings.ask)  # meanwhile the database is made ready
        run: Run | None = None
        if dry_run:
            known = await look(server, account)
        else:
            run, known = await _begin(settings, server, selection, stop, stack)
        client.learn(known.learnt)
        patience = math.inf
        report = Report(account=account, run_id=run.run_id if run else None)
        stack.enter_context(bound_contextvars(run_id=report.run_id))
        told.tell({"syncer.run_id": report.run_id})
        try:
            with unwrapped():
                name = f"{session_name(run.run_id, account)} writer" if run else "syncer dry run"
                async with server.pool(size=WRITERS, name=name) as pool:
                    crawl = Crawl(
                        settings=settings,
                        selection=selection,
                        client=client,
                        listings=listings,
                        writer=Writer(server, pool, run, account, full=selection.full),
                        clock=known.clock,
                        report=report,
                        stop=stop,
                        progress=progress,
                    )
                    await _in_time(crawl, server)
        except Denied as error:
            report.fail(Fault(code=error.code, message=error.message, request_id=error.request_id))
            report.refused = True
        except BaseException as error:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                patience = _GIVEN_UP
            report.fail(
                Fault(code=type(error).__name__.upper(), message=redacted(str(error))[:500])
            )
            raise
        finally:
            report.conclude(
                calls=client.calls,
                retries=client.retries,
                stopped=stop.reason if stop.cut else None,
                seconds=time.monotonic() - started,
            )
            told.tell({f"syncer.{name}": value for name, value in report.wide().items()})
            told.failed(report.fault)
            if run is not None:
                await _finish(run, report, client.learnt, patience)
            _log.info("run.finished", **report.wide())
    return report


async def _begin(
    settings: Settings,
    server: Server,
    selection: Selection,
    stop: Stop,
    stack: contextlib.AsyncExitStack,
) -> tuple[Run, Known]:
    """Begin the run, unless it is told to stop while it waits for locks."""
    begun: list[tuple[Run, Known]] = []

    async def enter() -> None:
        asked = msgspec.to_builtins(selection)
        run = begin(server, settings.account, run_timeout=settings.run_timeout, selection=asked)
        begun.append(await stack.enter_async_context(run))

    if not await stop.guard(enter):
        raise Interrupted("told to stop before the run began; nothing was done")
    ((run, known),) = begun
    stop.listeners.append(lambda reason: run.hurry() if reason.code == STOPPED else None)
    return run, known


async def _in_time(crawl: Crawl, server: Server) -> None:
    """Do the pass; where even the writing does not end in the run's grace, give up."""
    limit = crawl.settings.run_timeout + grace(crawl.settings.run_timeout)
    with anyio.move_on_after(limit) as scope:
        await crawl.work()
    if scope.cancelled_caught:
        raise DatabaseGone(f"the database at {server.where} did not take what was read in time")


async def _finish(run: Run, report: Report, learnt: Learnt | None, patience: float) -> None:
    """Record the end of the run, whatever ended it: where that fails, the next run does."""
    fault = report.fault
    with anyio.move_on_after(patience, shield=True):
        await run.finish(
            report.status,
            report.counts,
            code=fault.code if fault else None,
            message=fault.message if fault else None,
            learnt=learnt,
        )
