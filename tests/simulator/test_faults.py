"""Every kind of fault does on the wire what its summary says."""

from __future__ import annotations

import errno
import json
import time
import zlib
from typing import Any

import aiohttp
import anyio
import pytest

from syncer.simulator import InjectedFault, Simulator, SimulatorOptions


async def listing(client: Any, sim: Simulator, **body: Any) -> tuple[list[Any], Any]:
    """Return ids and totalCount of a page of FRA-A."""
    response = (await client.images(sim, **body)).response
    return [row["imageId"] for row in response["dataSet"]], response["totalCount"]


@pytest.mark.parametrize(
    ("spec", "status", "code", "headers"),
    [
        ("status=503", 503, "SERVICE_TEMPORARY_UNAVAILABLE", {}),
        ("status=500,retry_after=7", 500, "INTERNAL_SERVER_ERROR", {"Retry-After": "7"}),
        ("status=503,code=REQUEST_TIMED_OUT", 503, "REQUEST_TIMED_OUT", {}),
        ("status=502,html", 502, None, {"Content-Type": "text/html; charset=UTF-8"}),
        ("throttle", 429, "REQUEST_LIMIT_EXCEEDED", {"Retry-After": None}),
        ("throttle=2", 429, "REQUEST_LIMIT_EXCEEDED", {"Retry-After": "2"}),
        ("throttle,html", 429, None, {"Content-Type": "text/html; charset=UTF-8"}),
        ("error_in_200", 200, "INTERNAL_SERVER_ERROR", {}),
        ("error_in_200=REQUEST_LIMIT_EXCEEDED", 200, "REQUEST_LIMIT_EXCEEDED", {}),
        ("not_found", 404, "INVALID_ZONE_NOT_FOUND", {}),
        ("not_found=image", 404, "INVALID_IMAGE_NOT_FOUND", {}),
        ("not_found=resource", 404, "OPERATION_FAILED_RESOURCE_NOT_FOUND", {}),
        ("challenge", 403, None, {"cf-mitigated": "challenge"}),
        ("blocked", 451, None, {"Content-Type": "text/html; charset=UTF-8"}),
        ("redirect=https://example.com/x", 302, None, {"Location": "https://example.com/x"}),
    ],
)
async def test_answers_are_replaced(
    client: Any,
    sim: Simulator,
    *,
    spec: str,
    status: int,
    code: str | None,
    headers: dict[str, Any],
) -> None:
    """Status, code and headers are those of the fault, and the call remembers it."""
    sim.add_fault(spec)
    answer = await client.images(sim)
    assert answer.status == status
    if code is None:
        assert answer.body.startswith(b"<!DOCTYPE html>")
    else:
        assert answer.code == code
        assert set(answer.json) == {"requestId", "code", "message"}
    for name, value in headers.items():
        assert answer.headers.get(name) == value
    assert (sim.calls[-1].status, sim.calls[-1].code) == (status, code)
    assert sim.calls[-1].faults == (InjectedFault.parse(spec).kind,)


async def test_a_redirect_without_an_address_leads_back_here(client: Any, sim: Simulator) -> None:
    """Without an address a redirect names one of the simulator itself."""
    sim.add_fault("redirect")
    answer = await client.zones(sim)
    assert answer.headers["Location"] == f"{sim.endpoint}/elsewhere"


@pytest.mark.parametrize("word", ["text", "html", "empty", "array", "binary"])
async def test_garbage_is_no_json_object(client: Any, sim: Simulator, word: str) -> None:
    """A 200 whose body is anything but an object."""
    sim.add_fault(f"garbage={word}")
    answer = await client.zones(sim)
    assert answer.status == 200
    try:
        assert not isinstance(answer.json, dict)
    except ValueError:
        assert word != "array"


async def test_reset_breaks_the_connection(client: Any, sim: Simulator) -> None:
    """The client sees a reset, not an orderly end."""
    sim.add_fault("reset,times=1")
    with pytest.raises(aiohttp.ClientOSError) as caught:
        await client.zones(sim)
    assert caught.value.errno == errno.ECONNRESET
    assert sim.calls[-1].status is None
    assert (await client.zones(sim)).status == 200


