"""Metrics for Prometheus, of a daemon that is scraped or of a run that leaves a file.

Names follow prometheus.io/docs/practices/naming. Label values are names that the API lists (zones
that are gone are dropped) and words of our own, so their number does not grow without bound.
"""

from __future__ import annotations

import time
from collections import Counter as Tallies
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from syncer import __version__, streams
from syncer.config.accounts import Account
from syncer.core.errors import Interrupted, LockHeld, SyncerError
from syncer.store.clock import elapsed_microseconds
from syncer.store.connection import Server, reading_transaction, sql
from syncer.store.results import Removed, Written
from syncer.sync.report import Report
from syncer.zenlayer.client import Client

_CALL_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0)
_ZONE: Final = ("account", "service", "zone")
_ZONE_GAUGES: Final = (
    ("present_images", "images_present", "Images that are present."),
    ("withheld_removals", "removals_withheld", "Removals that the guard withholds."),
    ("unlisted_images", "images_unlisted", "Images that are missing and not confirmed absent."),
    (
        "last_complete",
        "zone_last_complete_timestamp_seconds",
        "When the zone was last seen whole (Unix time; 0: never).",
    ),
)
"""Of each zone: its column in ``metrics_zones``, the metric's name, and its help."""
_RUN_GAUGES: Final = (
    ("zones_unlisted", "Zones that the last run read though DescribeZones lists them no longer."),
    ("zones_lost", "Zones that are gone or no longer listed since the last run."),
    (
        "clock_behind_seconds",
        "How far the database's clock was behind what was stored when the last run began.",
    ),
)
"""Of the last run: the metric's name, and its help."""
_RUNS: Final = ("succeeded", "partial", "failed", "held")
_CHANGES: Final = ("appeared", "changed", "removed", "returned")
_ACTIONS: Final = ("DescribeZones", "DescribeImages")
_WATCHED_RESULTS: Final = ("ok", "throttled", "denied", "challenged")
"""Counters that alerts ask for begin at 0 with these labels: of a counter whose first value is 1,
``increase`` sees nothing."""
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """What is counted and measured of one account's runs; an ``Observer`` of their calls.

    ``live`` metrics are read whenever they are asked for, so they can show ages. ``now`` is a clock
    in seconds since 1970. ``every`` is the interval of its runs in seconds, by which alerts judge
    ages (None: not known). Counters of its ``services`` begin at 0.
    """

    def __init__(
        self,
        account: str,
        *,
        live: bool,
        now: Callable[[], float] = time.time,
        every: float | None = None,
        services: Iterable[str] = (),
    ) -> None:
        self.registry = CollectorRegistry()
        self.account = account
        self._now = now
        self._zones = _Zones(account, now, live=live)
        self._pace = _Pace(account)
        self._succeeded = False
        self._gauge(
            "build_info", "The program's version, as a label (always 1).", "version"
        ).labels(__version__).set(1)
        self._runs = self._counter(
            "runs", "Runs that ended, by status (held: another run was at work).", "status"
        )
        self._scans = self._counter("zone_scans", "Looks at zones, by status.", "service", "status")
        self._changes = self._counter(
            "image_changes", "Changes of images seen, by kind.", "service", "kind"
        )
        self._rejected = self._counter(
            "rows_rejected", "Rows of the API that could not be kept.", "service"
        )
        self._rereads = self._counter(
            "zone_rereads", "Zones read again because they were not consistent.", "service"
        )
        self._calls = self._counter("calls", "Calls of the API, by result.", "action", "result")
        self._seconds = Histogram(
            "syncer_call_duration_seconds",
            "Seconds that calls of the API took.",
            ["account", "action"],
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )
        self._make_gauges(every)
        self._begin_at_zero(services)
        self.registry.register(self._zones)
        self.registry.register(self._pace)
        self.registry.register(_Log(account))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"syncer_{name}", text, ["account", *labels], registry=self.registry)

    def _gauge(self, name: str, text: str, label: str) -> Gauge:
        return Gauge(f"syncer_{name}", text, [label], registry=self.registry)

    def _make_gauges(self, every: float | None) -> None:
        self._last_run = self._gauge(
            "last_run_timestamp_seconds", "When the last run ended (Unix time).", "account"
        )
        self._last_seconds = self._gauge(
            "last_run_duration_seconds", "Seconds that the last run took.", "account"
        )
        self._last_code = self._gauge(
            "last_run_exit_code", "Exit code of the last run, as documented.", "account"
        )
        self._last_success = self._gauge(
            "last_success_timestamp_seconds",
            "When a run last ended with all done (Unix time).",
            "account",
        )
        self._of_run = {name: self._gauge(name, text, "account") for name, text in _RUN_GAUGES}
        interval = self._gauge(
            "interval_seconds", "How often the account is to be crawled, as set.", "account"
        )
        if every is not None:
            interval.labels(self.account).set(every)

    def _begin_at_zero(self, services: Iterable[str]) -> None:
        for status in _RUNS:
            self._runs.labels(self.account, status)
        for action in _ACTIONS:
            for result in _WATCHED_RESULTS:
                self._calls.labels(self.account, action, result)
        for service in services:
            for kind in _CHANGES:
                self._changes.labels(self.account, service, kind)
            self._rejected.labels(self.account, service)
            self._rereads.labels(self.account, service)

    def began(self, client: Client) -> None:
        """A run begins; the pace of its calls is its client's."""
        self._pace.client = client

    def called(self, action: str, result: str, seconds: float) -> None:
        """A call was made."""
        self._calls.labels(self.account, action, result).inc()
        self._seconds.labels(self.account, action).observe(seconds)

    def run_ended(
        self, status: str, *, exit_code: int, seconds: float, report: Report | None
    ) -> None:
        """Count a run that ended; ``report`` is None where an error ended it."""
        self._pace.client = None
        account = self.account
        self._runs.labels(account, status).inc()
        self._last_run.labels(account).set(self._now())
        self._last_seconds.labels(account).set(seconds)
        self._last_code.labels(account).set(exit_code)
        if status == "succeeded":
            self._succeeded = True
            self._last_success.labels(account).set(self._now())
        if report is not None:
            self._count(report)

    def _count(self, report: Report) -> None:
        changes: Tallies[tuple[str, str]] = Tallies()
        results: Sequence[Written | Removed] = [*report.zones, *report.removals]
        for result in results:
            service, tally = result.zone.ref.service, result.tally
            changes[service, "appeared"] += tally.appeared
            changes[service, "changed"] += tally.changed
            changes[service, "returned"] += tally.returned
        values = (report.counts.zones_unlisted, report.counts.zones_lost, report.clock_behind)
        for gauge, value in zip(self._of_run.values(), values, strict=True):
            gauge.labels(self.account).set(value)
        for removal in report.removals:
            changes[removal.zone.ref.service, "removed"] += len(removal.removed)
        for (service, kind), number in changes.items():
            self._changes.labels(self.account, service, kind).inc(number)
        for written in report.zones:
            service = written.zone.ref.service
            self._scans.labels(self.account, service, written.status).inc()
            self._rejected.labels(self.account, service).inc(written.rejected)
            self._rereads.labels(self.account, service).inc(written.rereads)

    def begin_anew(self) -> None:
        """Show nothing of an earlier run: another process did the last one."""
        for gauge in (
            self._last_run,
            self._last_seconds,
            self._last_code,
            self._last_success,
            *self._of_run.values(),
        ):
            gauge.clear()
        self._zones.rows = None

    def set_zones(self, zones: Sequence[Mapping[str, Any]] | None) -> None:
        """Take what is stored of the zones: rows of ``metrics_zones``; those gone are counted only.

        None: the database does not answer. What was known stays, so that zones go on growing old.
        """
        if zones is not None:
            self._zones.take(zones)

    @property
    def unknown(self) -> frozenset[str]:
        """The names of gauges without a value here: an earlier value still holds."""
        names = set() if self._succeeded else {"syncer_last_success_timestamp_seconds"}
        if self._zones.rows is None:
            names |= {f"syncer_{name}" for _, name, _ in _ZONE_GAUGES} | {"syncer_zones_gone"}
        return frozenset(names)


