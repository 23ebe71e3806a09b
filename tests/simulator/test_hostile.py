"""Rows, bodies, clocks and limits that no document shows."""

from __future__ import annotations

from typing import Any

import aiohttp
import anyio
import pytest

from syncer.simulator import Simulator
from syncer.simulator.hostile import HOSTILE, WORDS

HEADERS = {
    "Authorization": "Bearer tok-123",
    "X-ZC-Action": "DescribeImages",
    "X-ZC-Version": "2026-04-01",
    "Content-Type": "application/json",
}


async def listed(client: Any, sim: Simulator) -> list[Any]:
    rows: list[Any] = (await client.images(sim)).response["dataSet"]
    return rows


@pytest.mark.parametrize("what", WORDS)
async def test_rows_become_hostile_as_the_fault_says(
    client: Any, sim: Simulator, what: str
) -> None:
    """Only the first row of a page is another; the page is still JSON, and the zone as it was."""
    right = await listed(client, sim)
    sim.add_fault(f"hostile={what}")
    hostile = await listed(client, sim)
    added = len(hostile) - len(right)
    assert right[1:] == hostile[1 + added :]
    assert right[0] not in hostile[: 1 + added] or what == "repeated_id"
    sim.clear_faults()
    assert right == await listed(client, sim)


async def test_the_rows_to_make_hostile_can_be_named(client: Any, sim: Simulator) -> None:
    """``ids=GLOB`` chooses rows; all of them here, in zones too."""
    sim.add_fault("hostile=null_id,ids=*")
    assert {None} == {row["imageId"] for row in await listed(client, sim)}
    zones = (await client.zones(sim)).response["zoneSet"]
    assert {None} == {row["zoneId"] for row in zones}


@pytest.mark.parametrize("what", HOSTILE)
def test_every_kind_changes_the_row(what: str) -> None:
    """What is sent in place of a row is not that row alone."""
    row = {"imageId": "img-1", "imageName": "a", "imageSize": "30"}
    assert [row] != HOSTILE[what](row, "imageId")
    assert "img-1" == row["imageId"]


async def test_another_content_type_leaves_the_body_as_it_is(client: Any, sim: Simulator) -> None:
    """Only the header is wrong."""
    sim.add_fault("content_type=text/plain")
    answer = await client.images(sim)
    assert (200, "text/plain") == (answer.status, answer.headers["Content-Type"].split(";")[0])
    assert 20 == len(answer.response["dataSet"])


@pytest.mark.parametrize("fault", ["stall", "truncate,reset"])
async def test_a_body_can_end_in_its_middle(client: Any, sim: Simulator, fault: str) -> None:
    """Half of it comes; then there is silence, or a reset."""
    whole = len((await client.images(sim)).body)
    sim.add_fault(fault)
    got = b""
    with anyio.move_on_after(0.3) as scope:  # stall never ends
        async with client.session.post(
            sim.endpoint + "/api/v2/vm", data=b'{"zoneId":"FRA-A"}', headers=HEADERS
        ) as reply:
            try:
                async for chunk in reply.content.iter_any():
                    got += chunk
            except aiohttp.ClientError:
                assert fault != "stall"
    assert (fault == "stall") == scope.cancelled_caught
    assert 0 < len(got) <= whole // 2  # a reset may overtake the end of it


async def test_the_limit_and_the_clock_can_be_set_while_it_runs(
    client: Any, sim: Simulator
) -> None:
    """The control address sets the rate, takes it away, and shifts the clock and the latency."""

    async def control(**op: Any) -> Any:
        return (await client.control(sim, op)).status

    assert 200 == await control(op="set_rate", rate=0.001, burst=1)
    assert [200, 429] == [(await client.zones(sim)).status for _ in range(2)]
    assert 200 == await control(op="set_rate", rate=0.002, burst=5, retry_after=True)
    limited = await client.zones(sim)  # the bucket is not filled anew
    assert (429, True) == (limited.status, "Retry-After" in limited.headers)
    assert 400 == await control(op="set_rate", rate=-1)
    assert 200 == await control(op="set_rate", rate=None)
    assert 200 == (await client.zones(sim)).status
    before = sim.clock()
    assert 200 == await control(op="set_clock_skew", seconds=3600)
    assert sim.clock() - before >= 3600
    assert 200 == await control(op="set_latency", milliseconds=1)
    assert (0.001, 400) == (sim.latency, await control(op="set_latency", milliseconds=-1))