async def test_truncate_sends_a_part(client: Any, sim: Simulator) -> None:
    """The declared length is the whole one; what arrives is the share asked for."""
    whole = (await client.images(sim)).body
    sim.add_fault("truncate=0.25")
    async with client.session.post(
        sim.endpoint + "/api/v2/vm",
        data=b'{"zoneId":"FRA-A"}',
        headers={
            "Authorization": "Bearer tok-123",
            "X-ZC-Action": "DescribeImages",
            "X-ZC-Version": "2026-04-01",
            "Content-Type": "application/json",
        },
    ) as reply:
        got = await reply.content.readexactly(len(whole) // 4)
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.content.readexactly(1)
        assert reply.status == 200
        assert int(reply.headers["Content-Length"]) == len(whole)
        assert len(got) == len(whole) // 4


async def test_hang_lasts_until_the_client_leaves(client: Any, sim: Simulator) -> None:
    """Nothing is answered; the call is over when the client is gone."""
    sim.add_fault("hang")
    with anyio.move_on_after(0.1) as scope:
        await client.zones(sim)
    assert scope.cancelled_caught
    with anyio.fail_after(5):
        while sim.calls[-1].finished is None:
            await anyio.lowlevel.checkpoint()
    assert sim.calls[-1].status is None


async def test_the_simulator_ends_though_a_call_hangs(client: Any) -> None:
    """Leaving the simulator does not wait for a call that hangs."""
    from syncer.simulator import World

    began = anyio.Event()
    async with anyio.create_task_group() as group:
        async with Simulator(
            World.generate(zones=1),
            SimulatorOptions(tokens={"tok-123"}, faults=["hang"], on_call=lambda _: began.set()),
        ) as sim:

            async def ask() -> None:
                with pytest.raises(aiohttp.ClientError):
                    await client.zones(sim)

            group.start_soon(ask)
            await began.wait()
            left = time.monotonic()
        assert time.monotonic() - left < 2


async def test_drip_sends_bytes_one_by_one(client: Any, sim: Simulator) -> None:
    """The head comes at once, the body so slowly that only a total timeout ends it."""
    sim.add_fault("drip=0.02")
    started = time.monotonic()
    got = 0
    with anyio.move_on_after(0.5) as scope:
        async with client.session.post(
            sim.endpoint + "/api/v2/vm",
            data=b"{}",
            headers={
                "Authorization": "Bearer tok-123",
                "X-ZC-Action": "DescribeZones",
                "X-ZC-Version": "2026-04-01",
                "Content-Type": "application/json",
            },
        ) as reply:
            assert time.monotonic() - started < 0.4
            async for chunk in reply.content.iter_any():
                got += len(chunk)
    assert scope.cancelled_caught
    assert 1 < got <= 26


async def test_a_complete_reply_can_drip(client: Any, sim: Simulator) -> None:
    """In the end every byte arrives."""
    sim.add_fault("drip=0.001")
    sim.add_fault("empty_zones")
    assert (await client.zones(sim)).response["zoneSet"] == []


async def test_latency_adds_up(client: Any, sim: Simulator) -> None:
    """Faults that delay are added to each other."""
    sim.add_fault("latency=0.1")
    sim.add_fault("slow=0.1")
    began = time.monotonic()
    assert (await client.zones(sim)).status == 200
    assert time.monotonic() - began >= 0.2
    assert sim.calls[-1].faults == ("latency", "slow")


async def test_big_body_has_the_size_asked_for(client: Any, sim: Simulator) -> None:
    """It is well-formed, chunked and too large."""
    sim.add_fault("big_body=2")
    answer = await client.images(sim)
    assert "Content-Length" not in answer.headers
    assert 2 * 2**20 < len(answer.body) < 2 * 2**20 + 500
    assert answer.response["dataSet"] == []


async def test_gzip_bomb_swells(sim: Simulator) -> None:
    """Few bytes on the wire become many MiB."""
    sim.add_fault("gzip_bomb=8")
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(
            sim.endpoint + "/api/v2/vm",
            data=b"{}",
            headers={
                "Authorization": "Bearer tok-123",
                "X-ZC-Action": "DescribeZones",
                "X-ZC-Version": "2026-04-01",
                "Content-Type": "application/json",
            },
        ) as reply,
    ):
        packed = await reply.read()
        assert reply.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 50_000
    body = zlib.decompress(packed, wbits=31)
    assert len(body) > 8 * 2**20
    assert json.loads(body)["response"]["totalCount"] == 0


@pytest.mark.parametrize(
    ("word", "total"),
    [("+3", 53), ("-2", 48), ("17", 17), ("omitted", "none"), ("string", "50"), ("null", None)],
)
async def test_the_total_can_be_wrong(client: Any, sim: Simulator, word: str, total: Any) -> None:
    """The count is the fault's, on the pages that the fault names, and the rows are untouched."""
    sim.add_fault(InjectedFault("total", word, page=2))
    second = (await client.images(sim, pageNum=2)).response
    assert second.get("totalCount", "none") == total
    assert len(second["dataSet"]) == 20
    assert (await client.images(sim)).response["totalCount"] == 50


