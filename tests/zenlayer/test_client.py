"""The client against the simulator: what is made again, what waits, and what ends at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from syncer.core.backoff import MIN_BUDGET, Backoff
from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    ImageNotFound,
    Refused,
    SignatureExpired,
    Throttled,
    TornRead,
    Unreachable,
    ZoneNotFound,
)
from syncer.core.model import Learnt
from syncer.core.page import KnownPage, Page
from syncer.secrets import Secret
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.zenlayer.client import Client, Observer, open_client
from syncer.zenlayer.credentials import Access, KeyPair, Timing
from syncer.zenlayer.sources import SOURCES
from tests.support import logged

VM = SOURCES["vm"]
ZONE = "FRA-A"
QUICK = Timing(challenge=0.05, retry=Backoff(first=0.001, last=0.002))
ATTEMPTS = QUICK.retry.attempts
FAST = Learnt(rate=1000.0)
"""Learnt before, so that a refusal does not begin the search for a limit."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    world = World.generate(seed=1, zones=6, images=3)
    async with Simulator(
        world, SimulatorOptions(access_keys={"id": "the secret of the key"})
    ) as running:
        yield running


@asynccontextmanager
async def client_of(
    simulator: Simulator,
    *,
    run_timeout: float = 60.0,
    observer: Observer | None = None,
    **more: Any,
) -> AsyncIterator[Client]:
    access = Access(
        endpoint=simulator.endpoint,
        credentials=KeyPair("id", Secret("the secret of the key")),
        **{"timing": QUICK, **more},
    )
    async with open_client(access, run_timeout=run_timeout, observer=observer) as client:
        yield client


async def page_of(client: Client, zone: str = ZONE, known: KnownPage | None = None) -> Page:
    return await client.images(VM, zone, page=1, page_size=10, known=known)


def statuses(simulator: Simulator) -> list[int | None]:
    return [call.status for call in simulator.calls]


async def test_zones_and_images_come_out_as_they_are_served(simulator: Simulator) -> None:
    """Each zone with its images, and the images asked for by id; a known page with its rows too."""
    async with client_of(simulator) as client:
        zones, unusable = await client.zones(VM)
        assert (sorted(simulator.world.zones()), 0) == (
            sorted(z.ref.zone_id for z in zones),
            unusable,
        )
        page = await page_of(client)
        ids = list(simulator.world.images(ZONE))
        assert (ids, 3, 3) == (list(page.rows.ids), page.served, page.total)
        again = await page_of(client, known=KnownPage(page.digest, page.served))
        assert page.rows.images() == again.rows.images()
        one = await client.images(VM, ZONE, page=1, page_size=100, image_ids=(ids[1],))
        assert [ids[1]] == one.rows.ids
        assert (4, 0, 0) == (client.calls.made, client.calls.retries, client.calls.in_flight)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status=500", Unreachable),
        ("status=503,html", Unreachable),
        ("throttle", Throttled),
        ("reset", Unreachable),
        ("truncate", TornRead),
        ("garbage", TornRead),
    ],
)
async def test_what_may_help_is_made_again_so_often(
    fault: str, kind: type[ApiError], simulator: Simulator
) -> None:
    """A call may fail six times and succeed at the seventh; after seven failures it has failed."""
    async with client_of(simulator) as client:
        client.calls.learn(FAST)
        simulator.add_fault(f"{fault},times={ATTEMPTS - 1}")
        assert 3 == (await page_of(client)).served
        assert (ATTEMPTS, ATTEMPTS - 1) == (client.calls.made, client.calls.retries)
        simulator.add_fault(fault)
        with pytest.raises(kind):
            await page_of(client)
    assert 2 * ATTEMPTS == len(simulator.calls)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status=400", Refused),
        ("status=403", Refused),
        ("status=401", Denied),
        ("blocked", Denied),
        ("redirect", Refused),
        ("not_found=zone", ZoneNotFound),
        ("not_found=image", ImageNotFound),
        ("error_in_200=INVALID_PARAMETER_VALUE", Refused),
        ("garbage=array", BadPayload),
    ],
)
async def test_what_no_repetition_helps_is_made_once(
    fault: str, kind: type[ApiError], simulator: Simulator
) -> None:
    """A refusal of the request or of us, and a reply of another shape, end the call at once."""
    simulator.add_fault(fault)
    async with client_of(simulator) as client:
        with pytest.raises(kind) as caught:
            await page_of(client)
    assert kind is type(caught.value)
    assert 1 == len(simulator.calls)


