"""The web server beside the daemon: ``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import anyio
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.exposition import choose_encoder

from syncer.config.parsers import is_loopback
from syncer.core.errors import ConfigError, SyncerError
from syncer.serve.connections import Connections
from syncer.serve.health import Condition
from syncer.serve.metrics import Together
from syncer.serve.timing import Timing
from syncer.store.connection import Server, reading_transaction
from syncer.store.schema import check_schema


@contextlib.asynccontextmanager
async def listening(
    address: tuple[str, int],
    server: Server,
    health: Condition,
    metrics: Together,
    *,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> AsyncIterator[str]:
    """Answer requests until the context ends; yields the URL.

    Raises ConfigError where it cannot listen at the address.
    """
    database = _Database(server, timing.readiness)

    async def livez(_: web.Request) -> web.Response:
        return _reply({"alive": health.alive}, ok=health.alive)

    async def readyz(_: web.Request) -> web.Response:
        why = await database.fault() or health.not_ready()
        body = {"ready": why is None, "why": why, "last": health.last_result}
        return _reply(body | _by_account(health), ok=not why)

    async def scrape(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        with connections.answering(request.protocol):
            return await handler(request)

    app = web.Application(middlewares=[answering])
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", scrape)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None  # noqa: S101  (it is set up)
    connections = Connections(runner.server, timing)
    try:
        async with await _listen(address, connections) as listener:
            host, port, *_rest = listener.sockets[0].getsockname()
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


def is_exposed(url: str) -> bool:
    """Return whether others than this machine may reach what listens there."""
    return not is_loopback(urlsplit(url).hostname or "")


async def _listen(address: tuple[str, int], connections: Connections) -> asyncio.Server:
    host, port = address
    try:
        return await asyncio.get_running_loop().create_server(connections, host, port)
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or str(error)  # no such host
        raise ConfigError(
            f"--http {host}:{port}: cannot listen there ({why}); choose another address, or 'off'"
        ) from error


class _Database:
    """What is wrong with the database: looked at once for all who ask within some ``seconds``."""

    def __init__(self, server: Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._lock = anyio.Lock()
        self._looked = float("-inf")
        self._fault: str | None = None

    async def fault(self) -> str | None:
        """Return what is wrong, or None."""
        async with self._lock:
            if anyio.current_time() - self._looked >= self._seconds:
                self._fault = await _database_fault(self._server)
                self._looked = anyio.current_time()
            return self._fault


async def _database_fault(server: Server) -> str | None:
    """Return what is wrong with the database, or None."""
    try:
        reading = server.reading(name="syncer readyz", within=server.timing.read)
        async with reading as connection, reading_transaction(connection):
            await check_schema(connection, server.where)
    except SyncerError as error:
        return str(error)
    return None


def _by_account(health: Condition) -> dict[str, Any]:
    """Return which accounts are ready, where there are several."""
    if len(health.accounts) <= 1:
        return {}
    stale = {name: each.not_ready() for name, each in health.accounts.items()}
    return {"accounts": {name: {"ready": why is None, "why": why} for name, why in stale.items()}}


def _reply(body: dict[str, Any], *, ok: bool) -> web.Response:
    return web.json_response(body, status=200 if ok else 503)
