"""The server without faults: parameters, errors, envelope, limits and what it remembers."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import anyio
import pytest

from syncer.simulator import CallRecord, Simulator, SimulatorOptions, World

TOKEN = "tok-123"
REQUEST_ID = re.compile(r"T[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")


async def test_the_envelope_is_the_documented_one(client: Any, sim: Simulator) -> None:
    """The request id stands outside and inside; a failure is flat; Date is sent."""
    good = await client.images(sim)
    assert good.status == 200
    assert set(good.json) == {"requestId", "response"}
    assert good.json["requestId"] == good.response["requestId"]
    assert REQUEST_ID.fullmatch(good.json["requestId"])
    assert abs(parsedate_to_datetime(good.headers["Date"]).timestamp() - time.time()) < 5
    bad = await client.images(sim, "SEL--A")
    assert bad.status == 404
    assert set(bad.json) == {"requestId", "code", "message"}
    assert bad.code == "INVALID_ZONE_NOT_FOUND"
    assert bad.json["message"] == "The specified zoneId `SEL--A` is not found"
    assert bad.json["requestId"] != good.json["requestId"]


async def test_pages_hold_what_is_there(client: Any, sim: Simulator) -> None:
    """Pages follow each other without gap or overlap; beyond the last they are empty."""
    rows = list(sim.world.images("FRA-A").values())
    assert (await client.images(sim)).response["dataSet"] == rows[:20]
    third = (await client.images(sim, pageNum=3)).response
    assert (third["dataSet"], third["totalCount"]) == (rows[40:], 50)
    beyond = (await client.images(sim, pageNum=4)).response
    assert (beyond["dataSet"], beyond["totalCount"]) == ([], 50)
    whole = (await client.images(sim, pageSize=1000)).response
    assert whole["dataSet"] == rows


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "MISSING_PARAMETER"),
        ({"zoneId": None}, 400, "MISSING_PARAMETER"),
        ({"zoneId": 1}, 400, "INVALID_PARAMETER_TYPE"),
        ({"zoneId": "FRA-A", "pageNum": "1"}, 400, "INVALID_PARAMETER_TYPE"),
        ({"zoneId": "FRA-A", "pageSize": True}, 400, "INVALID_PARAMETER_TYPE"),
        ({"zoneId": "FRA-A", "pageSize": 1001}, 400, "INVALID_PARAMETER_EXCEED_MAXIMUM"),
        ({"zoneId": "FRA-A", "pageSize": 0}, 400, "INVALID_PARAMETER_LESS_MINIMUM"),
        ({"zoneId": "FRA-A", "pageNum": 0}, 400, "INVALID_PARAMETER_LESS_MINIMUM"),
        ({"zoneId": "FRA-A", "imageIds": "img-1"}, 400, "INVALID_PARAMETER_TYPE"),
        ({"zoneId": "FRA-A", "imageIds": [1]}, 400, "INVALID_PARAMETER_TYPE"),
        ({"zoneId": "FRA-A", "imageIds": ["i"] * 101}, 400, "INVALID_PARAMETER_EXCEED_LENGTH"),
        ({"zoneId": "FRA-A", "imageType": "PUBLIC"}, 400, "INVALID_PARAMETER_VALUE"),
        ({"zoneId": "FRA-A", "osType": "bsd"}, 400, "INVALID_PARAMETER_VALUE"),
        ({"zoneId": "FRA-A", "imageStatus": "GONE"}, 400, "INVALID_PARAMETER_VALUE"),
        ({"zoneId": "FRA-A", "category": "Beos"}, 400, "INVALID_PARAMETER_VALUE"),
        ({"zoneId": "fra-a"}, 404, "INVALID_ZONE_NOT_FOUND"),
    ],
)
async def test_wrong_parameters_are_named(
    client: Any, sim: Simulator, body: dict[str, Any], status: int, code: str
) -> None:
    """Each wrong parameter gets the documented status and code."""
    answer = await client.call(sim, "DescribeImages", body)
    assert (answer.status, answer.code) == (status, code)
    assert (sim.calls[-1].status, sim.calls[-1].code) == (status, code)


async def test_wrong_requests_are_refused(client: Any, sim: Simulator) -> None:
    """Unknown actions, versions and services, other methods and bodies that are no JSON."""
    unauthorised = (401, "AUTHFAILURE_UNAUTHORIZED_OPERATION")
    refused: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"headers": {"X-ZC-Action": "DescribeTeapots"}}, unauthorised),
        ({"headers": {"X-ZC-Version": "2020-01-01"}}, unauthorised),
        ({"headers": {"X-ZC-Version": ""}}, unauthorised),
        ({"path": "/api/v2/zec"}, unauthorised),
        ({"raw": b"{"}, (400, "INVALID_PARAMETER_TYPE")),
        ({"raw": b"[]"}, (400, "INVALID_PARAMETER_TYPE")),
        ({"raw": b""}, (400, "INVALID_PARAMETER_TYPE")),
        ({"raw": b"\xff{}"}, (400, "INVALID_PARAMETER_TYPE")),
        ({"raw": b"[" * 100_000}, (400, "INVALID_PARAMETER_TYPE")),
        ({"headers": {"Content-Type": "text/plain"}}, (415, "INVALID_PARAMETER_VALUE")),
        ({"headers": {"Authorization": "x"}}, (401, "AUTHFAILURE_INVALID_AUTHORIZATION")),
        ({"method": "PUT"}, (405, "INVALID_PARAMETER_VALUE")),
        ({"path": "/"}, (404, "OPERATION_FAILED_RESOURCE_NOT_FOUND")),
    ]
    for given, expected in refused:
        answer = await client.call(sim, "DescribeZones", **given)
        assert (answer.status, answer.code) == expected, given
    utf8 = {"Content-Type": "application/json; charset=UTF-8"}
    assert (await client.call(sim, "DescribeZones", headers=utf8)).status == 200


async def test_images_are_filtered(client: Any, sim: Simulator) -> None:
    """Every documented filter holds back what does not match, and totalCount agrees."""
    sim.world.add_image("FRA-A", imageType="CUSTOM_IMAGE")
    sim.world.add_image("FRA-A", imageStatus="UNAVAILABLE")
    rows = list(sim.world.images("FRA-A").values())
    filters: list[tuple[dict[str, str], Any]] = [
        ({"osType": "Windows"}, lambda row: row["osType"] == "windows"),
        ({"category": "Ubuntu"}, lambda row: row["category"] == "Ubuntu"),
        ({"imageType": "CUSTOM_IMAGE"}, lambda row: row["imageType"] == "CUSTOM_IMAGE"),
        ({"imageStatus": "UNAVAILABLE"}, lambda row: row["imageStatus"] == "UNAVAILABLE"),
        ({"imageName": "ubuntu server"}, lambda row: "Ubuntu Server" in row["imageName"]),
        (
            {"osType": "linux", "category": "debian"},
            lambda row: row["category"] == "Debian",
        ),
    ]
    for given, passes in filters:
        expected = [row for row in rows if passes(row)]
        found = (await client.images(sim, pageSize=1000, **given)).response
        assert found["dataSet"] == expected, given
        assert 0 < found["totalCount"] == len(expected) < 52


async def test_images_are_found_by_id(client: Any) -> None:
    """Ids the zone does not have are left out, or are an error where that is switched on."""
    world = World.generate(zones=2)
    mine, other = list(world.images("FRA-A")), list(world.images("HKG-A"))
    asked = [mine[3], other[0], mine[1], mine[3]]
    async with Simulator(world, SimulatorOptions(tokens={TOKEN})) as sim:
        found = (await client.images(sim, imageIds=asked)).response
        assert [row["imageId"] for row in found["dataSet"]] == [mine[1], mine[3]]
        assert found["totalCount"] == 2
        assert sim.calls[-1].image_ids == tuple(asked)
        paged = (await client.images(sim, imageIds=mine, pageSize=7, pageNum=6)).response
        assert [row["imageId"] for row in paged["dataSet"]] == mine[35:]
    async with Simulator(world, SimulatorOptions(tokens={TOKEN}, unknown_ids="error")) as sim:
        answer = await client.images(sim, imageIds=asked)
        assert (answer.status, answer.code) == (404, "INVALID_IMAGE_NOT_FOUND")
        assert (await client.images(sim, imageIds=mine[:2])).status == 200


async def test_zones_are_listed_and_chosen(client: Any, sim: Simulator) -> None:
    """DescribeZones lists all or those asked for; the older version knows no line type."""
    assert (await client.zones(sim)).response["zoneSet"] == sim.world.zone_rows()
    chosen = (await client.zones(sim, zoneIds=["HKG-A", "NOPE"])).response["zoneSet"]
    assert [row["zoneId"] for row in chosen] == ["HKG-A"]
    older = await client.call(sim, "DescribeZones", headers={"X-ZC-Version": "2023-03-13"})
    assert all("networkLineType" not in row for row in older.response["zoneSet"])
    sim.world.remove_zone("HKG-A")
    assert len((await client.zones(sim)).response["zoneSet"]) == 3
    assert (await client.images(sim, "HKG-A")).code == "INVALID_ZONE_NOT_FOUND"


async def test_a_change_is_seen_by_the_next_call(client: Any, sim: Simulator) -> None:
    """What was rendered before does not outlive a change of the world."""
    await client.images(sim)
    new = sim.world.add_image("FRA-A", imageName="数据", imageDescription={"odd": True})
    answer = (await client.images(sim, pageSize=1000)).response
    assert answer["dataSet"][-1] == sim.world.images("FRA-A")[new]
    assert answer["totalCount"] == 51


async def test_the_hook_comes_before_the_answer(client: Any) -> None:
    """A test can change the world between two pages of one crawl."""
    world = World.generate(zones=1, images=30)
    victim = next(iter(world.images("FRA-A")))

    def hook(call: CallRecord) -> None:
        if call.page_num == 2:
            world.remove_image("FRA-A", victim)

    async with Simulator(world, SimulatorOptions(tokens={TOKEN}, on_call=hook)) as sim:
        first = (await client.images(sim)).response
        second = (await client.images(sim, pageNum=2)).response
    assert (first["totalCount"], second["totalCount"]) == (30, 29)
    assert len(second["dataSet"]) == 9


async def test_the_rate_limit_is_a_token_bucket(client: Any) -> None:
    """A burst passes, then one call for each token; each credential has its own bucket."""
    now = [100.0]
    async with Simulator(
        World.generate(zones=1),
        SimulatorOptions(
            tokens={TOKEN, "b"}, rate=2, burst=3, retry_after=True, ticks=lambda: now[0]
        ),
    ) as sim:
        statuses = [(await client.zones(sim)).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        refused = await client.zones(sim)
        assert refused.code == "REQUEST_LIMIT_EXCEEDED"
        assert refused.headers["Retry-After"] == "1"
        other = await client.call(sim, "DescribeZones", headers={"Authorization": "Bearer b"})
        assert other.status == 200
        now[0] += 0.49
        assert (await client.zones(sim)).status == 429
        now[0] += 0.01
        assert [(await client.zones(sim)).status for _ in range(2)] == [200, 429]
        now[0] += 1000
        assert [(await client.zones(sim)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_retry_after_is_sent_only_when_switched_on(client: Any) -> None:
    """The limit's refusal has the header only when it is switched on."""
    world = World.generate(zones=1)
    async with Simulator(world, SimulatorOptions(tokens={TOKEN}, rate=1, ticks=lambda: 0.0)) as sim:
        await client.zones(sim)
        assert "Retry-After" not in (await client.zones(sim)).headers


