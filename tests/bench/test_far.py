"""The API that is far away: the link takes its time either way, is counted, and can fail.

``SYNCER_TEST_FAR=1`` also measures many accounts, and workers that share them.
"""

from __future__ import annotations

import heapq
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.to_thread
import msgspec
import pytest

from syncer.app import run_options
from syncer.bench import far, scenarios
from syncer.bench.fixture import Fixture, Processors, WrongAnswer, open_fixture
from syncer.bench.goals import evaluate
from syncer.bench.link import LinkChange, Way
from syncer.bench.measure import syncer_environment
from syncer.bench.programs import SDK_THREADS
from syncer.bench.runner import Runner, Workload
from syncer.config.settings import load
from syncer.core.errors import ConfigError, Unreachable
from syncer.embedded import EmbeddedPostgres
from syncer.store.connection import Server
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from syncer.zenlayer.credentials import Access
from syncer.zenlayer.sources.vm import VM
from syncer.zenlayer.transport import open_transport
from tests.support import until

TINY = Workload(
    rounds=1,
    usual_zones=2,
    usual_images=10,
    round_trip=0.005,
    other_trips=(0.002, 0.007),
    accounts=3,
    account_zones=2,
    at_once=(2,),
    workers=2,
)
MANY = bool(os.environ.get("SYNCER_TEST_FAR"))
HOST = "127.0.0.1"
HOURS = 10_000.0
"""Seconds there and back: nothing arrives while a test runs."""


class Clock:
    """An event loop's clock and its calls at a time, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        # The later of two calls at the same time goes first, as an event loop may have it.
        heapq.heappush(self._calls, (when, -len(self._calls), call))

    def go_on(self, to: float) -> None:
        while self._calls and self._calls[0][0] <= to:
            self.now, _, call = heapq.heappop(self._calls)
            call()
        self.now = to


def test_bytes_arrive_half_a_round_trip_later_either_way_and_in_order() -> None:
    """A request and its answer take a round trip; the first takes another, to connect."""
    clock, events = Clock(), list[tuple[float, str, bytes | None]]()

    def way(name: str, opened: float) -> Way:
        def deliver(data: bytes | None) -> None:
            events.append((clock.now, name, data))

        return Way(half=50, opened=opened, clock=clock, call_at=clock.call_at, deliver=deliver)

    to_server, to_client = way("server", 100), way("client", 0)
    to_server.send(b"hello")
    to_server.send(b"again")
    clock.go_on(149)
    assert [] == events
    clock.go_on(150)
    assert [(150, "server", b"hello"), (150, "server", b"again")] == events
    to_client.send(b"answer")
    clock.go_on(199)
    assert len(events) == 2
    clock.go_on(210)
    to_server.send(b"more")
    to_server.send(None)
    clock.go_on(300)
    assert events[2:] == [
        (200, "client", b"answer"),
        (260, "server", b"more"),
        (260, "server", None),
    ]


@pytest.fixture(scope="module")
async def opened(postgres: EmbeddedPostgres) -> AsyncIterator[Fixture]:
    if not far.installed():
        pytest.skip(f"needs {far.NEEDS}")
    async with open_fixture(postgres.dsn("postgres"), None) as found:
        await found.build_cloud(2, 10)
        yield found


def port_of(link: far.FarLink) -> int:
    return int(link.endpoint.rpartition(":")[2])


def runner_of(fixture: Fixture) -> Runner:
    peers = [SDK_THREADS] if SDK_THREADS.installed else []
    return Runner(fixture, TINY, progress=lambda _: None, installed=peers)


async def test_a_usual_account_far_away(opened: Fixture) -> None:
    """Runs and programs go through the link, by TLS; what each opens and asks for is counted."""
    runner = runner_of(opened)
    await scenarios.far_away(runner)
    taken = {name: (m[0].calls, m[0].connections) for name, m in runner.measurements.items()}
    expected = {
        "HTTP floor of far away": (2, 2),
    }
    if SDK_THREADS.installed:  # a connection a call
        expected |= {"SDK in 16 threads: far away": (3, 3)}
    others = [f"far away, {listed}" for listed in far.LISTED.values()]
    others += ["far away, 2 ms", "far away, 7 ms"]
    # The pages beside their list, or after it.
    for name in ("far away", "syncer sync: far away", *others):
        assert taken[name] in {(3, 2), (3, 3)}
        expected[name] = taken[name]
    assert expected == {name: counts for name, counts in taken.items() if name in expected}
    assert {counts[1] for name, counts in taken.items() if name not in expected} == {0}
    goals = evaluate(runner.measurements, TINY, {"G13"}, runner.installed)
    bounds = [goal.at_most or goal.at_least for goal in goals if goal.verdict != "no goal"]
    assert bounds == [1.2, 5, 20]
    assert runner.measurements["syncer sync: far away"][0].peak > 10 << 20


@pytest.mark.parametrize("round_trip", [0.02, 0.1, 0.25])
async def test_each_page_is_asked_for_once_over_as_few_connections_as_were_needed(
    round_trip: float, opened: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First over those that are open after the list; then, beside it, as many as begin together."""
    zones, at_once = 6, 4
    await opened.build_cloud(zones, 2)
    settings = load(
        flags={"max_concurrency": at_once},
        environment=syncer_environment(opened.endpoint, opened.url),
    )
    options = run_options(settings.account)
    async with opened.far_away(round_trip) as link:
        assert opened.secure is not None
        monkeypatch.setenv("SSL_CERT_FILE", str(opened.secure.authorities))
        api = msgspec.structs.replace(options.api, endpoint=link.endpoint)
        options = msgspec.structs.replace(options, api=api)
        before = (await link.counts()).connections
        for _ in range(3):
            report = await run_once(options, Server(opened.url), stop=Stop())
            after = (await link.counts()).connections
            assert (0, 1 + zones, at_once) == (
                report.exit_code,
                report.counts.calls,
                after - before,
            )
            before = after
    await opened.build_cloud(2, 10)  # what other tests measure


