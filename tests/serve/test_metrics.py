"""What metrics say, and of what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncer.core.errors import ConfigError, DatabaseGone, Interrupted, LockHeld, Superseded
from syncer.serve.metrics import Metrics, ended_by, stored_zones
from syncer.simulator import Simulator
from syncer.store.connection import Server
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
