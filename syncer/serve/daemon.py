"""The daemon: a run at start, then at its moments, one at a time, until it is asked to end."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Awaitable, Callable

import anyio
import msgspec
import structlog

from syncer.core.errors import ConfigError, Interrupted, LockHeld, SyncerError, leaves_of
from syncer.core.model import Fault
from syncer.serve.health import Health, Healths
from syncer.serve.metrics import Metrics, ended_by
from syncer.serve.schedule import Ended, Schedule
from syncer.serve.systemd import Notifier
from syncer.sync.report import Report
from syncer.sync.stop import STOPPED, Stop

_log = structlog.get_logger()


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: its status (``held``: another run was at work), and ``result``, one line."""

    status: str
    exit_code: int
    ended: Ended
    result: str
    report: Report | None = None


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that shows how the daemon is: health over HTTP, metrics, systemd."""

    health: Health
    metrics: Metrics
    systemd: Notifier
    account: str | None = None
    """Whose runs they are, where there are several."""

    def run_ended(self, end: RunEnd, *, seconds: float) -> None:
        """Show how a run ended, and how long it took."""
        whose = "" if self.account is None else f"{self.account}: "
        self.health.ended(end.result, succeeded=end.status == "succeeded")
        self.metrics.run_ended(
            end.status, exit_code=end.exit_code, seconds=seconds, report=end.report
        )
        self.systemd.status(whose + end.result)


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
        try:
            end = await self._in_turn(stop)
        except SyncerError as error:
            if isinstance(error, ConfigError) and not self._monitor.health.has_succeeded:
                raise
            end = _of_error(error)
        except Exception as error:  # noqa: BLE001  (a bug of ours ends its run, not the daemon)
            end = _of_error(_unforeseen(error))
        finally:
            self._stop = None
        self._monitor.run_ended(end, seconds=self._now() - self._started)
        return end

    async def _in_turn(self, stop: Stop) -> RunEnd:
        """Do a run as soon as there is room for it beside those of other accounts."""
        if not await stop.interruptible(self._gate.acquire):
            raise Interrupted("asked to stop before the run began; nothing was done")
        try:
            self._started = self._now()
            with self._monitor.health.running():
                return _of_report(await self._once(stop))
        finally:
            self._gate.release()

    async def _do_between(self) -> None:
        """Do what is done between runs; what fails there is logged, and done after the next run."""
        try:
            await self._between(lambda: self._ending)
        except Exception as error:  # noqa: BLE001  (as above)
            named = error if isinstance(error, SyncerError) else _unforeseen(error)
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


def _of_report(report: Report) -> RunEnd:
    ended: Ended = "failed" if report.status == "failed" else "done"
    return RunEnd(
        status=report.status,
        exit_code=report.exit_code,
        ended="refused" if report.refused else ended,
        result=_summary(report),
        report=report,
    )


def _of_error(error: SyncerError) -> RunEnd:
    result = str(error)
    ended: Ended = "done"
    if isinstance(error, LockHeld):  # another run does our work
        _log.warning("run.left_out", error_message=result)
    elif isinstance(error, Interrupted):  # we were asked to end before the run began
        _log.info("run.left_out", error_message=result)
    else:
        ended = "failed"
        _log.error("run.failed", error_message=result)
    status, exit_code = ended_by(error)
    return RunEnd(status=status, exit_code=exit_code, ended=ended, result=result)


def _unforeseen(error: Exception) -> SyncerError:
    """Return an error that has no name as one line; where it was raised is logged at debug."""
    _log.debug("error.unforeseen", exc_info=error)
    said = {f"{type(each).__name__}: {' '.join(str(each).split())}" for each in leaves_of(error)}
    return SyncerError(
        f"not foreseen, please report it: {'; '.join(sorted(said))} "
        "(SYNCER_LOG_LEVEL=debug shows where)"
    )


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
    systemd: Notifier,
    health: Healths,
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
