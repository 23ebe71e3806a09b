"""One request and its reply over real sockets: what is sent and taken, how failures are named."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from syncer import __version__
from syncer.core.errors import ApiError, Refused, TornRead, Unreachable
from syncer.secrets import Secret
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.zenlayer import transport as transports
from syncer.zenlayer.credentials import Access, KeyPair, Timing, Token
from syncer.zenlayer.packing import MAX_BODY
from syncer.zenlayer.transport import TLS_BUFFER, UNTRUSTED, greet, open_transport
from tests.zenlayer.raw import OK, VM, failure, post, post_to, serving

KEYS = KeyPair("id", Secret("key secret"))


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    world = World.generate(seed=1, zones=1, images=3)
    async with Simulator(world, SimulatorOptions(access_keys={"id": "key secret"})) as running:
        yield running


async def test_a_request_is_what_the_documents_ask_for() -> None:
    """Host with its port, action, service and version, in each request; no cookie comes back."""
    async with (
        serving(OK) as server,
        open_transport(
            Access(endpoint=server.url, credentials=Token(Secret("tok-1")))
        ) as transport,
    ):
        for _ in range(2):
            status, headers, body = await post(transport)
            assert (200, "2", b"{}") == (status, headers["content-LENGTH"], body)
    assert 1 == server.connections
    for head in server.requests:
        line, *lines = head.strip().split("\r\n")
        sent = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        assert "POST /api/v2/vm HTTP/1.1" == line
        assert server.url.removeprefix("http://") == sent["host"]
        assert ("DescribeZones", "vm") == (sent["x-zc-action"], sent["x-zc-service"])
        assert (VM.version, "Bearer tok-1") == (sent["x-zc-version"], sent["authorization"])
        assert ("application/json", f"syncer/{__version__}") == (
            sent["content-type"],
            sent["user-agent"],
        )
        assert "cookie" not in sent


async def test_a_key_pair_signs_and_nothing_is_signed_without_credentials(
    simulator: Simulator,
) -> None:
    """The simulator accepts the signature; without credentials no Authorization is sent."""
    status, _, _ = await post_to(simulator.endpoint, credentials=KEYS)
    assert 200 == status
    status, _, _ = await post_to(simulator.endpoint)
    assert 401 == status
    async with serving(OK) as server:
        await post_to(server.url)
        greeting = await greet(Access(endpoint=server.url, credentials=Token(Secret("t"))), VM)
    assert (200, b"{}", None) == (greeting.status, greeting.body, greeting.certificate)
    assert 2 == len(server.requests)
    assert "authorization" not in "".join(server.requests).lower()


async def test_a_redirect_is_not_followed(simulator: Simulator) -> None:
    """A redirect would carry the credentials away: its status is the reply."""
    async with serving(OK) as elsewhere:
        simulator.add_fault(f"redirect={elsewhere.url}")
        status, headers, _ = await post_to(simulator.endpoint, credentials=KEYS)
    assert (302, elsewhere.url) == (status, headers["location"])
    assert 0 == elsewhere.connections


@pytest.mark.parametrize("fault", ["big_body=65", "gzip_bomb=65"])
async def test_a_body_is_bounded(fault: str, simulator: Simulator) -> None:
    """A reply of more than 64 MiB is refused, also where it is small until it is unpacked."""
    assert 64 << 20 == MAX_BODY
    simulator.add_fault(fault)
    error = await failure(simulator.endpoint, credentials=KEYS)
    assert (Refused, "REPLY_TOO_LARGE") == (type(error), error.code)
    assert "larger than 64 MiB" in error.message


@pytest.mark.parametrize("fault", ["hang", "stall", "drip=0.05"])
async def test_a_call_takes_no_longer_than_allowed(fault: str, simulator: Simulator) -> None:
    """No answer, half a body, a byte at a time: the time for the whole call ends them all."""
    simulator.add_fault(fault)
    error = await failure(simulator.endpoint, credentials=KEYS, request_timeout=0.2)
    assert (Unreachable, "TIMED_OUT") == (type(error), error.code)
    assert "127.0.0.1:" in error.message
    assert "did not answer in 0.2 s" in error.message


async def test_a_connection_has_a_time_of_its_own() -> None:
    """Who accepts no connection is not waited for as long as a call may take."""
    async with serving(OK) as server:
        access = Access(endpoint=server.url, request_timeout=30.0, timing=Timing(connect=1e-9))
        async with open_transport(access) as transport:
            with pytest.raises(Unreachable):
                await post(transport)
    assert [] == server.requests


CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    ("reply", "kind", "code", "words"),
    [
        (CUT_OFF, TornRead, "TORN_READ", "the reply was cut off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Refused, "BAD_HTTP", "is no HTTP that can be read"),
        (b"", Unreachable, "UNREACHABLE", "check ZENLAYER_ENDPOINT and the network"),
    ],
    ids=["cut off", "no HTTP", "nothing"],
)
async def test_failures_of_the_network_are_named(
    reply: bytes, kind: type[ApiError], code: str, words: str
) -> None:
    """A body that ends early, another protocol and a connection that closes: each is one line."""
    async with serving(reply, close=True) as server:
        error = await failure(server.url)
    assert (kind, code) == (type(error), error.code)
    assert words in error.message
    assert "\n" not in error.message


async def test_nobody_there_says_what_to_check() -> None:
    """A refused connection and a name that does not exist."""
    async with serving(OK) as server:
        pass
    for endpoint in (server.url, "http://api.invalid"):
        error = await failure(endpoint)
        assert (Unreachable, "UNREACHABLE") == (type(error), error.code)
        assert "check ZENLAYER_ENDPOINT and the network" in error.message


async def test_accounts_side_by_side_read_the_roots_once(authority: trustme.CA) -> None:
    """Whoever opens a connection after the first account finds the roots read."""
    before = transports._trusting.cache_info()
    async with serving(OK, authority=authority) as server, AsyncExitStack() as stack:
        access = Access(endpoint=server.url)
        opened = [await stack.enter_async_context(open_transport(access)) for _ in range(3)]
        assert [200] * 3 == [(await post(each))[0] for each in opened]
    after = transports._trusting.cache_info()
    assert (1, 2) == (after.misses - before.misses, after.hits - before.hits)


async def test_roots_that_were_replaced_are_read_again(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """A daemon trusts what the file holds now, and no longer what it held."""
    renewed, roots = trustme.CA(), tmp_path / "roots.pem"
    async with serving(OK, authority=authority) as old, serving(OK, authority=renewed) as new:
        assert (await post_to(old.url))[0] == 200
        assert (await failure(new.url)).code == UNTRUSTED
        renewed.cert_pem.write_to_path(str(tmp_path / "new.pem"))
        (tmp_path / "new.pem").replace(roots)
        assert (await post_to(new.url))[0] == 200
        assert (await failure(old.url)).code == UNTRUSTED


async def test_a_connection_over_tls_holds_little_memory(authority: trustme.CA) -> None:
    """Fifty accounts keep sixteen connections each: what one holds is bounded, at both its ends."""
    connections = 8
    async with serving(OK, authority=authority) as server, AsyncExitStack() as stack:
        access = Access(endpoint=server.url)
        opened = [
            await stack.enter_async_context(open_transport(access)) for _ in range(connections)
        ]
        await post(opened[0])
        tracemalloc.start()
        try:
            for each in opened[1:]:
                await post(each)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert server.connections == connections
    assert held / (connections - 1) < 2 * (TLS_BUFFER + 64 * 1024)
