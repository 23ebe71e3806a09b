"""One run of one account, from its place in the database to its end: ``run_once``.

Every command that crawls calls it and nothing else. It shares nothing with another run in the same
process but what is process-wide on purpose: the known secrets, and who collects spans.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator

import anyio
import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from syncer.core.errors import DatabaseGone, Denied, Interrupted, unwrapped
from syncer.core.model import STOPPED, Fault
from syncer.secrets import redacted
from syncer.store.clock import Timeline
from syncer.store.connection import Server
from syncer.store.lock import session_name
from syncer.store.runs import Basis, Run, begin, begin_dry_run
from syncer.store.writer import Writer
from syncer.sync.crawl import Crawl
from syncer.sync.globs import selects_anything
from syncer.sync.listing import Listings
from syncer.sync.options import RunOptions
from syncer.sync.progress import Progress
from syncer.sync.recording import Recorder
from syncer.sync.report import Report, fault_of
from syncer.sync.stop import Stop
from syncer.tracing import Span, span
from syncer.zenlayer.client import Client, Observer, open_client
from syncer.zenlayer.credentials import KeyPair
from syncer.zenlayer.sources import SOURCES

_log = structlog.get_logger()


async def run_once(
    options: RunOptions,
    server: Server,
    *,
    stop: Stop,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Report:
    """Do one run and return its report; of an account in which nothing is selected none is begun.

    Raises ConfigError, LockHeld, DatabaseError, Superseded, or Interrupted where it was stopped
    before it began; a refusal by the API is a report with status ``failed``.
    """
    started = time.monotonic()
    with (
        bound_contextvars(account=options.account),
        span("run", {"syncer.account": options.account}) as run_span,
        unwrapped(),
    ):
        async with (
            open_client(options.api, run_timeout=options.run_timeout, observer=observer) as client,
            anyio.create_task_group() as tasks,
        ):
            listings = Listings(client, options.selection.services, stop)
            tasks.start_soon(listings.fetch)  # meanwhile the run begins
            report = Report(account=options.account, run_id=None)
            if not await selects_anything(options, server, listings, report):
                return report
            async with _begun(options, server, stop) as (run, basis):
                client.calls.learn(basis.learnt)
                report.run_id = run.run_id if run else None
                report.clock_behind = basis.clock_behind
                ending = _Ending(client=client, stop=stop, span=run_span, started=started)
                async with (
                    ending.recorded(report, run, abort_timeout=options.tuning.abort),
                    _open_writer(options, server, run, basis.timeline) as writer,
                ):
                    crawl = Crawl(
                        options=options,
                        client=client,
                        listings=listings,
                        writer=writer,
                        recorder=Recorder(writer, report),
                        timeline=basis.timeline,
                        report=report,
                        stop=stop,
                        progress=progress,
                    )
                    await _work(crawl, server)
    return report


@contextlib.asynccontextmanager
async def _begun(
    options: RunOptions, server: Server, stop: Stop
) -> AsyncIterator[tuple[Run | None, Basis]]:
    """Begin the run, unless it is stopped while it waits for locks; a dry run only looks."""
    if options.dry_run:
        yield None, await begin_dry_run(server, options.account)
        return
    begun: list[tuple[Run, Basis]] = []
    async with contextlib.AsyncExitStack() as stack:

        async def enter() -> None:
            run = begin(
                server,
                options.account,
                run_timeout=options.run_timeout,
                selection=msgspec.to_builtins(options.selection),
            )
            begun.append(await stack.enter_async_context(run))

        if not await stop.interruptible(enter):
            raise Interrupted("asked to stop before the run began; nothing was done")
        ((run, basis),) = begun
        stop.listeners.append(
            lambda reason: run.shorten_waits() if reason.code == STOPPED else None
        )
        yield run, basis


@contextlib.asynccontextmanager
async def _open_writer(
    options: RunOptions, server: Server, run: Run | None, timeline: Timeline
) -> AsyncIterator[Writer]:
    account, full, credentials = options.account, options.selection.full, options.api.credentials
    name = f"{session_name(run.run_id, account)} writer" if run else "syncer dry run"
    async with server.pool(size=options.tuning.writers, name=name) as pool:
        yield Writer(
            server,
            pool,
            run,
            account,
            timeline=timeline,
            guard=options.guard,
            parsers={name: source.parser for name, source in SOURCES.items()},
            access_key_id=credentials.key_id if isinstance(credentials, KeyPair) else None,
            full=full,
        )


async def _work(crawl: Crawl, server: Server) -> None:
    """Do the pass; where even the writing does not end in the run's grace, give up."""
    run_timeout = crawl.options.run_timeout
    with anyio.move_on_after(run_timeout + server.timing.grace(run_timeout)) as scope:
        await crawl.work()
    if scope.cancelled_caught:
        raise DatabaseGone(f"the database at {server.where} did not take what was read in time")


class _Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run: its report is concluded, stored and logged, whatever ended the run."""

    client: Client
    stop: Stop
    span: Span
    started: float

    @contextlib.asynccontextmanager
    async def recorded(
        self, report: Report, run: Run | None, *, abort_timeout: float
    ) -> AsyncIterator[None]:
        """Do the pass within, then end the run. A refusal by the API is no error any more.

        ``abort_timeout`` is the most seconds that the end takes where the run is given up at once.
        """
        timeout = math.inf
        with bound_contextvars(run_id=report.run_id):
            self.span.set_attributes({"syncer.run_id": report.run_id})
            try:
                with unwrapped():
                    yield
            except Denied as error:
                report.fail(fault_of(error), refused=True)
            except BaseException as error:
                if isinstance(error, anyio.get_cancelled_exc_class()):
                    timeout = abort_timeout
                message = redacted(str(error))[:500]
                report.fail(Fault(code=type(error).__name__.upper(), message=message))
                raise
            finally:
                self._conclude(report)
                if run is not None:
                    with anyio.move_on_after(timeout, shield=True):
                        await run.finish(
                            report.status,
                            report.counts,
                            fault=report.fault,
                            learnt=self.client.calls.learnt,
                        )
                _log.info("run.finished", **report.wide())

    def _conclude(self, report: Report) -> None:
        report.conclude(
            calls=self.client.calls.made,
            retries=self.client.calls.retries,
            stopped=self.stop.reason if self.stop.cut else None,
            seconds=time.monotonic() - self.started,
        )
        fields = report.wide()
        self.span.set_attributes({f"syncer.{name}": fields[name] for name in fields})
        self.span.set_fault(report.fault)
