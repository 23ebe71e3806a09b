"""What metrics say, and of what."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from syncer.config.accounts import Account
from syncer.core.errors import ConfigError, DatabaseGone, Interrupted, LockHeld, Superseded
from syncer.serve.metrics import Metrics, ended_by, metrics_of, stored_zones
from syncer.simulator import Simulator, World
from syncer.store.connection import Server
from syncer.store.retention import prune
from tests.support import samples_of


@pytest.mark.parametrize(
    ("error", "status_and_code"),
    [
        (LockHeld("another"), ("held", 5)),
        (Superseded("a newer one"), ("failed", 5)),
        (Interrupted("asked to stop"), ("failed", 3)),
        (asyncio.CancelledError(), ("failed", 3)),
        (ConfigError("a setting"), ("failed", 2)),
        (DatabaseGone("away"), ("failed", 1)),
        (ValueError("a bug"), ("failed", 1)),
    ],
)
def test_the_exit_code_in_the_metrics_is_the_run_s(
    error: BaseException, status_and_code: tuple[str, int]
) -> None:
    """As the README has it, and as the process ends (see ``cli.common.run``)."""
    assert status_and_code == ended_by(error)


async def test_zones_grow_old_while_the_database_is_away(url: str, sync: Any) -> None:
    """A database that does not answer is no reason for the daemon to forget its zones."""
    assert 0 == (await sync()).exit_code
    metrics = Metrics("default", live=True)
    metrics.set_zones(await stored_zones(Server(url), "default"))
    metrics.set_zones(await stored_zones(Server("postgresql://x@127.0.0.1:1/x"), "default"))
    found = samples_of(metrics)
    assert 20 == found["syncer_images_present", "default", "vm", "FRA-A"]
    assert 0 <= found["syncer_zone_seconds_since_complete", "default", "vm", "FRA-A"] < 60


async def test_when_a_zone_was_seen_is_by_the_clock_of_this_host(url: str, sync: Any) -> None:
    """As the age of a series is: a database whose clock is ahead hides no zone that grows old."""
    await sync()
    metrics = Metrics("default", live=True, now=lambda: 1e9)
    metrics.set_zones(await stored_zones(Server(url), "default"))
    found = samples_of(metrics)
    at = found["syncer_zone_last_complete_timestamp_seconds", "default", "vm", "FRA-A"]
    assert 1e9 - 60 < at <= 1e9


async def test_a_zone_that_was_never_whole_was_seen_at_no_time(
    url: str, sync: Any, simulator: Simulator
) -> None:
    simulator.add_fault("status=400,zone=FRA-A")
    await sync()
    metrics = Metrics("default", live=True)
    metrics.set_zones(await stored_zones(Server(url), "default"))
    found = samples_of(metrics)
    assert 0 == found["syncer_zone_last_complete_timestamp_seconds", "default", "vm", "FRA-A"]
    assert 0 < found["syncer_zone_last_complete_timestamp_seconds", "default", "vm", "HKG-A"]


def test_what_alerts_count_begins_at_zero() -> None:
    """Of a counter whose first value is 1, `increase` sees nothing: the first removal would go by.

    Every counter that an alert names is there before anything was counted, with each label value
    that the alert asks for.
    """
    account = Account(name="default", services=("vm", "zec"), every=21600.0)
    found = samples_of(metrics_of(account, live=True))
    assert 21600 == found["syncer_interval_seconds", "default"]
    for status in ("succeeded", "partial", "failed", "held"):
        assert 0 == found["syncer_runs_total", "default", status]
    for service in ("vm", "zec"):
        for kind in ("appeared", "changed", "removed", "returned"):
            assert 0 == found["syncer_image_changes_total", "default", kind, service]
        assert 0 == found["syncer_rows_rejected_total", "default", service]
        assert 0 == found["syncer_zone_rereads_total", "default", service]
    for action in ("DescribeZones", "DescribeImages"):
        for result in ("ok", "throttled", "denied", "challenged"):
            assert 0 == found["syncer_calls_total", "default", action, result]


async def test_zones_that_are_gone_are_counted_until_somebody_retires_them(
    url: str, sync: Any, world: World, db: Any
) -> None:
    """They have no series of their own; neither pruning nor a restart changes what is shown."""
    await sync()
    world.remove_zone("FRA-A")
    await sync()
    server = Server(url)

    async def shown() -> dict[tuple[str, ...], float]:
        metrics = Metrics("default", live=True, now=lambda: 1e9)
        metrics.set_zones(await stored_zones(server, "default"))
        found = samples_of(metrics)
        assert ("syncer_images_present", "default", "vm", "FRA-A") not in found
        return {
            key: value
            for key, value in found.items()
            if key[0].startswith(("syncer_zones_gone", "syncer_images", "syncer_zone_last"))
        }

    before = await shown()
    assert 1 == before["syncer_zones_gone", "default"]
    await prune(server, keep=timedelta(0), account="default", vacuum=False, stopped=lambda: False)
    assert pytest.approx(before, abs=5, rel=0) == await shown()
    await db.execute(
        "insert into syncer_store.retirements (zone_key, retired_at, retired_by)"
        " select zone_key, now(), 'ann' from syncer_store.zones where zone_id = 'FRA-A'"
    )
    assert 0 == (await shown())["syncer_zones_gone", "default"]
