"""How runs end: with a report or by an error, in one line, and who is shown it."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec
import structlog

from syncer.core.errors import Interrupted, LockHeld, SyncerError, leaves_of
from syncer.serve.health import Health
from syncer.serve.metrics import Metrics, ended_by
from syncer.serve.schedule import Ended
from syncer.serve.systemd import Notifier
from syncer.sync.report import Report

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
        # One zone that fails for days is an alert of its own, and no reason to hold back a new pod
        self.health.ended(end.result, succeeded=end.status in {"succeeded", "partial"})
        self.metrics.run_ended(
            end.status, exit_code=end.exit_code, seconds=seconds, report=end.report
        )
        self.systemd.status(whose + end.result)


async def outcome(
    run: Awaitable[Report], *, but: type[SyncerError] | tuple[type[SyncerError], ...] = ()
) -> RunEnd:
    """Do a run and return how it ended. Errors ``but`` are raised; a bug of ours ends only it."""
    try:
        return _of_report(await run)
    except but:
        raise
    except SyncerError as error:
        return _of_error(error)
    except Exception as error:  # noqa: BLE001
        return _of_error(unforeseen(error))


def _of_report(report: Report) -> RunEnd:
    """Return how a run ended that has a report."""
    ended: Ended = "failed" if report.status == "failed" else "done"
    return RunEnd(
        status=report.status,
        exit_code=report.exit_code,
        ended="refused" if report.refused else ended,
        result=_summary(report),
        report=report,
    )


def _of_error(error: SyncerError) -> RunEnd:
    """Return how a run ended by an error that has a name, and log it."""
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


def unforeseen(error: Exception) -> SyncerError:
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
    seen = f"{report.zones_read}, {counts.images} images, {changes} changes"
    parts = [f"run {report.run_id} {report.status}: {seen}"]
    if counts.withheld:
        parts.append(f"{counts.withheld} removals withheld")
    if report.fault is not None:
        parts.append(report.fault.message)
    return "; ".join(parts)
