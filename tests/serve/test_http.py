"""The web server under strangers: few connections, each for a short time, one database session."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import pytest
from anyio.abc import SocketStream

from syncer.serve.connections import MOST
from syncer.serve.health import Health, Healths
from syncer.serve.http import is_exposed, listening
from syncer.serve.metrics import Metrics, Together
from syncer.serve.timing import Timing
from syncer.store.connection import Server
from tests.proxy import Proxy

HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


class Site:
    """A web server, and the connections that strangers have to it."""

    def __init__(self, url: str, stack: contextlib.AsyncExitStack) -> None:
        self.url = url
        self._stack = stack

    async def connect(self) -> SocketStream:
        address = urlsplit(self.url)
        assert address.hostname
        assert address.port
        stream = await anyio.connect_tcp(address.hostname, address.port)
        return await self._stack.enter_async_context(stream)

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as reply:
            return reply.status, await reply.text()


@contextlib.asynccontextmanager
async def site(url: str, **timing: Any) -> AsyncIterator[Site]:
    health = Health(every=900, limit=900)
    health.ended("run 1 succeeded", succeeded=True)
    async with contextlib.AsyncExitStack() as stack:
        listens = listening(
            ("127.0.0.1", 0),
            Server(url),
            Healths({"default": health}),
            Together([Metrics("default", live=True)]),
            timing=Timing(**timing),
        )
        yield Site(await stack.enter_async_context(listens), stack)


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("http://127.0.0.1:9464", False),
        ("http://[::1]:9464", False),
        ("http://0.0.0.0:9464", True),
        ("http://[::]:9464", True),
        ("http://10.1.2.3:9464", True),
    ],
)
def test_what_others_may_reach_is_warned_of(url: str, exposed: bool) -> None:
    """They need no password to read it."""
    assert exposed == is_exposed(url)


async def is_closed(stream: SocketStream) -> bool:
    """Whether the other side ended a connection; waits for it a while."""
    try:
        with anyio.fail_after(10):
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True
    return False


@pytest.mark.parametrize("said", [b"", HEAD, b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 5000])
async def test_who_asks_nothing_whole_makes_room_for_who_does(said: bytes, url: str) -> None:
    """However many they are, what monitoring asks is answered, and few of them stay open."""
    async with site(url) as web:
        strangers = []
        for _ in range(3 * MOST):
            stream = await web.connect()
            if said:
                with contextlib.suppress(anyio.BrokenResourceError):
                    await stream.send(said)
            strangers.append(stream)
        for path in ("/livez", "/readyz", "/metrics"):
            assert 200 == (await web.get(path))[0]
        for stream in strangers[: 2 * MOST]:
            assert await is_closed(stream)


@pytest.mark.parametrize("said", [b"", b"GET", HEAD])
async def test_a_request_that_does_not_come_is_not_waited_for(said: bytes, url: str) -> None:
    async with site(url, request=0.05) as web:
        stream = await web.connect()
        if said:
            await stream.send(said)
        assert await is_closed(stream)


async def test_a_connection_is_used_again_and_not_kept_for_ever(url: str) -> None:
    async with site(url, request=0.05, answer=0.2) as web:
        stream = await web.connect()
        for _ in range(3):
            await stream.send(HEAD + b"\r\n")
            assert b"200 OK" in await stream.receive()
        assert await is_closed(stream)


async def test_who_does_not_read_the_answer_is_not_waited_for(url: str) -> None:
    """Requests one after the other, and not a byte of the answers is read."""

    async def ask_on_and_on() -> None:
        stream = await web.connect()
        with anyio.fail_after(20):
            while True:
                await stream.send((HEAD + b"\r\n").replace(b"/livez", b"/metrics") * 50)

    async with site(url, answer=0.2) as web:
        with pytest.raises(anyio.BrokenResourceError):
            await ask_on_and_on()
        assert 200 == (await web.get("/livez"))[0]


async def test_the_database_is_looked_at_once_for_all_who_ask(url: str) -> None:
    async with Proxy(url) as proxy, site(proxy.url, readiness=3600) as web:
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await web.get("/readyz"))

        async with anyio.create_task_group() as tasks:
            for _ in range(MOST - 2):
                tasks.start_soon(ask)
        assert [200] * (MOST - 2) == [code for code, _ in replies]
        assert 1 == proxy.connections


async def test_what_was_found_of_the_database_is_not_believed_for_long(url: str) -> None:
    async with Proxy(url) as proxy, site(proxy.url, readiness=0) as web:
        assert 200 == (await web.get("/readyz"))[0]
        proxy.refuse = True
        code, said = await web.get("/readyz")
        assert (503, True) == (code, "the database at" in said)
