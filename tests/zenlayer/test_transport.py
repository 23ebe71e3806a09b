"""One request and its reply over real sockets: what is sent and taken, how failures are named."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from syncer import __version__
from syncer.core.errors import ApiError, Refused, TornRead, Unreachable
from syncer.secrets import Secret
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.zenlayer import transport as transports
from syncer.zenlayer.credentials import Access, KeyPair, Timing, Token
from syncer.zenlayer.sources import SOURCES
from syncer.zenlayer.transport import (
    MAX_BODY,
    TLS_BUFFER,
    UNTRUSTED,
    Transport,
    greet,
    open_transport,
)

VM = SOURCES["vm"]
KEYS = KeyPair("id", Secret("key secret"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}"


class Server:
    """A TCP server that answers each request with the same bytes, and keeps what it was sent."""

    def __init__(self, reply: bytes, *, close: bool = False) -> None:
        self.reply = reply
        self.close = close
        self.requests: list[str] = []
        self.connections = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
                writer.write(self.reply)
                if self.close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@asynccontextmanager
async def serving(
    reply: bytes, *, close: bool = False, authority: trustme.CA | None = None
) -> AsyncIterator[Server]:
    """Serve; with an authority over TLS, by a certificate of it."""
    server, tls = Server(reply, close=close), None
    if authority is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    listener = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=tls)
    async with listener:
        scheme = "https" if tls else "http"
        server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that is trusted here, alone: SSL_CERT_FILE names ``roots.pem``."""
    made, roots = trustme.CA(), tmp_path / "roots.pem"
    made.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    return made


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    world = World.generate(seed=1, zones=1, images=3)
    async with Simulator(world, SimulatorOptions(access_keys={"id": "key secret"})) as running:
        yield running


async def post(transport: Transport) -> tuple[int, Any, bytes]:
    return await transport.post(VM, "DescribeZones", VM.zones_request())


async def post_to(endpoint: str, **more: Any) -> tuple[int, Any, bytes]:
    async with open_transport(Access(endpoint=endpoint, **more)) as transport:
        return await post(transport)


async def failure(endpoint: str, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await post_to(endpoint, **more)
    return caught.value


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
        (b"SSH-2.0-OpenSSH_9.2\r\n", TornRead, "TORN_READ", "the reply was cut off"),
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


async def test_a_call_goes_through_the_proxy() -> None:
    """The proxy is asked for the endpoint by its full address, with its own password."""
    async with serving(OK) as proxy:
        url = Secret(proxy.url.replace("//", "//user:pr0xy-pass@"))
        assert 200 == (await post_to("http://api.invalid", proxy=url))[0]
    (head,) = proxy.requests
    assert head.startswith("POST http://api.invalid/api/v2/vm HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwcjB4eS1wYXNz" in head


async def test_a_proxy_that_refuses_is_named_without_its_password() -> None:
    """A proxy that does not connect to the endpoint: HTTPS_PROXY is to be checked."""
    reply = b"HTTP/1.1 407 pr0xy-pass\r\nContent-Length: 0\r\n\r\n"
    async with serving(reply) as proxy:
        url = Secret(proxy.url.replace("//", "//user:pr0xy-pass@"))
        error = await failure("https://api.invalid", proxy=url)
    assert (Unreachable, "PROXY_REFUSED") == (type(error), error.code)
    assert "api.invalid: HTTP 407; check HTTPS_PROXY" in error.message
    assert "pr0xy" not in error.message


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
