"""What workers show of all workers: who is there, and which accounts wait for their turn.

Every worker shows the same, since it is read from the database: alerts take the largest. So one
that does not reach the database shows nothing, rather than what was so.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from syncer.store.schedule import AccountState, WorkerState

_STATES: Final = ("running", "taken", "waiting", "due", "late")


class Distribution(Collector):
    """How the accounts stand, as of the last tick of this worker; it ``holds`` for seconds."""

    def __init__(self, worker: str, *, holds: float) -> None:
        self._me = worker
        self._holds = holds
        self._taken = -math.inf
        self._accounts: dict[str, AccountState] = {}
        self._last: dict[str, str | None] = {}
        self._workers: Sequence[WorkerState] = ()

    def take(self, accounts: Sequence[AccountState], workers: Sequence[WorkerState]) -> None:
        """Take what stands in the database now."""
        self._accounts = {each.account: each for each in accounts}
        self._last = {each.account: each.worker for each in accounts}
        self._workers = workers
        self._taken = time.monotonic()

    def took(self, account: str) -> None:
        """Note that this worker took an account."""
        self._last[account] = self._me

    def was_here(self, account: str) -> bool:
        """Return whether this worker took an account last, or none did."""
        return self._last.get(account) in {None, self._me}

    def collect(self) -> Iterable[Metric]:
        """Yield how many workers and accounts there are of each kind."""
        if time.monotonic() - self._taken >= self._holds:
            return
        states = Counter(each.state for each in self._accounts.values())
        accounts = GaugeMetricFamily(
            "syncer_scheduled_accounts",
            "Accounts that workers crawl, by state (late: due for longer than their interval).",
            labels=["state"],
        )
        for state in _STATES:
            accounts.add_metric([state], states[state])
        yield accounts
        unserved = sum(each.workers == 0 for each in self._accounts.values())
        yield GaugeMetricFamily(
            "syncer_unserved_accounts",
            "Accounts of whose credentials no worker that is there has any.",
            value=unserved,
        )
        workers = GaugeMetricFamily(
            "syncer_workers", "Workers that are there, by state.", labels=["state"]
        )
        there = [each for each in self._workers if each.alive]
        workers.add_metric(["working"], sum(not each.draining for each in there))
        workers.add_metric(["draining"], sum(each.draining for each in there))
        yield workers
        places = GaugeMetricFamily(
            "syncer_worker_places",
            "Accounts that all workers can crawl side by side, and do.",
            labels=["use"],
        )
        places.add_metric(["all"], sum(each.at_once for each in there if not each.draining))
        places.add_metric(["taken"], sum(each.running for each in there))
        yield places
