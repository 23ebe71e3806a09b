"""Metrics of accounts that move from worker to worker, and of all workers together."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.registry import Collector

from syncer import __version__
from syncer.serve.metrics import Metrics, Together
from syncer.serve.worker_metrics import Distribution
from syncer.store.schedule import AccountState, WorkerState


def lines(collector: Collector) -> dict[str, float]:
    """Each series that is shown, and its value."""
    text = generate_latest(collector).decode()
    shown = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in shown}


def crawled(account: str) -> Metrics:
    """Metrics of a run, of a zone and of a call."""
    metrics = Metrics(account, live=True, now=lambda: 1000.0)
    metrics.called("DescribeZones", "ok", 0.1)
    metrics.run_ended("succeeded", exit_code=0, seconds=1.0, report=None)
    zone = {"account": account, "service": "vm", "zone_id": "FRA-A"}
    counts = {"present_images": 3, "withheld_removals": 2, "unlisted_images": 0}
    metrics.set_zones([{**zone, **counts, "age": 10.0, "unseen": False, "gone": False}])
    return metrics


COUNTED = {
    'syncer_runs_total{account="b",status="succeeded"}',
    'syncer_calls_total{account="b",action="DescribeZones",result="ok"}',
    'syncer_log_lines_lost_total{account="b"}',
}


def test_how_an_account_stands_is_shown_by_one_worker_what_was_counted_by_all() -> None:
    """Sums of counters stay right when an account is crawled elsewhere."""
    both = [crawled("a"), crawled("b")]
    shown = lines(Together(both, shown=lambda account: account == "a"))
    assert shown.keys() >= COUNTED
    assert not {name for name in shown if 'account="b"' in name and "_total{" not in name}
    assert 1000 == shown['syncer_last_success_timestamp_seconds{account="a"}']
    assert 2 == shown['syncer_removals_withheld{account="a",service="vm",zone="FRA-A"}']
    idle = lines(Together(both, shown=lambda _: False))
    assert any(name.startswith("syncer_build_info") for name in idle)


def test_a_run_of_long_ago_is_not_shown_when_an_account_comes_back() -> None:
    metrics = crawled("b")
    metrics.begin_anew()
    shown = {name for name in lines(Together([metrics])) if not name.startswith("syncer_call")}
    assert {f'syncer_build_info{{version="{__version__}"}}'} == {
        name for name in shown if "_total{" not in name
    }


def test_a_worker_that_does_not_reach_the_database_says_nothing_of_all() -> None:
    """Nor does one that just began: what it last saw may long be over."""
    account = AccountState(
        account="a", state="late", every=900.0, worker="w", workers=0, overdue=9.0, ended=True,
        failures=0, result=None,
    )  # fmt: skip
    worker = WorkerState(
        worker="w", host="h", pid=1, syncer_version="1", alive=True, draining=True, accounts=1,
        at_once=2, running=1, unseen=0.0,
    )  # fmt: skip
    fresh, old = Distribution("w", holds=60), Distribution("w", holds=0)
    assert {} == lines(fresh)
    for distribution in (fresh, old):
        distribution.take([account], [worker])
    assert {} == lines(old)
    shown = lines(fresh)
    assert (1, 1) == (
        shown["syncer_unserved_accounts"],
        shown['syncer_scheduled_accounts{state="late"}'],
    )
    assert (0, 1) == tuple(
        shown[f'syncer_workers{{state="{state}"}}'] for state in ("working", "draining")
    )
    assert (0, 1) == tuple(
        shown[f'syncer_worker_places{{use="{use}"}}'] for use in ("all", "taken")
    )