async def test_calls_concurrency_and_connections_are_remembered(client: Any) -> None:
    """Who asked for what, when and with what result; how many at once, over how many sockets."""
    async with Simulator(
        World.generate(zones=1), SimulatorOptions(tokens={TOKEN}, latency=0.05)
    ) as sim:
        began = time.monotonic()
        async with anyio.create_task_group() as group:
            for number in (1, 2, 3):
                group.start_soon(partial(client.images, sim, pageNum=number, pageSize=10))
        assert (sim.peak_concurrency, sim.connections) == (3, 3)
        await client.zones(sim)
        assert sim.connections == 3
        assert sorted(call.page_num or 0 for call in sim.calls) == [0, 1, 2, 3]
        last = sim.calls[-1]
        assert (last.service, last.action, last.version) == ("vm", "DescribeZones", "2026-04-01")
        assert (last.zone, last.page_num, last.page_size, last.image_ids) == (None,) * 4
        assert (last.status, last.code, last.who) == (200, None, "token 0")
        for call in sim.calls:
            assert call.finished is not None
            assert began < call.started < call.finished - 0.04
        sim.reset_stats()
        assert (sim.calls, sim.peak_concurrency, sim.connections) == ([], 0, 0)


async def test_request_ids_are_the_same_by_seed(client: Any) -> None:
    """Two simulators with one seed give one sequence of request ids."""
    seen = []
    for seed in (1, 1, 2):
        async with Simulator(
            World.generate(zones=1), SimulatorOptions(tokens={TOKEN}, seed=seed)
        ) as sim:
            seen.append([(await client.zones(sim)).json["requestId"] for _ in range(2)])
    assert seen[0] == seen[1] != seen[2]
    assert seen[0][0] != seen[0][1]


async def test_the_calls_that_are_kept_can_be_bounded(client: Any) -> None:
    """A simulator that runs for weeks keeps a bounded number of calls, but counts them all."""
    async with Simulator(
        World.generate(zones=1), SimulatorOptions(tokens={TOKEN}, keep_calls=3)
    ) as sim:
        for _ in range(20):
            await client.zones(sim)
        assert 3 <= len(sim.calls) <= 6
        assert sim.log.stats()["answers"] == {"200": 20}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])  # noqa: S104
def test_it_listens_on_loopback_only(host: str) -> None:
    """Anything that others could reach is refused."""
    with pytest.raises(ValueError, match="loopback addresses only"):
        Simulator(World.generate(zones=0), SimulatorOptions(host=host))


async def test_localhost_is_one_address(client: Any) -> None:
    """``localhost`` becomes an address with one port."""
    world = World.generate(zones=1)
    async with Simulator(world, SimulatorOptions(tokens={TOKEN}, host="localhost")) as sim:
        assert sim.endpoint.startswith("http://127.0.0.1:")
        assert (await client.zones(sim)).status == 200
