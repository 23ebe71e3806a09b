"""A link that takes time: ``python -m syncer.bench.link``, between a client and a server.

What is sent arrives half a round trip later, either way. The first that a client sends waits for
one round trip more, since a connection far away is not open before: its packet asks, the server's
answers. Bytes are carried as they are, so TLS costs the round trips that it costs anywhere. A link
has no end of its own to its rate, and keeps what is on its way in memory.

The first line of its standard input is ``LinkOptions`` as JSON, the first of its output the port
where it listens. Each line more changes it (``LinkChange``), and is answered with ``LinkCounts``.
It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

_PENDING: Final = 1024  # connections that may wait to be accepted: many accounts begin at once


class LinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the link leads to on this machine, and the seconds there and back."""

    port: int
    round_trip: float


class LinkChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is another from now on; a ``silent`` link takes all and delivers nothing any more."""

    silent: bool | None = None


class LinkCounts(msgspec.Struct, kw_only=True):
    """What came over the link since it began: connections, and bytes as they were delivered."""

    connections: int = 0
    to_server: int = 0
    to_client: int = 0


class Way:
    """One way of a connection: what is sent on it is delivered later, in order.

    ``clock`` and ``call_at`` are the event loop's; nothing arrives within ``half`` a round trip,
    nor is anything sent before ``opened``. ``deliver`` gets the bytes, and None for their end.
    """

    def __init__(
        self,
        *,
        half: float,
        opened: float,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], object],
        deliver: Callable[[bytes | None], None],
    ) -> None:
        self._half = half
        self._opened = opened
        self._clock = clock
        self._call_at = call_at
        self._deliver = deliver
        self._under_way: deque[bytes | None] = deque()

    def send(self, data: bytes | None) -> None:
        """Send bytes, or their end."""
        self._under_way.append(data)
        self._call_at(max(self._clock(), self._opened) + self._half, self._arrive)

    def _arrive(self) -> None:
        # Of calls at the same time an event loop may do any first: the order is the queue's.
        self._deliver(self._under_way.popleft())


class Link:
    """What all its connections have in common."""

    def __init__(self, options: LinkOptions) -> None:
        self.options = options
        self.counts = LinkCounts()
        self.silent = False
        self.connecting: set[asyncio.Task[None]] = set()

    def change(self, change: LinkChange) -> LinkCounts:
        """Change what is to be changed; return the counts."""
        if change.silent is not None:
            self.silent = change.silent
        return self.counts


class _End(asyncio.Protocol):
    """An end of a connection: what it receives goes on its way to the other end."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.way: Way | None = None  # to the other end
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes | None] = []  # before the other end is there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport that the other end delivers to."""
        self.transport = transport  # type: ignore[assignment]  # of a stream

    def data_received(self, data: bytes) -> None:
        """Send them to the other end."""
        self._send(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Send the end to the other end."""
        self._send(None)

    def join(self, way: Way) -> None:
        """Send what was received, and is to be, to the other end."""
        self.way = way
        for data in self._early:
            way.send(data)
        self._early.clear()

    def deliver(self, data: bytes | None) -> int:
        """Hand out what has arrived here, unless the link is silent; return how much it was."""
        if self.link.silent or self.transport is None:
            return 0
        if data is None:
            self.transport.close()
            return 0
        if self.transport.is_closing():
            return 0
        self.transport.write(data)
        return len(data)

    def _send(self, data: bytes | None) -> None:
        if self.way is None:
            self._early.append(data)
        else:
            self.way.send(data)


class _Client(_End):
    """The end at the client, which makes the end at the server."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and connect it with the server."""
        super().connection_made(transport)
        self.link.counts.connections += 1
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._connect(loop, loop.time()))
        self.link.connecting.add(task)
        task.add_done_callback(self.link.connecting.discard)

    async def _connect(self, loop: asyncio.AbstractEventLoop, accepted: float) -> None:
        link = self.link
        try:
            _, server = await loop.create_connection(
                lambda: _End(link), "127.0.0.1", link.options.port
            )
        except OSError:  # the server has ended
            assert self.transport is not None  # noqa: S101  (it was made)
            self.transport.abort()
            return

        def to_server(data: bytes | None) -> None:
            link.counts.to_server += server.deliver(data)

        def to_client(data: bytes | None) -> None:
            link.counts.to_client += self.deliver(data)

        def way(opened: float, deliver: Callable[[bytes | None], None]) -> Way:
            return Way(
                half=link.options.round_trip / 2,
                opened=opened,
                clock=loop.time,
                call_at=loop.call_at,
                deliver=deliver,
            )

        self.join(way(accepted + link.options.round_trip, to_server))
        server.join(way(accepted, to_client))


async def carry() -> None:
    """Carry until standard input ends."""
    loop = asyncio.get_running_loop()
    options = msgspec.json.decode(await _line(loop), type=LinkOptions)
    link = Link(options)
    listener = await loop.create_server(lambda: _Client(link), "127.0.0.1", 0, backlog=_PENDING)
    _say(str(listener.sockets[0].getsockname()[1]).encode())
    while line := await _line(loop):
        _say(msgspec.json.encode(link.change(msgspec.json.decode(line, type=LinkChange))))


async def _line(loop: asyncio.AbstractEventLoop) -> bytes:
    return await loop.run_in_executor(None, sys.stdin.buffer.readline)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(carry())