async def test_a_page_cap_moves_the_offsets(client: Any, sim: Simulator) -> None:
    """Asked for 20, page 2 begins after the 15 that page 1 was cut to."""
    ids = list(sim.world.images("FRA-A"))
    sim.add_fault("page_cap=15")
    assert await listing(client, sim, pageSize=20) == (ids[:15], 50)
    assert await listing(client, sim, pageSize=20, pageNum=2) == (ids[15:30], 50)
    assert await listing(client, sim, pageSize=10, pageNum=2) == (ids[10:20], 50)


async def test_omitted_images_are_there_when_asked_for(client: Any, sim: Simulator) -> None:
    """Listings agree with each other and with their totalCount, but the images still exist."""
    ids = list(sim.world.images("FRA-A"))
    sim.add_fault("omit=4,zone=FRA-A")
    listed, total = await listing(client, sim, pageSize=1000)
    missing = set(ids) - set(listed)
    assert (len(listed), total, len(missing)) == (46, 46, 4)
    sim.world.remove_image("FRA-A", listed[0])
    assert (await listing(client, sim, pageSize=1000))[0] == listed[1:]
    found, total = await listing(client, sim, imageIds=sorted(missing))
    assert (set(found), total) == (missing, 4)
    sim.world.remove_image("FRA-A", found[0])  # no other takes its place
    assert (await listing(client, sim, pageSize=1000))[0] == listed[1:]
    assert len((await client.images(sim, "HKG-A", pageSize=100)).response["dataSet"]) == 50


async def test_omit_takes_a_share_or_globs(client: Any, sim: Simulator) -> None:
    """Which images are omitted can be said in per cent or by their ids."""
    ids = list(sim.world.images("FRA-A"))
    number = sim.add_fault("omit=10%")
    assert (await listing(client, sim))[1] == 45
    sim.remove_fault(number)
    sim.add_fault(f"omit,ids={ids[0]}|{ids[1][:9]}*")
    assert await listing(client, sim, pageSize=1000) == (ids[2:], 48)


async def test_ids_can_be_looked_up_wrongly(client: Any, sim: Simulator) -> None:
    """Without regard to case, not at all, only if all are known, or only the first of them."""
    ids = list(sim.world.images("FRA-A"))
    asked = [ids[0].upper(), ids[1]]
    assert await listing(client, sim, imageIds=asked) == ([ids[1]], 1)
    for word, found in (("folded", ids[:2]), ("ignored", ids[:20]), ("first", [ids[1]])):
        number = sim.add_fault(f"lookup={word}")
        assert (await listing(client, sim, imageIds=asked))[0] == found
        assert (await listing(client, sim))[0] == ids[:20]
        sim.remove_fault(number)
    sim.add_fault("lookup=first")
    assert (await listing(client, sim, imageIds=ids[:30], pageSize=30)) == (ids[:20], 20)
    sim.clear_faults()
    sim.add_fault("lookup=strict")
    answer = await client.images(sim, imageIds=asked)
    assert (answer.status, answer.code) == (404, "INVALID_IMAGE_NOT_FOUND")
    assert await listing(client, sim, imageIds=ids[:2]) == (ids[:2], 2)


async def test_an_id_can_be_refused(client: Any, sim: Simulator) -> None:
    """Every call that names it fails; others, and listings, do not."""
    ids = list(sim.world.images("FRA-A"))
    sim.add_fault(f"refuse_id=500,ids={ids[1]}")
    answer = await client.images(sim, imageIds=ids[:3])
    assert (answer.status, answer.code) == (500, "INTERNAL_SERVER_ERROR")
    assert (await client.images(sim, imageIds=[ids[0], ids[2]])).status == 200
    assert (await client.images(sim)).status == 200


async def test_duplicates_come_at_the_end_of_the_page(client: Any, sim: Simulator) -> None:
    """The zone's first rows come again, altered if asked for, in addition or in place of others."""
    ids = list(sim.world.images("FRA-A"))
    number = sim.add_fault("duplicate=2,page=3")
    assert await listing(client, sim, pageNum=3) == (ids[40:] + ids[:2], 50)
    assert await listing(client, sim, pageNum=2) == (ids[20:40], 50)
    sim.remove_fault(number)
    number = sim.add_fault("duplicate,replace,page=2")
    assert await listing(client, sim, pageNum=2) == (ids[20:39] + ids[:1], 50)
    sim.remove_fault(number)
    sim.add_fault("duplicate,changed")
    rows = (await client.images(sim)).response["dataSet"]
    assert rows[-1]["imageId"] == rows[0]["imageId"]
    assert rows[-1]["imageName"] == rows[0]["imageName"] + " (changed)"


