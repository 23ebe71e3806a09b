"""``syncer worker``: crawls accounts whose turn it is, beside workers on any number of machines.

At each tick, a timer of its own, a worker says that it is there; one of all workers then hands out
the accounts that are due, through the queue. Whoever takes one out crawls it, if it still is its
turn; the run itself is as everywhere. Whatever dies on the way, the account is due again at a later
tick: its turn was taken, and no run of it is at work.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup
from structlog.contextvars import bound_contextvars

from syncer import __version__
from syncer.config.machine import supervisor
from syncer.config.settings import Settings
from syncer.core.errors import ConfigError, DatabaseError, SyncerError, unwrapped
from syncer.core.model import STOPPED, Fault
from syncer.serve.daemon import keep_alive
from syncer.serve.distribution import Distributor
from syncer.serve.health import Health
from syncer.serve.metrics import Together
from syncer.serve.outcome import RunEnd, outcome
from syncer.serve.schedule import Schedule
from syncer.serve.service import most_at_once, serving_http
from syncer.serve.systemd import Notifier
from syncer.serve.timing import Timing
from syncer.serve.work import Work, work_of
from syncer.serve.worker_metrics import Distribution
from syncer.store import queue as queue_schema
from syncer.store import schedule
from syncer.store.connection import Server
from syncer.store.open import open_server
from syncer.store.queue import Queue
from syncer.store.schedule import Turn
from syncer.sync.report import Report
from syncer.sync.stop import Stop

_MISSED_TICKS: Final = 6
"""As many ticks without a try: it is not alive. Half as many that failed: it is not ready."""
_log = structlog.get_logger()


async def work(
    settings: Settings,
    run: Callable[..., Awaitable[Report]],
    *,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> None:
    """Crawl accounts whose turn it is until SIGTERM or SIGINT: then end with what is under way.

    A second signal stops the runs under way, a third gives them up; SIGHUP makes all accounts due.
    ``run`` is as for ``service.serve``. Raises ConfigError for what must be put right first.
    """
    systemd = supervisor()
    notifier = Notifier(systemd.socket)
    with unwrapped():
        async with open_server(settings.database) as server:
            at_once = await most_at_once(settings, server)
            place = Server(settings.queue) if settings.queue is not None else server
            works = {
                account.name: work_of(settings, account, server, run, notifier)
                for account in settings.accounts
            }
            async with Queue(place) as queue:
                worker = _Worker(server, queue, works, at_once=at_once, timing=timing)
                metrics = Together(
                    [each.monitor.metrics for each in works.values()],
                    shown=worker.distribution.was_here,
                )
                metrics.registry.register(worker.distribution)
                metrics.register_process()
                watchdog = systemd.watchdog and systemd.watchdog / 2
                async with (
                    serving_http(settings, server, worker.health, metrics),
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(_handle_signals, worker)
                    tasks.start_soon(keep_alive, notifier, worker.health, watchdog)
                    await worker.work(tasks, notifier)
                    notifier.stopping()
                    tasks.cancel_scope.cancel()
    _log.info("worker.ended")


async def _handle_signals(worker: _Worker) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                worker.hasten()
            else:
                worker.end(signal.Signals(number).name)


class _Worker:
    """The worker of this process, from its first tick to its end."""

    def __init__(
        self,
        server: Server,
        queue: Queue,
        works: Mapping[str, Work],
        *,
        at_once: int,
        timing: Timing,
    ) -> None:
        host = socket.gethostname()
        self._me = schedule.Worker(
            name=f"{host}.{os.getpid()}.{secrets.token_hex(2)}",
            host=host,
            pid=os.getpid(),
            version=__version__,
            accounts=tuple(works),
            at_once=at_once,
        )
        self._server = server
        self._queue = queue
        self._works = works
        self._timing = timing
        self._distributor = Distributor(
            queue, self._do, accounts=list(works), at_once=at_once, timing=timing
        )
        self._asked_to_end = 0
        self._hasten = False
        self._wake = anyio.Event()
        self._runs: dict[Stop, anyio.CancelScope] = {}
        self.health = _Health(works, timing)
        self.distribution = Distribution(self._me.name, holds=timing.unseen)

    def end(self, why: str) -> None:
        """Take no more accounts; asked again, stop the runs under way; once more, give them up."""
        self._asked_to_end += 1
        self.health.ending = True
        self._wake.set()
        self._distributor.stop()
        _log.info("worker.ending", signal=why, under_way=len(self._runs))
        for stop, scope in self._runs.items():
            if self._asked_to_end > 2:  # noqa: PLR2004
                scope.cancel()
            elif self._asked_to_end > 1:
                stop.now(Fault(code=STOPPED, message=f"the worker was asked twice to end ({why})"))

    def hasten(self) -> None:
        """Let all accounts of this worker be due."""
        self._hasten = True
        self._wake.set()

    async def work(self, tasks: TaskGroup, notifier: Notifier) -> None:
        """Take accounts and crawl them until asked to end. Raises ConfigError before the first."""
        attempt = 0
        ready = False
        while not self._asked_to_end:
            try:
                await self._join(first=not ready)
                if not ready:
                    ready = True
                    tasks.start_soon(self._tick_on)
                    notifier.ready()
                    _log.info(
                        "worker.ready",
                        worker=self._me.name,
                        accounts=len(self._works),
                        names=list(self._works),
                    )
                attempt = 0
                await self._distributor.work()
            except (DatabaseError, ConfigError) as error:
                if isinstance(error, ConfigError) and not ready:
                    raise
                attempt += 1
                _log.warning("queue.not_available", error_message=str(error))
                self.health.failed(str(error))
                await self._wait(self._timing.queue.delay(attempt, random=random.random()))  # noqa: S311
        await self._leave()

    async def _join(self, *, first: bool) -> None:
        """Say that this worker is there, and the first time, what is to be crawled."""
        async with self._queue.transaction() as connection:
            await queue_schema.check(connection, self._queue.where)
            if not await schedule.is_in(self._server, connection):
                raise ConfigError(
                    f"the queue at {self._queue.where} is in another database than the inventory "
                    f"at {self._server.where}: correct SYNCER_QUEUE_URL"
                )
            if first:
                every = {name: work.account.every for name, work in self._works.items()}
                await schedule.add(connection, every)
        await self._tick(wait=True)

    async def _leave(self) -> None:
        with anyio.move_on_after(self._timing.poll):
            try:
                async with self._queue.transaction() as connection:
                    await schedule.say_gone(connection, self._me.name)
            except DatabaseError as error:
                _log.debug("worker.not_gone", error_message=str(error))

    async def _tick_on(self) -> None:
        while True:
            await self._wait(self._timing.tick)
            self._wake = anyio.Event()
            try:
                await self._tick()
            except (DatabaseError, ConfigError) as error:
                self.health.failed(str(error))

    async def _tick(self, *, wait: bool = False) -> None:
        """Say that this worker is there; hand out what is due, unless another worker just did.

        ``wait``: until that is done, so that there is something to be taken at once.
        """
        ending = self._asked_to_end > 0
        async with self._queue.transaction() as connection:
            await schedule.say_seen(connection, self._me, draining=ending)
            if self._hasten:
                await schedule.hasten(connection, list(self._works))
                self._hasten = False
            if await schedule.claim(connection, self._timing.tick / 2, wait=wait):
                await schedule.clear(connection, self._timing.unseen)
                due = await schedule.due(connection, self._timing.unseen)
                await self._distributor.hand_out(connection, due)
            self.distribution.take(
                await schedule.accounts(connection), await schedule.workers(connection)
            )
        self.health.ticked()

    async def _wait(self, seconds: float) -> None:
        """Wait, or until something is to be done at once."""
        with anyio.move_on_after(seconds):
            await self._wake.wait()

    async def _do(self, account: str) -> None:
        """Crawl an account, if it is its turn."""
        work = self._works[account]
        stop = Stop()
        with bound_contextvars(account=account), anyio.CancelScope() as scope:
            turn = await self._taken(account)
            if turn is None:
                _log.debug("turn.passed")
                return
            self._runs[stop] = scope
            try:
                await self._crawl(work, turn, stop)
            finally:
                del self._runs[stop]

    async def _taken(self, account: str) -> Turn | None:
        try:
            async with self._queue.transaction() as connection:
                return await schedule.take(connection, account, self._me.name, self._timing.unseen)
        except (DatabaseError, ConfigError) as error:  # it stays due
            _log.warning("turn.not_taken", error_message=str(error))
            return None

    async def _crawl(self, work: Work, turn: Turn, stop: Stop) -> None:
        if not self.distribution.was_here(turn.account):
            work.monitor.metrics.begin_anew()
            await work.update_metrics()
        started = time.monotonic()
        self.distribution.took(turn.account)
        with work.monitor.health.running():
            end = await outcome(work.once(stop))
        seconds = time.monotonic() - started
        work.monitor.run_ended(end, seconds=seconds)
        self.health.last_result = f"{turn.account}: {end.result}"
        await self._note_end(turn, end, clock=turn.clock + seconds)
        await work.update_metrics()
        if turn.prune_due and await work.prune(lambda: self._asked_to_end > 0):
            await self._note(schedule.say_pruned, turn.account)

    async def _note_end(self, turn: Turn, end: RunEnd, *, clock: float) -> None:
        """Say when the account is due again: accounts of one interval are spread over it."""
        every = turn.every
        plan = Schedule(
            every=every,
            jitter=min(self._timing.jitter, every / 10),
            start=zlib.crc32(turn.account.encode()) % every,
            failures=turn.failures,
            timing=self._timing,
        )
        due = plan.after(clock, end.ended, random=random.random())  # noqa: S311
        _log.info("run.scheduled", seconds=round(due - clock))
        await self._note(
            schedule.end, turn, due=due, failures=plan.failures, result=end.result[:500]
        )

    async def _note(
        self, statement: Callable[..., Awaitable[None]], *what: object, **how: object
    ) -> None:
        """Write into the schedule; where that cannot be done the account is crawled again."""

        def failed(error: SyncerError) -> None:
            _log.warning("turn.not_noted", error_message=str(error))

        await self._queue.insist(
            lambda connection: statement(connection, *what, **how), self._timing.queue, failed
        )


class _Health:
    """The health of a worker: it ticks, and no run of it is stuck."""

    accounts: Mapping[str, Health] = {}
    """Whether what is stored is fresh is no matter of one worker."""

    def __init__(self, works: Mapping[str, Work], timing: Timing) -> None:
        self._works = works
        self._limit = _MISSED_TICKS * timing.tick
        self._tried = self._ticked = time.monotonic()
        self._why: str | None = "it has not begun"
        self.last_result = "no run has ended yet"
        self.ending = False

    def ticked(self) -> None:
        """A tick was done."""
        self._tried = self._ticked = time.monotonic()
        self._why = None

    def failed(self, why: str) -> None:
        """A tick was tried, and was not done."""
        self._tried = time.monotonic()
        self._why = why

    @property
    def alive(self) -> bool:
        """Whether ticks are tried, and no run is under way that should have ended."""
        ticks = time.monotonic() - self._tried < self._limit
        return ticks and all(work.monitor.health.alive for work in self._works.values())

    def not_ready(self) -> str | None:
        """Return why no accounts are taken, or None."""
        if self.ending:
            return "it was asked to end, and takes no more accounts"
        if self._why is not None and time.monotonic() - self._ticked >= self._limit / 2:
            return self._why
        return None
