"""One pass over everything asked for: list, read, judge, write, remove, report.

``run_once`` is the whole of a run; every command that crawls calls it and nothing else.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator
from typing import Final

import anyio
import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from syncer.core.errors import DatabaseGone, Denied, Interrupted, unwrapped
from syncer.core.model import Fault
from syncer.secrets import redacted
from syncer.store.connection import Server
from syncer.store.lock import session_name
from syncer.store.runs import Basis, Run, begin, begin_dry_run
from syncer.store.writer import Writer
from syncer.sync.crawl import WRITERS, Crawl, Listings, Progress
from syncer.sync.options import RunOptions
from syncer.sync.report import Report
from syncer.sync.stop import STOPPED, Stop
from syncer.tracing import Span, span
from syncer.zenlayer.client import Client, Observer, open_client

_ABORT_TIMEOUT: Final = 1.0
"""Seconds that a run which is told twice to stop takes to record its end."""
_log = structlog.get_logger()


async def run_once(
    options: RunOptions,
    server: Server,
    *,
    stop: Stop,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Report:
    """Do one run and return what it came to.

    Raises ConfigError, LockHeld, DatabaseError, Superseded, or Interrupted where it was told to
    stop before it began; a refusal by the API is a report with status ``failed``.
    """
    started = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(bound_contextvars(account=options.account))
        run_span = stack.enter_context(span("run", {"syncer.account": options.account}))
        stack.enter_context(unwrapped())
        client = await stack.enter_async_context(
            open_client(options.api, run_timeout=options.run_timeout, observer=observer)
        )
        listings = Listings(client, options.selection, stop)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(listings.ask)  # meanwhile the database is made ready
        run, basis = await _begin(options, server, stop, stack)
        client.calls.learn(basis.learnt)
        report = Report(account=options.account, run_id=run.run_id if run else None)
        stack.enter_context(bound_contextvars(run_id=report.run_id))
        run_span.tell({"syncer.run_id": report.run_id})
        async with (
            _concluded(report, run, client, stop, run_span, started),
            _writer(options, server, run) as writer,
        ):
            crawl = Crawl(
                options=options,
                client=client,
                listings=listings,
                writer=writer,
                clock=basis.clock,
                report=report,
                stop=stop,
                progress=progress,
            )
            await _in_time(crawl, server, options.run_timeout)
    return report


async def _begin(
    options: RunOptions, server: Server, stop: Stop, stack: contextlib.AsyncExitStack
) -> tuple[Run | None, Basis]:
    """Begin the run, unless it is told to stop while it waits for locks; a dry run only looks."""
    if options.dry_run:
        return None, await begin_dry_run(server, options.account)
    begun: list[tuple[Run, Basis]] = []

    async def enter() -> None:
        selection = msgspec.to_builtins(options.selection)
        run = begin(server, options.account, run_timeout=options.run_timeout, selection=selection)
        begun.append(await stack.enter_async_context(run))

    if not await stop.guard(enter):
        raise Interrupted("told to stop before the run began; nothing was done")
    ((run, basis),) = begun
    stop.listeners.append(lambda reason: run.shorten_waits() if reason.code == STOPPED else None)
    return run, basis


@contextlib.asynccontextmanager
async def _writer(options: RunOptions, server: Server, run: Run | None) -> AsyncIterator[Writer]:
    account, full = options.account, options.selection.full
    name = f"{session_name(run.run_id, account)} writer" if run else "syncer dry run"
    async with server.pool(size=WRITERS, name=name) as pool:
        yield Writer(server, pool, run, account, full=full)


@contextlib.asynccontextmanager
async def _concluded(  # noqa: PLR0917  (one caller, above)
    report: Report, run: Run | None, client: Client, stop: Stop, run_span: Span, started: float
) -> AsyncIterator[None]:
    """Conclude the report and record the end of the run, whatever ended it."""
    record_timeout = math.inf
    try:
        with unwrapped():
            yield
    except Denied as error:
        report.fail(Fault(code=error.code, message=error.message, request_id=error.request_id))
        report.refused = True
    except BaseException as error:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            record_timeout = _ABORT_TIMEOUT
        report.fail(Fault(code=type(error).__name__.upper(), message=redacted(str(error))[:500]))
        raise
    finally:
        report.conclude(
            calls=client.calls.made,
            retries=client.calls.retries,
            stopped=stop.reason if stop.cut else None,
            seconds=time.monotonic() - started,
        )
        run_span.tell({f"syncer.{name}": value for name, value in report.wide().items()})
        run_span.failed(report.fault)
        if run is not None:
            with anyio.move_on_after(record_timeout, shield=True):
                await run.finish(
                    report.status, report.counts, fault=report.fault, learnt=client.calls.learnt
                )
        _log.info("run.finished", **report.wide())


async def _in_time(crawl: Crawl, server: Server, run_timeout: float) -> None:
    """Do the pass; where even the writing does not end in the run's grace, give up."""
    with anyio.move_on_after(run_timeout + server.timing.grace(run_timeout)) as scope:
        await crawl.work()
    if scope.cancelled_caught:
        raise DatabaseGone(f"the database at {server.where} did not take what was read in time")
