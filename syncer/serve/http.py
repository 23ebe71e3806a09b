"""The web server beside the daemon: ``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from syncer.core.errors import ConfigError, SyncerError
from syncer.serve.health import Health
from syncer.serve.metrics import Metrics
from syncer.store.connection import Server, reading_transaction
from syncer.store.schema import check_schema


@contextlib.asynccontextmanager
async def listening(
    address: tuple[str, int], server: Server, health: Health, metrics: Metrics
) -> AsyncIterator[str]:
    """Answer requests until the context ends; yields the URL.

    Raises ConfigError where it cannot listen at the address.
    """

    async def livez(_: web.Request) -> web.Response:
        return _reply({"alive": health.alive}, ok=health.alive)

    async def readyz(_: web.Request) -> web.Response:
        why = await _database_fault(server) or health.not_ready()
        return _reply({"ready": why is None, "why": why, "last": health.last_result}, ok=not why)

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


async def _database_fault(server: Server) -> str | None:
    """Return what is wrong with the database, or None."""
    try:
        reading = server.reading(name="syncer readyz", within=server.timing.read)
        async with reading as connection, reading_transaction(connection):
            await check_schema(connection, server.where)
    except SyncerError as error:
        return str(error)
    return None


def _reply(body: dict[str, Any], *, ok: bool) -> web.Response:
    return web.json_response(body, status=200 if ok else 503)
