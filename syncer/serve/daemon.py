"""The daemon: a run at start, then at its moments, one at a time, until it is told to end."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

import anyio
import structlog

from syncer.core.errors import (
    ConfigError,
    Interrupted,
    LockHeld,
    SyncerError,
)
from syncer.core.model import Fault
from syncer.serve.http import State
from syncer.serve.metrics import Metrics, ended_by
from syncer.serve.schedule import Ended, Schedule
from syncer.serve.systemd import Notify
from syncer.sync.report import Report
from syncer.sync.stop import STOPPED, Stop

_log = structlog.get_logger()


class Daemon:
    """Does runs (``once``) by a schedule.

    ``between`` is done after a run. ``limit`` is how long a run may take before it is stuck.
    ``now`` and ``sleep`` are the clock, in seconds.
    """

    def __init__(
        self,
        once: Callable[[Stop], Awaitable[Report]],
        between: Callable[[], Awaitable[None]],
        *,
        schedule: Schedule,
        limit: float,
        state: State,
        metrics: Metrics,
        notify: Notify,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._once = once
        self._between = between
        self._schedule = schedule
        self._limit = limit
        self._state = state
        self._metrics = metrics
        self._notify = notify
        self._now = now
        self._sleep = sleep
        self._stop: Stop | None = None
        self.ending = False
        self._wake = anyio.Event()

    def run_now(self) -> None:
        """Do the next run at once, or as soon as the one that is on has ended."""
        self._wake.set()

    def end(self, why: str) -> None:
        """Ask no more, store what was read, and end."""
        self.ending = True
        self._wake.set()
        if self._stop is not None:
            self._stop.now(Fault(code=STOPPED, message=f"the daemon was told to stop ({why})"))

    async def work(self) -> None:
        """Do runs until told to end. Raises ConfigError: what must be mended before any run.

        Once a run succeeded it is tried again as well: a password that is being changed, or a
        database that is being restored, must not end a daemon that nobody restarts (exit code 2).
        """
        while not self.ending:
            ended = await self._run()
            if not self.ending:
                await self._between()
            due = self._schedule.after(self._now(), ended, random=random.random())  # noqa: S311
            await self._wait(due)

    async def _run(self) -> Ended:
        self._wake = anyio.Event()
        self._stop = stop = Stop()
        self._state.stuck_at = time.monotonic() + self._limit
        started = time.monotonic()
        report: Report | None = None
        try:
            report = await self._once(stop)
            status, result, code = report.status, _summary(report), report.exit_code
            ended: Ended = "refused" if report.refused else _ended(report.status)
        except LockHeld as error:  # another run does our work
            (status, code), result, ended = ended_by(error), str(error), "done"
            _log.warning("run.left_out", error_message=result)
        except Interrupted as error:  # we were told to end before the run began
            (status, code), result, ended = ended_by(error), str(error), "done"
            _log.info("run.left_out", error_message=result)
        except SyncerError as error:
            if isinstance(error, ConfigError) and self._state.last_success is None:
                raise
            (status, code), result, ended = ended_by(error), str(error), "failed"
            _log.error("run.failed", error_message=result)
        finally:
            self._stop = None
            self._state.stuck_at = None
        if status == "succeeded":
            self._state.last_success = time.monotonic()
        self._state.last_result = result
        self._metrics.ended(
            status, exit_code=code, seconds=time.monotonic() - started, report=report
        )
        self._notify.status(result)
        return ended

    async def _wait(self, due: float) -> None:
        """Wait until a moment, or until told to run or to end."""
        if self.ending:
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


def _ended(status: str) -> Ended:
    return "failed" if status == "failed" else "done"


def _summary(report: Report) -> str:
    counts = report.counts
    changes = counts.appeared + counts.changed + counts.removed + counts.returned
    seen = f"{counts.zones} zones, {counts.images} images, {changes} changes"
    parts = [f"run {report.run_id} {report.status}: {seen}"]
    if counts.withheld:
        parts.append(f"{counts.withheld} removals withheld")
    if report.fault is not None:
        parts.append(report.fault.message)
    return "; ".join(parts)


async def keep_alive(
    notify: Notify,
    state: State,
    interval: float | None,
    *,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Tell systemd every ``interval`` seconds that the daemon makes progress, while it does.

    A loop that is stuck cannot send; a run that is past all its time is not told as progress.
    """
    while interval is not None:
        if state.alive:
            notify.alive()
        await sleep(interval)
