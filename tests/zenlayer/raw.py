"""Servers that send given bytes, proxies that let through or refuse, and calls to them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from syncer.core.errors import ApiError
from syncer.secrets import Secret
from syncer.zenlayer.credentials import Access
from syncer.zenlayer.sources import SOURCES
from syncer.zenlayer.transport import Transport, open_transport

VM = SOURCES["vm"]
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
async def listening(answer: Any, authority: trustme.CA | None = None) -> AsyncIterator[str]:
    """Serve with ``answer``, over TLS with an authority, at the URL that is given."""
    tls = None
    if authority is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with listener:
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def serving(
    reply: bytes, *, close: bool = False, authority: trustme.CA | None = None
) -> AsyncIterator[Server]:
    """Serve; with an authority over TLS, by a certificate of it."""
    server = Server(reply, close=close)
    async with listening(server.answer, authority) as server.url:
        yield server


async def post(transport: Transport) -> tuple[int, Any, bytes]:
    return await transport.post(VM, "DescribeZones", VM.zones_request())


async def post_to(endpoint: str, **more: Any) -> tuple[int, Any, bytes]:
    async with open_transport(Access(endpoint=endpoint, **more)) as transport:
        return await post(transport)


async def failure(endpoint: str, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await post_to(endpoint, **more)
    return caught.value


class Proxy:
    """A proxy that answers CONNECT with ``reply``; without one it connects, to ``target``.

    It keeps the head of each CONNECT.
    """

    def __init__(self, reply: bytes, target: str) -> None:
        self.reply = reply
        self.target = target
        self.heads: list[str] = []
        self.url = ""

    def at(self, login: str) -> Secret:
        return Secret(self.url.replace("//", f"//{login}@"))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.reply or b"HTTP/1.1 200 Connection established\r\n\r\n")
            if not self.reply:
                host, port = self.target.rpartition("/")[2].split(":")
                theirs, ours = await asyncio.open_connection(host, int(port))
                await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def proxying(
    reply: bytes = b"", *, target: str = "", authority: trustme.CA | None = None
) -> AsyncIterator[Proxy]:
    """Run a proxy; with an authority it is reached over TLS."""
    proxy = Proxy(reply, target)
    async with listening(proxy.answer, authority) as proxy.url:
        yield proxy