async def test_errors_name_the_request_and_no_secret(simulator: Simulator) -> None:
    """An error has the request id of its reply; what the API repeats of our key is starred."""
    simulator.add_fault("status=400,code=NO the secret of the key")
    async with client_of(simulator) as client:
        with pytest.raises(Refused) as caught:
            await page_of(client)
    (call,) = simulator.calls
    assert call.request_id == caught.value.request_id
    assert "NO ***" == caught.value.code
    assert "the secret" not in f"{caught.value} {caught.value.message} {caught.value.args}"


async def test_a_run_has_a_budget_of_retries(simulator: Simulator) -> None:
    """Ten calls that all fail are made again fifty times in all, not sixty."""
    simulator.add_fault("status=503")
    async with client_of(simulator) as client:

        async def failing() -> None:
            with pytest.raises(Unreachable):
                await page_of(client)

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(failing)
        assert (MIN_BUDGET, 0) == (client.calls.retries, client.calls.budget.left)
    assert 10 + MIN_BUDGET == len(simulator.calls)


async def test_no_more_calls_are_under_way_than_allowed(simulator: Simulator) -> None:
    """Of six calls that are wanted at once, two are under way at any time."""
    simulator.latency = 0.01
    async with (
        client_of(simulator, max_concurrency=2) as client,
        anyio.create_task_group() as tasks,
    ):
        for zone in simulator.world.zones():
            tasks.start_soon(page_of, client, zone)
    assert (6, 2) == (len(simulator.calls), simulator.peak_concurrency)


async def test_a_challenge_pauses_all_calls_once(simulator: Simulator) -> None:
    """The first challenge holds every call back for the pause; after it, all is well."""
    simulator.add_fault("challenge,times=2")
    async with client_of(simulator, max_concurrency=2) as client:
        async with anyio.create_task_group() as tasks:
            for zone in simulator.world.zones():
                tasks.start_soon(page_of, client, zone)
        assert 0 == client.calls.retries
    calls = simulator.calls
    assert [403, 403, *[200] * 6] == statuses(simulator)
    assert calls[0].finished is not None
    assert all(QUICK.challenge <= call.started - calls[0].started for call in calls[2:])


async def test_a_challenge_after_the_pause_is_final(simulator: Simulator) -> None:
    """Who is challenged again is not asked to pause again; and nothing is tried for long."""
    simulator.add_fault("challenge")
    async with client_of(simulator, max_concurrency=2) as client:
        for _ in range(2):
            with pytest.raises(Challenged) as caught:
                await page_of(client)
            assert "SECURITY_CHALLENGE" == caught.value.code
    assert [403] * 3 == statuses(simulator)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
async def test_the_clock_of_the_server_is_followed(seconds: float, simulator: Simulator) -> None:
    """A call that expired is signed again by the server's Date; those after are right at once."""
    simulator.skew = seconds
    with logged("json") as text:
        async with client_of(simulator) as client:
            await client.zones(VM)
            await page_of(client)
            assert (3, 0) == (client.calls.made, client.calls.retries)
    assert [401, 200, 200] == statuses(simulator)
    (line,) = map(json.loads, text.getvalue().splitlines())
    assert "clock.differed" == line["event"]
    assert seconds - 5 <= line["seconds"] <= seconds + 5


async def test_a_clock_that_differs_again_is_a_refusal(simulator: Simulator) -> None:
    """The server's clock is followed once a run: two clocks would be followed for ever."""
    async with client_of(simulator) as client:
        for skew in (3600.0, -3600.0):
            simulator.skew = skew
            if skew > 0:
                await client.zones(VM)
        with pytest.raises(SignatureExpired):
            await client.zones(VM)
    assert [401, 200, 401] == statuses(simulator)


