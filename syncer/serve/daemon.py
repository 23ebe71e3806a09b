"""The daemon: a run at start, then at its moments, one at a time, until it is asked to end."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Awaitable, Callable

import anyio
import structlog

from syncer.core.errors import ConfigError, Interrupted, SyncerError
from syncer.core.model import STOPPED, Fault
from syncer.serve.health import Condition
from syncer.serve.outcome import Monitor, RunEnd, outcome, unforeseen
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notifier
from syncer.sync.report import Report
from syncer.sync.stop import Stop

_log = structlog.get_logger()


class Daemon:
    """Does runs (``once``) by a schedule, and between two of them what ``between`` does.

    ``between`` is given a function that returns whether the daemon is to end. A run waits for
    ``gate``, which lets as many daemons of this process run as may at once. ``now`` and ``sleep``
    are the clock, in seconds.
    """

    def __init__(
        self,
        once: Callable[[Stop], Awaitable[Report]],
        between: Callable[[Callable[[], bool]], Awaitable[None]],
        *,
        schedule: Schedule,
        monitor: Monitor,
        gate: anyio.Semaphore | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._once = once
        self._between = between
        self._schedule = schedule
        self._monitor = monitor
        self._gate = anyio.Semaphore(1) if gate is None else gate
        self._now = now
        self._sleep = sleep
        self._stop: Stop | None = None
        self._started = 0.0
        self._ending = False
        self._wake = anyio.Event()

    def run_now(self) -> None:
        """Do the next run at once, or as soon as the one that is under way has ended."""
        self._wake.set()

    def end(self, why: str) -> None:
        """Make no more calls, store what was read, and end."""
        self._ending = True
        self._wake.set()
        if self._stop is not None:
            self._stop.now(Fault(code=STOPPED, message=f"the daemon was asked to stop ({why})"))

    async def work(self) -> None:
        """Do runs until asked to end. Raises ConfigError: what must be fixed before any run.

        Once a run has succeeded, such an error is retried as well: a password that is being
        changed, or a database that is being restored, must not end a daemon that nobody restarts
        (exit code 2).
        """
        while not self._ending:
            end = await self._run()
            if not self._ending:
                await self._do_between()
                gc.collect()  # a run makes little; over months nobody else would look for it
            due = self._schedule.after(self._now(), end.ended, random=random.random())  # noqa: S311
            await self._wait(due)

    async def _run(self) -> RunEnd:
        self._wake = anyio.Event()
        self._stop = stop = Stop()
        self._started = self._now()
        fatal = () if self._monitor.health.has_succeeded else ConfigError
        try:
            end = await outcome(self._in_turn(stop), but=fatal)
        finally:
            self._stop = None
        self._monitor.run_ended(end, seconds=self._now() - self._started)
        return end

    async def _in_turn(self, stop: Stop) -> Report:
        """Do a run as soon as there is room for it beside those of other accounts."""
        if not await stop.interruptible(self._gate.acquire):
            raise Interrupted("asked to stop before the run began; nothing was done")
        try:
            self._started = self._now()
            with self._monitor.health.running():
                return await self._once(stop)
        finally:
            self._gate.release()

    async def _do_between(self) -> None:
        """Do what is done between runs; what fails there is logged, and done after the next run."""
        try:
            await self._between(lambda: self._ending)
        except Exception as error:  # noqa: BLE001  (as above)
            named = error if isinstance(error, SyncerError) else unforeseen(error)
            _log.error("upkeep.failed", error_message=str(named))

    async def _wait(self, due: float) -> None:
        """Wait until a moment, or until asked to run or to end."""
        if self._ending:
            return
        wait = max(0.0, due - self._now())
        _log.info("run.scheduled", seconds=round(wait))
        async with anyio.create_task_group() as tasks:

            async def sleep() -> None:
                await self._sleep(wait)
                tasks.cancel_scope.cancel()

            tasks.start_soon(sleep)
            await self._wake.wait()
            tasks.cancel_scope.cancel()


async def keep_alive(
    systemd: Notifier,
    health: Condition,
    interval: float | None,
    *,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Notify systemd's watchdog every ``interval`` seconds (None: never) while health is alive.

    A loop that is stuck notifies nobody; nor does one whose run should have ended long ago.
    """
    while interval is not None:
        if health.alive:
            systemd.alive()
        await sleep(interval)