async def test_reorder_shuffles(client: Any, sim: Simulator) -> None:
    """Over the zone, pages overlap and miss rows; over the page, only the order differs."""
    ids = list(sim.world.images("FRA-A"))
    number = sim.add_fault("reorder")
    first, second = await listing(client, sim), await listing(client, sim, pageNum=2)
    assert first[0] != ids[:20]
    assert set(first[0]) & set(second[0])
    assert first != await listing(client, sim)
    sim.remove_fault(number)
    sim.add_fault("reorder=page")
    shuffled, total = await listing(client, sim)
    assert shuffled != ids[:20]
    assert (set(shuffled), total) == (set(ids[:20]), 50)


@pytest.mark.parametrize(("word", "rows"), [("list", []), ("null", None), ("absent", "none")])
async def test_listings_can_be_empty(client: Any, sim: Simulator, word: str, rows: Any) -> None:
    """Images or zones are gone from listings, in each form that might mean nothing."""
    known = next(iter(sim.world.images("FRA-A")))
    sim.add_fault(f"empty_listing={word}")
    sim.add_fault(f"empty_zones={word}")
    images = (await client.images(sim)).response
    assert (images.get("dataSet", "none"), images["totalCount"]) == (rows, 0)
    assert (await client.zones(sim)).response.get("zoneSet", "none") == rows
    assert (await listing(client, sim, imageIds=[known]))[0] == [known]


async def test_nothing_at_all_is_still_json(client: Any, sim: Simulator) -> None:
    """Without rows and without a count the reply is an object all the same."""
    sim.add_fault("empty_listing=absent")
    sim.add_fault("total=omitted")
    assert set((await client.images(sim)).response) == {"requestId"}


async def test_hidden_zones_still_answer(client: Any, sim: Simulator) -> None:
    """A hidden zone is missing from the list of zones only."""
    sim.add_fault("hide_zone,zone=FRA-*|HKG-A")
    rows = (await client.zones(sim)).response["zoneSet"]
    assert [row["zoneId"] for row in rows] == ["SIN-E", "LAX-A"]
    assert (await client.images(sim, "FRA-A")).status == 200


async def test_faults_hit_the_calls_they_name(client: Any, sim: Simulator) -> None:
    """Action, zone, page, by-id and count are all heeded."""
    sim.add_fault("status=500,zone=FRA-*,page=2-3,times=2,after=1,by_id=false")
    known = next(iter(sim.world.images("FRA-A")))
    assert (await client.zones(sim)).status == 200
    assert (await client.images(sim, "HKG-A", pageNum=2)).status == 200
    assert (await client.images(sim, pageNum=1)).status == 200
    assert (await client.images(sim, pageNum=4)).status == 200
    assert (await client.images(sim, pageNum=2, imageIds=[known])).status == 200
    statuses = [(await client.images(sim, pageNum=n)).status for n in (2, 2, 3, 2, 3)]
    assert statuses == [200, 500, 500, 200, 200]
    sim.clear_faults()
    sim.add_fault("status=503,action=DescribeZones,times=1")
    assert (await client.images(sim)).status == 200
    assert (await client.zones(sim)).status == 503
    assert (await client.zones(sim)).status == 200
    sim.add_fault("status=502,by_id=true")
    assert (await client.images(sim)).status == 200
    assert (await client.images(sim, imageIds=[known])).status == 502


async def test_probability_is_about_right_and_the_same_by_seed(client: Any) -> None:
    """A fault of 30 per cent hits about that many calls, the same ones for the same seed."""
    from syncer.simulator import World

    runs = []
    for seed in (1, 1, 2):
        fault = InjectedFault("status", 500, probability=0.3)
        async with Simulator(
            World.generate(zones=1), SimulatorOptions(tokens={"tok-123"}, faults=[fault], seed=seed)
        ) as sim:
            runs.append([(await client.zones(sim)).status for _ in range(100)])
    assert runs[0] == runs[1] != runs[2]
    assert 15 < runs[0].count(500) < 45


async def test_an_unauthorised_call_uses_up_no_fault(client: Any, sim: Simulator) -> None:
    """A wrong credential is refused before any fault is looked at."""
    sim.add_fault("status=500,times=1")
    refused = await client.call(sim, "DescribeZones", headers={"Authorization": "Bearer no"})
    assert refused.status == 401
    assert (await client.zones(sim)).status == 500
