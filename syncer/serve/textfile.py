"""Metrics of a run as a file for node_exporter's textfile collector.

A cron job is a new process each time. Its counters go on from what the file held before, as a
daemon's do from run to run; and what a run that failed does not know (when a run last succeeded,
what is stored of the zones) stays as it was in the file.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Final

import anyio
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from syncer import files
from syncer.config.accounts import Account
from syncer.core.errors import NoZone
from syncer.serve.metrics import Metrics, Together, ended_by, metrics_of, stored_zones
from syncer.serve.timing import Timing
from syncer.store.connection import Server
from syncer.sync.report import Report

_SUMMED: Final = {"counter", "histogram"}
_log = structlog.get_logger()
_Key = tuple[str, tuple[tuple[str, str], ...]]


def write(metrics: Sequence[Metrics], path: Path, *, others: Collection[str] = ()) -> None:
    """Write the metrics of accounts over the file, atomically. Raises OSError.

    What the file holds of ``others``, accounts that were not crawled, stays. A file that cannot be
    read as metrics is replaced: its counters begin anew. What is not a file is left alone: a device
    or a pipe could be read for ever, and root would replace it by a file.
    """
    with files.replacing(path) as file:
        registry = CollectorRegistry()
        registry.register(_Continued(metrics, _read(path), others))
        file.write(generate_latest(registry))


def _read(path: Path) -> dict[_Key, Sample]:
    """Return the samples that a file holds; none where it cannot be read as metrics.

    What is no number (NaN, Inf) is left out: a counter would never be one again.
    """
    try:
        # Not as text: \r within a label is no end of a line.
        families = list(text_string_to_metric_families((files.read(path) or b"").decode()))
    except (ValueError, IndexError):
        return {}
    samples = [sample for family in families for sample in family.samples]
    return {_key(sample): sample for sample in samples if math.isfinite(sample.value)}


class _Continued(Collector):
    """Metrics whose counters go on from earlier samples; a gauge that is unknown keeps its own."""

    def __init__(
        self, metrics: Sequence[Metrics], before: dict[_Key, Sample], others: Collection[str]
    ) -> None:
        self._metrics = Together(metrics)
        self._before = before
        self._others = others

    def collect(self) -> Iterable[Metric]:
        for family in self._metrics.collect():
            if family.type in _SUMMED:
                self._add_earlier(family)
            else:
                unknown = {m.account for m in self._metrics.metrics if family.name in m.unknown}
                kept = unknown.union(self._others)
                family.samples = [
                    sample
                    for sample in family.samples
                    if sample.labels.get("account") not in unknown
                ] + [
                    sample
                    for sample in self._before.values()
                    if sample.name == family.name and sample.labels.get("account") in kept
                ]
            yield family

    def _add_earlier(self, family: Metric) -> None:
        new = {_key(sample): sample for sample in family.samples}
        old = {
            key: sample
            for key, sample in self._before.items()
            if key[0].removeprefix(family.name) in {"_total", "_bucket", "_count", "_sum"}
        }
        family.samples = [
            sample._replace(value=sample.value + (old[key].value if key in old else 0))
            for key, sample in new.items()
        ] + [sample for key, sample in old.items() if key not in new]


def _key(sample: Sample) -> _Key:
    return sample.name, tuple(sorted(sample.labels.items()))


async def observed(metrics: Metrics, run: Callable[[Metrics], Awaitable[Report]]) -> Report:
    """Do a run and count how it ended, whatever ended it; but not one that was never begun."""
    started = anyio.current_time()

    def ended(status: str, code: int, report: Report | None = None) -> None:
        seconds = anyio.current_time() - started
        metrics.run_ended(status, exit_code=code, seconds=seconds, report=report)

    try:
        report = await run(metrics)
    except NoZone:
        raise
    except BaseException as error:
        ended(*ended_by(error))
        raise
    if report.run_id is not None:
        ended(report.status, report.exit_code, report)
    return report


@contextlib.asynccontextmanager
async def measured(
    path: Path,
    accounts: Sequence[Account],
    server: Server,
    *,
    others: Collection[str] = (),
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> AsyncIterator[Mapping[str, Metrics]]:
    """Do runs of accounts within, and write their metrics to a file, however they end.

    What the file holds of ``others``, accounts that are not crawled now, stays.
    """
    metrics = {account.name: metrics_of(account, live=False) for account in accounts}
    try:
        yield metrics
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(timing.zones):
            for account, own in metrics.items():
                own.set_zones(await stored_zones(server, account))
        try:
            write([*metrics.values()], path, others=others)
        except OSError as error:
            _log.warning(
                "metrics.not_written",
                path=str(path),
                error_message=error.strerror,
                advice="let syncer write in that folder, or unset SYNCER_METRICS_FILE",
            )