@pytest.mark.skipif(not MANY, reason="takes twenty seconds: SYNCER_TEST_FAR=1")
async def test_many_accounts_far_away(opened: Fixture) -> None:
    """All accounts are read and stored, each as its own; one alone makes its own calls only."""
    runner = runner_of(opened)
    await scenarios.many_accounts(runner)
    calls = {name: m[0].calls for name, m in runner.measurements.items() if m[0].connections}
    assert calls == {
        "an account alone: far away": 3,
        "3 accounts, 2 at once: far away": 9,
        "1 worker: far away": 9,
        "2 workers: far away": 9,
    }
    goals = evaluate(runner.measurements, TINY, {"G15"}, ())
    assert [(goal.beside, goal.at_most, len(goal.figures)) for goal in goals] == [
        ("2 times an account alone", 1.3, 1),
        ("", 200, 1),
        ("1 worker, one account at a time each", None, 1),
    ]
    together = runner.measurements["3 accounts, 2 at once: far away"][0]
    await opened.check(together, "accounts", accounts=3)
    with pytest.raises(WrongAnswer, match="8 pages are served, but 9 calls were answered"):
        await opened.check(together, "accounts", accounts=4)
    opened.give_accounts(4)
    with pytest.raises(WrongAnswer, match="2 zones differ"):
        await opened.check(together, "accounts", accounts=3)


async def test_a_postgresql_with_too_few_connections_is_named(opened: Fixture) -> None:
    """Fewer accounts at once than were asked for would not be what is measured."""
    workload = Workload(accounts=400, at_once=(400,))
    runner = Runner(opened, workload, progress=lambda _: None, installed=())
    with pytest.raises(
        ConfigError, match=r"G15 needs 1205 connections of PostgreSQL, which allows \d+"
    ):
        await scenarios.many_accounts(runner)


async def connections(link: far.FarLink, number: int) -> bool:
    return (await link.counts()).connections == number


async def test_what_is_under_way_has_not_arrived() -> None:
    """Connections are counted when they are made, bytes when they arrive: here, hours later."""
    with socket.create_server((HOST, 0)) as server:
        async with far.open_link(server.getsockname()[1], round_trip=HOURS) as link:
            async with await anyio.connect_tcp(HOST, port_of(link)) as client:
                await client.send(b"hello")
                await until(lambda: connections(link, 1))
            counts = await link.counts()
            assert (counts.to_server, counts.to_client) == (0, 0)