@pytest.mark.parametrize("fault", ["throttle=3600", "status=503,retry_after=3600"])
async def test_a_pause_beyond_the_run_is_a_refusal(fault: str, simulator: Simulator) -> None:
    """Where the server asks for more time than the run may take, no call waits for it."""
    simulator.add_fault(f"{fault},times=1")
    async with client_of(simulator, run_timeout=30.0) as client:
        with (
            anyio.fail_after(20),
            pytest.raises(Refused, match=r"pause of 3600 s, more than the run .*\(HTTP") as caught,
        ):
            await page_of(client)
        assert "PAUSE_TOO_LONG" == caught.value.code
        if fault.startswith("throttle"):  # it holds for all calls
            with pytest.raises(Refused, match="pause of 3600 s, more than the run"):
                await page_of(client)
    assert 1 == len(simulator.calls)


async def test_a_limit_is_learnt_and_begun_with(simulator: Simulator) -> None:
    """A run that met no limit has none; it takes what another learnt, unless it learnt itself."""
    async with client_of(simulator) as client:
        await page_of(client)
        assert (None, None) == (client.calls.rate, client.calls.learnt)
        client.calls.learn(FAST)
        assert FAST == client.calls.learnt
        assert client.calls.rate is not None
    simulator.add_fault("throttle,times=1")
    async with client_of(simulator) as client:
        await page_of(client)
        found = client.calls.learnt
        assert found is not None
        client.calls.learn(FAST)
        assert found == client.calls.learnt != FAST


async def test_a_zone_is_read_again_where_failures_come_by_chance(simulator: Simulator) -> None:
    """So three calls show that were retried with success; a time-out has cost enough as it is."""
    error = Unreachable("gone", code="UNREACHABLE")
    async with client_of(simulator) as client:
        for recovered in range(3):
            assert not client.may_recover(error), recovered
            simulator.add_fault("status=503,times=1")
            await page_of(client)
        assert client.may_recover(error)
        assert not client.may_recover(Unreachable("late", code="TIMED_OUT"))
        assert not client.may_recover(Refused("no", code="NO"))


async def test_failures_are_counted_and_the_most_frequent_is_named(simulator: Simulator) -> None:
    """Each request that failed counts, also where it was made again with success."""
    async with client_of(simulator) as client:
        client.calls.learn(FAST)
        failures = client.calls.failures
        await page_of(client)
        assert 0 == failures.total
        simulator.add_fault("status=503,html,times=3")
        await page_of(client)
        assert 3 == failures.total
        assert failures.in_words.startswith("all so: the API failed: HTTP_503 (HTTP 503): a page")
        simulator.add_fault("status=400,times=2")
        for _ in range(2):
            with pytest.raises(Refused):
                await page_of(client)
        assert 5 == failures.total
        assert failures.in_words.startswith("most often (3 times) so: the API failed: HTTP_503")


class Seen:
    """An observer: what it saw, and whose calls."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.calls: list[tuple[str, str]] = []

    def began(self, client: Client) -> None:
        self.clients.append(client)

    def called(self, action: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((action, result))


async def test_an_observer_sees_every_request_and_its_result(simulator: Simulator) -> None:
    """Each request is one call for who observes, a retry too; the result says how it failed."""
    seen = Seen()
    faults = {
        "throttle": "throttled",
        "status=503": "unreachable",
        "truncate": "torn",
        "challenge": "challenged",
    }
    async with client_of(simulator, observer=seen) as client:
        assert [client] == seen.clients
        client.calls.learn(FAST)
        await client.zones(VM)
        for fault in faults:
            simulator.add_fault(f"{fault},times=1")
            await page_of(client)
        for fault in ("status=401", "status=404", "garbage=array"):
            simulator.add_fault(f"{fault},times=1")
            with pytest.raises(ApiError):
                await page_of(client)
        assert len(seen.calls) == client.calls.made
    expected = ["ok", *(r for result in faults.values() for r in (result, "ok"))]
    expected += ["denied", "refused", "bad_payload"]
    assert expected == [result for _, result in seen.calls]
    assert ["DescribeZones", *["DescribeImages"] * 11] == [action for action, _ in seen.calls]
