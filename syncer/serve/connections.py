"""Connections of strangers to the web server: only a few at a time, each for a short time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from syncer.serve.timing import Timing

MOST: Final = 32
"""Connections at a time: monitoring needs two or three; the oldest that asks nothing goes first."""


class Connections:
    """Makes the protocols of connections around those of a web server (``handler``)."""

    def __init__(self, handler: Callable[[], asyncio.Protocol], timing: Timing) -> None:
        self.handler = handler
        self.timing = timing
        self.open: dict[asyncio.Protocol, _Connection] = {}

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection that is about to be made."""
        return _Connection(self)

    @contextlib.contextmanager
    def answering(self, handler: object) -> Iterator[None]:
        """Let the connection of this handler be, while its request is answered."""
        connection = next((c for h, c in self.open.items() if h is handler), None)
        if connection is None:
            yield
            return
        connection.is_answering = True
        connection.limit(self.timing.answer)
        try:
            yield
        finally:
            connection.is_answering = False
            connection.limit(self.timing.answer)

    def make_room(self) -> bool:
        """Close the connection that asks nothing for the longest; return whether there is room."""
        if len(self.open) >= MOST:
            for connection in self.open.values():
                if not connection.is_answering:
                    connection.abort()
                    break
        return len(self.open) < MOST


class _Connection(asyncio.Protocol):
    """One connection: a request must be there whole in time, its answer read in time."""

    def __init__(self, connections: Connections) -> None:
        self._all = connections
        self._handler = connections.handler()
        self._transport: asyncio.BaseTransport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_made = False
        self.is_answering = False

    def limit(self, seconds: float) -> None:
        """Close it after some seconds, unless another limit is set by then."""
        self._forget_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.abort)

    def abort(self) -> None:
        """Close it at once."""
        self._leave()
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()

    def _leave(self) -> None:
        self._all.open.pop(self._handler, None)
        self._forget_deadline()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._all.make_room():
            self.abort()
            return
        self._all.open[self._handler] = self
        self._is_made = True
        self.limit(self._all.timing.request)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._is_made:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._is_made:
            self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()
