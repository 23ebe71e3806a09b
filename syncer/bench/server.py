"""Serves a cloud as the API would, as fast as aiohttp goes: ``python -m syncer.bench.server``.

Nothing is checked (signatures are the simulator's business). The first line of its output is its
address. ``POST /bench`` changes what is served; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any, Final

import msgspec
from aiohttp import web

from syncer.bench.cloud import Cloud, Drift
from syncer.simulator.limits import Bucket
from syncer.simulator.replies import failure

MAX_PAGE: Final = 1000


class Served:
    """The cloud that is served, how slowly, and how many calls of it a second."""

    def __init__(self) -> None:
        self.cloud = Cloud(0, 0)
        self.latency = 0.0
        self.bucket: Bucket | None = None
        self.calls = 0
        self.refused = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a call of the API, or an order."""
        asked: dict[str, Any] = msgspec.json.decode(await request.read())
        if request.path == "/bench":
            return web.Response(body=msgspec.json.encode(self._obey(**asked)))
        self.calls += 1
        request_id = f"{self.calls:032x}"
        refused = self.bucket is not None and self.bucket.take() > 0
        if self.latency:
            await asyncio.sleep(self.latency)
        if refused:
            self.refused += 1
            reply = failure(request_id, 429, "REQUEST_LIMIT_EXCEEDED", "too many requests")
            return web.Response(status=429, body=reply.body, content_type="application/json")
        if request.headers["X-ZC-Action"] == "DescribeZones":
            rows = [{"zoneId": zone, "zoneName": zone.title()} for zone in self.cloud.zones]
            members = b'"zoneSet":' + msgspec.json.encode(rows)
        else:
            members = self._images(asked)
        body = b'{"requestId":"%s","response":{"requestId":"%s",%s}}'
        return web.Response(
            body=body % (request_id.encode(), request_id.encode(), members),
            content_type="application/json",
        )

    def _images(self, asked: dict[str, Any]) -> bytes:
        zone, size = asked["zoneId"], min(asked["pageSize"], MAX_PAGE)
        if ids := asked.get("imageIds"):
            raise web.HTTPBadRequest(text=f"nothing was ever removed, yet asked for {ids[:3]}")
        page = self.cloud.page(zone, asked["pageNum"], size)
        return b'"totalCount":%d,"dataSet":%s' % (self.cloud.total(zone), page)

    def _obey(
        self,
        *,
        build: tuple[int, int] | None = None,
        drift: Drift | None = None,
        reorder: int | None = None,
        reformat: int | None = None,
        latency: float | None = None,
        limit: int | None = None,
        checksums: bool = False,
    ) -> dict[str, Any]:
        told: dict[str, Any] = {"calls": self.calls, "refused": self.refused}
        if build is not None:
            self.cloud = Cloud(*build)
        if drift is not None:
            told["changed"] = self.cloud.drift(drift)
        if reorder is not None:
            self.cloud.reorder(reorder)
        if reformat is not None:
            self.cloud.reformat(reformat)
        if latency is not None:
            self.latency = latency
        if limit is not None:  # a bucket of a second's worth, full; 0 takes it away
            self.bucket = Bucket(limit, limit, time.monotonic) if limit else None
        if checksums:
            told["checksums"] = {zone: self.cloud.checksum(zone) for zone in self.cloud.zones}
        self.cloud.render(MAX_PAGE)
        gc.collect()
        gc.freeze()
        return told


async def serve() -> None:
    """Serve until standard input ends."""
    server = web.Server(Served().answer, access_log=None)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(server, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