async def test_what_has_arrived_is_counted() -> None:
    """Bytes either way, and the end of a connection, come through as they are."""
    with socket.create_server((HOST, 0)) as server:
        async with far.open_link(server.getsockname()[1], round_trip=0.001) as link:
            async with await anyio.connect_tcp(HOST, port_of(link)) as client:
                await client.send(b"hello")
                there, _ = await anyio.to_thread.run_sync(server.accept)
                with there:
                    assert await anyio.to_thread.run_sync(there.recv, 100) == b"hello"
                    there.sendall(b"answers")
                assert await client.receive() == b"answers"
                with pytest.raises(anyio.EndOfStream):
                    await client.receive()
            counts = await link.counts()
            assert (counts.connections, counts.to_server, counts.to_client) == (1, 5, 7)


async def failure(link: far.FarLink, within: float = 30.0) -> str:
    """Return how a call through the link fails."""
    async with open_transport(Access(endpoint=link.endpoint, request_timeout=within)) as transport:
        with pytest.raises(Unreachable) as caught:
            await transport.post(VM, "DescribeZones", VM.zones_request())
    return caught.value.code


async def test_a_link_that_is_silent_or_has_ended_is_a_named_error() -> None:
    """A call fails by a name, as does who asks the link for its counts; nobody hangs."""
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        async with far.open_link(port, round_trip=0.0, answer_timeout=0.3) as link:
            await link.change(LinkChange(silent=True))
            assert await failure(link, within=0.3) == "TIMED_OUT"
            assert (await link.counts()).to_server == 0
            link.process.send_signal(signal.SIGSTOP)
            with pytest.raises(far.LinkLost, match=r"did not answer in 0.3 s"):
                await link.counts()
            link.process.kill()
            with pytest.raises(far.LinkLost, match=r"ended \(exit -9\)"):
                await link.watch()
            assert await failure(link) == "UNREACHABLE"
            with pytest.raises(far.LinkLost, match="ended"):
                await link.counts()
        async with far.open_link(port, round_trip=0.0) as link:
            server.close()
            assert await failure(link) == "UNREACHABLE"


async def test_a_measurement_that_takes_too_long_ends(opened: Fixture) -> None:
    """After a time that is long for what is measured, it is given up."""
    limited = Fixture(
        endpoint=opened.endpoint,
        admin=opened.admin,
        url=opened.url,
        home=opened.home,
        secure=opened.secure,
        timeout=0.1,
    )
    async with limited.far_away(0.0):
        with pytest.raises(WrongAnswer, match=r"measure http did not end in 0.1 s"):
            await limited.measure("http")


async def test_a_measurement_ends_when_the_link_does(opened: Fixture) -> None:
    """The error says which of the two it was, whatever the program says of it."""

    async def measure_while_it_ends() -> None:
        async with opened.far_away(HOURS) as link, anyio.create_task_group() as tasks:
            tasks.start_soon(opened.measure, "http")
            await until(lambda: connections(link, 2))
            link.process.kill()

    with pytest.raises(far.LinkLost, match=r"ended \(exit -9\)"):
        await measure_while_it_ends()
    assert opened.link is None


async def test_without_what_makes_certificates_it_is_not_measured(opened: Fixture) -> None:
    """The table says so, and whoever goes on is given the name of what to install."""
    near = Fixture(endpoint=opened.endpoint, admin=opened.admin, url=opened.url, home=opened.home)
    with pytest.raises(ConfigError, match=r"install trustme \(syncer\[peers\]\)"):
        async with near.far_away(0.1):
            pass


def test_the_busy_share_is_of_all_processors() -> None:
    """Of ten ticks, two of them idle, eight tenths are work."""
    earlier, now = Processors(total=100, idle=50), Processors(total=110, idle=52)
    assert now.busy_since(earlier) == pytest.approx(0.8)
    assert now.busy_since(now) == 0
    assert 0 < Processors.now().idle < Processors.now().total