def metrics_of(account: Account, *, live: bool) -> Metrics:
    """Return the metrics of an account, with nothing counted yet."""
    return Metrics(account.name, live=live, every=account.every, services=account.services)


class Together(Collector):
    """The metrics of several accounts, each with its own: families of a name are one.

    While ``shown`` says no, only what was counted is shown of an account, for sums over processes:
    how it stands is shown elsewhere.
    """

    def __init__(
        self, metrics: Sequence[Metrics], *, shown: Callable[[str], bool] = lambda _: True
    ) -> None:
        self.metrics = metrics
        self._shown = shown
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def register_process(self) -> None:
        """Show this process too: its memory, processor time, open files and start (process_*)."""
        self.registry.register(_Process(registry=None))

    def collect(self) -> Iterable[Metric]:
        """Yield each family with the samples of all accounts."""
        families: dict[str, Metric] = {}
        for metrics in self.metrics:
            shown = self._shown(metrics.account)
            for family in metrics.registry.collect():
                if not shown and family.type != "counter":
                    family.samples = [s for s in family.samples if "account" not in s.labels]
                known = families.setdefault(family.name, family)
                if known is not family:
                    known.samples += [s for s in family.samples if "account" in s.labels]
        yield from families.values()


class _Zones(Collector):
    """What is stored of each zone, as of the last run (None: it is not known)."""

    def __init__(self, account: str, now: Callable[[], float], *, live: bool) -> None:
        self.rows: Sequence[Mapping[str, Any]] | None = None
        self._account = account
        self._gone = 0
        self._now = now
        self._live = live
        self._taken = 0

    def take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take what is stored now; it grows older from here on, whatever clocks do.

        Times become those of this host's clock, by which alerts count ages.
        """
        now = self._now()
        self.rows = [
            {**row, "last_complete": 0.0 if row["unseen"] else now - max(0.0, row["age"])}
            for row in rows
            if not row["gone"]
        ]
        self._gone = len(rows) - len(self.rows)
        self._taken = elapsed_microseconds()

    def collect(self) -> Iterable[Metric]:
        families = {
            column: GaugeMetricFamily(f"syncer_{name}", text, labels=_ZONE)
            for column, name, text in _ZONE_GAUGES
        }
        ages = GaugeMetricFamily(
            "syncer_zone_seconds_since_complete",
            "Seconds since the zone was last seen whole (never: since it was first listed).",
            labels=_ZONE,
        )
        elapsed = (elapsed_microseconds() - self._taken) / 1e6
        for row in self.rows or ():
            labels = [row["account"], row["service"], row["zone_id"]]
            for column, family in families.items():
                family.add_metric(labels, row[column])
            ages.add_metric(labels, max(0.0, row["age"] + elapsed))
        yield from families.values()
        gone = GaugeMetricFamily(
            "syncer_zones_gone",
            "Zones that are gone, and that nobody retired: what is stored of them is unknown.",
            labels=["account"],
        )
        if self.rows is not None:
            gone.add_metric([self._account], self._gone)
        yield gone
        if self._live:
            yield ages


class _Process(ProcessCollector):
    """The process, also where units hide all of /proc but processes (ProcSubset=pid)."""

    def _boot_time(self) -> float:  # else from /proc/stat
        return time.time() - elapsed_microseconds() / 1e6


class _Log(Collector):
    """How much of the log could not be written."""

    def __init__(self, account: str) -> None:
        self._account = account

    def collect(self) -> Iterable[Metric]:
        """Yield the number of lines that were lost since the process began."""
        lost = CounterMetricFamily(
            "syncer_log_lines_lost",
            "Lines of the log that could not be written.",
            labels=["account"],
        )
        lost.add_metric([self._account], streams.lost_lines())
        yield lost


class _Pace(Collector):
    """How fast calls are made, while a run is under way."""

    def __init__(self, account: str) -> None:
        self.client: Client | None = None
        self._account = account

    def collect(self) -> Iterable[Metric]:
        client, account = self.client, self._account
        flying = GaugeMetricFamily(
            "syncer_calls_in_flight", "Calls of the API under way.", labels=["account"]
        )
        flying.add_metric([account], client.calls.in_flight if client else 0)
        yield flying
        pace = GaugeMetricFamily(
            "syncer_call_rate_per_second",
            "Calls a second that are allowed (absent: no limit is known).",
            labels=["account"],
        )
        if client is not None and client.calls.rate is not None:
            pace.add_metric([account], client.calls.rate)
        yield pace


async def stored_zones(server: Server, account: str) -> list[Mapping[str, Any]] | None:
    """Return what is stored of an account's zones; None where the database does not answer."""
    try:
        reading = server.reading(name="syncer metrics", within=server.timing.read)
        async with reading as connection, reading_transaction(connection):
            return list(await connection.fetch(sql("read/metrics_zones"), account))
    except SyncerError:
        return None


def ended_by(error: BaseException) -> tuple[str, int]:
    """Return the status and the exit code of a run that an error (or being given up) ended."""
    if isinstance(error, SyncerError):
        return "held" if isinstance(error, LockHeld) else "failed", error.exit_code
    return "failed", 1 if isinstance(error, Exception) else Interrupted.exit_code
