"""Health and metrics over HTTP, beside the daemon: ``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from syncer.core.errors import ConfigError, SyncerError
from syncer.serve.metrics import Metrics
from syncer.store.connection import Server
from syncer.store.schema import check_schema


class State:
    """What the daemon tells of itself. Times are monotonic: whoever sets the clock moves none."""

    def __init__(self, *, every: float) -> None:
        self._fresh = 3 * every
        self.stuck_at: float | None = None
        """When the run that is on will be past all its time."""
        self.last_success: float | None = None
        self.last_result = "no run has ended yet"

    @property
    def alive(self) -> bool:
        """Whether the daemon makes progress: a run that ought to have ended long ago does not."""
        return self.stuck_at is None or time.monotonic() < self.stuck_at

    def not_ready(self) -> str | None:
        """Return why what is stored cannot be relied on to be fresh, or None."""
        if self.last_success is None:
            return f"no run has succeeded yet; {self.last_result}"
        age = time.monotonic() - self.last_success
        if age > self._fresh:
            return f"the last success was {age:.0f} s ago; {self.last_result}"
        return None


@contextlib.asynccontextmanager
async def serve(
    address: tuple[str, int], server: Server, state: State, metrics: Metrics
) -> AsyncIterator[str]:
    """Serve until the context ends; yields the URL. Raises ConfigError where it cannot listen."""

    async def livez(_: web.Request) -> web.Response:
        return _answer({"alive": state.alive}, ok=state.alive)

    async def readyz(_: web.Request) -> web.Response:
        why = await _database(server) or state.not_ready()
        return _answer({"ready": why is None, "why": why, "last": state.last_result}, ok=not why)

    async def scrape(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", scrape)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        host, port = address
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(
                f"--http {host}:{port}: cannot listen there ({why}); choose another address, or "
                "'off'"
            ) from error
        host, port, *_rest = runner.addresses[0]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


async def _database(server: Server) -> str | None:
    """Return what is wrong with the database, or None."""
    try:
        async with server.session(name="syncer readyz", within=server.timing.read) as connection:
            await check_schema(connection, server.where)
    except SyncerError as error:
        return str(error)
    return None


def _answer(told: dict[str, Any], *, ok: bool) -> web.Response:
    return web.json_response(told, status=200 if ok else 503)
