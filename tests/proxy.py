"""A network between the program and PostgreSQL that can be cut, held up, and made a black hole."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute

Verdict = str | None
"""``before``: the connection ends before the message is passed on; ``after``: when the server has
answered it, silently; ``hush``: from now on nothing is passed on, and nothing is closed;
``farewell``: behind its answer the server says that it ends; it closes when it is asked again."""
FAREWELL = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"


class Proxy:
    """Passes on what client and server say, to the socket of a URL.

    ``hook`` is given each message of a client (its type first) and returns what to do. ``refuse``
    turns new connections away, ``hush`` hears nobody any more; no message passes while ``gate`` is
    not set. ``messages`` counts them, ``connections`` those that were tried.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{parts.port or query['port'][0]}"
        self._login = f"{parts.username}@" if parts.username else ""
        self._name = parts.path
        self._pairs: set[anyio.CancelScope] = set()
        self.hook: Callable[[bytes], Verdict] = lambda _message: None
        self.gate = anyio.Event()
        self.gate.set()
        self.refuse = False
        self.hush = False
        self.messages = 0
        self.connections = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._stack = await contextlib.AsyncExitStack().__aenter__()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        await self._stack.enter_async_context(listener)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._cancel = tasks.cancel_scope.cancel
        port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610  (no Django)
        self.url = f"postgresql://{self._login}127.0.0.1:{port}{self._name}?sslmode=disable"
        tasks.start_soon(listener.serve, self._serve)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._cancel()
        await self._stack.aclose()

    def cut(self) -> None:
        """End every connection now."""
        for scope in list(self._pairs):
            scope.cancel()

    async def _serve(self, client: ByteStream) -> None:
        self.connections += 1
        if self.refuse:
            await anyio.aclose_forcefully(client)
            return
        # asyncio's: anyio's stream of a Unix socket can stumble when it is cancelled.
        try:
            answers, server = await asyncio.open_unix_connection(self._socket)
        except OSError:  # the server is not there
            await anyio.aclose_forcefully(client)
            return
        deaf, farewell = anyio.Event(), anyio.Event()
        try:
            async with client, anyio.create_task_group() as tasks:
                scope = tasks.cancel_scope
                self._pairs.add(scope)
                tasks.start_soon(self._answers, client, answers, deaf, farewell, scope)
                with contextlib.suppress(*_ENDED):
                    await self._asks(client, server, deaf, farewell)
                scope.cancel()
        finally:
            self._pairs.discard(scope)
            server.close()
            server.transport.abort()

    async def _asks(
        self,
        client: ByteStream,
        server: asyncio.StreamWriter,
        deaf: anyio.Event,
        farewell: anyio.Event,
    ) -> None:
        untyped = 4  # the first message is a length and a body, the others have a type before
        buffer = b""
        while True:
            buffer += await client.receive()
            while len(buffer) >= 5 and len(buffer) >= (size := _size(buffer, untyped)):
                message, buffer = buffer[:size], buffer[size:]
                untyped = 0
                self.messages += 1
                await self.gate.wait()
                verdict = self.hook(message)
                if verdict == "hush":
                    self.hush = True
                if self.hush:
                    continue
                if deaf.is_set() and farewell.is_set():
                    return
                if verdict == "farewell":
                    farewell.set()
                if verdict == "before":
                    return
                if verdict == "after":
                    deaf.set()
                server.write(message)
                await server.drain()

    async def _answers(
        self,
        client: ByteStream,
        answers: asyncio.StreamReader,
        deaf: anyio.Event,
        farewell: anyio.Event,
        scope: anyio.CancelScope,
    ) -> None:
        with contextlib.suppress(*_ENDED):
            while answer := await answers.read(65_536):
                if deaf.is_set():
                    break
                if farewell.is_set() and answer[-6:-1] == _READY:
                    answer += b"E" + (len(FAREWELL) + 4).to_bytes(4) + FAREWELL
                    deaf.set()
                if not self.hush:
                    await client.send(answer)
        if not self.hush:
            scope.cancel()


_READY = b"Z\0\0\0\5"
_ENDED = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


def _size(buffer: bytes, untyped: int) -> int:
    if untyped:
        return int.from_bytes(buffer[:4])
    return 1 + int.from_bytes(buffer[1:5])
