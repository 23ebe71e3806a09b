"""Serves a cloud as the API would, and quickly: ``python -m syncer.bench.server [CERTIFICATE]``.

Nothing is checked (the simulator checks signatures), and it understands no more of HTTP than the
clients measured here use: its time must not add to theirs. The first line of its output is
its address and, where it is given the file of a certificate and its key, the port where it serves
the same over TLS. ``POST /bench`` changes what is served; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
import sys
import time
from typing import Any, Final, Literal

import msgspec

from syncer.bench.cloud import Cloud, DriftKind
from syncer.simulator.limits import TokenBucket
from syncer.simulator.replies import failure

Listing = Literal["whole", "late", "failing", "one less"]
"""How zones are listed: as they are, after ``LATE`` more seconds, not at all, without the first."""
LATE: Final = 1.0
MAX_PAGE: Final = 1000
_PENDING: Final = 1024  # connections that may wait to be accepted
_OK: Final = b"200 OK"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ACTION: Final = re.compile(rb"\r\nx-zc-action: *(\w+)", re.IGNORECASE)


class ServedCloud:
    """The cloud that is served, its latency and its rate limit, and counts of calls."""

    def __init__(self) -> None:
        self.cloud = Cloud(0, 0)
        self.latency = 0.0
        self.listing: Listing = "whole"
        self.bucket: TokenBucket | None = None
        self.calls = 0
        self.refused = 0

    def answer(self, path: bytes, action: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Return status and body of the answer to a call of the API or to ``/bench``."""
        request: dict[str, Any] = msgspec.json.decode(body)
        if path == b"/bench":
            return _OK, msgspec.json.encode(self._change(**request))
        self.calls += 1
        request_id = f"{self.calls:032x}"
        if self.bucket is not None and self.bucket.take() > 0:
            self.refused += 1
            reply = failure(request_id, 429, "REQUEST_LIMIT_EXCEEDED", "too many requests")
            return b"429 Too Many Requests", reply.body
        if action == b"DescribeZones":
            if self.listing == "failing":
                reply = failure(request_id, 400, "OPERATION_FAILED", "zones cannot be listed")
                return b"400 Bad Request", reply.body
            listed = self.cloud.zones[self.listing == "one less" :]
            rows = [{"zoneId": zone, "zoneName": zone.title()} for zone in listed]
            members = b'"zoneSet":' + msgspec.json.encode(rows)
        elif "imageIds" in request:
            return b"400 Bad Request", b"nothing was ever removed, yet images are asked for by id"
        else:
            members = self._images(request)
        envelope = b'{"requestId":"%s","response":{"requestId":"%s",%s}}'
        return _OK, envelope % (request_id.encode(), request_id.encode(), members)

    def latency_of(self, action: bytes) -> float:
        """Return the seconds until a call is answered."""
        is_late = self.listing == "late" and action == b"DescribeZones"
        return self.latency + is_late * LATE

    def _images(self, request: dict[str, Any]) -> bytes:
        zone, size = request["zoneId"], min(request["pageSize"], MAX_PAGE)
        page = self.cloud.page(zone, request["pageNum"], size)
        return b'"totalCount":%d,"dataSet":%s' % (self.cloud.total(zone), page)

    def _change(
        self,
        *,
        build: tuple[int, int] | None = None,
        drift: DriftKind | None = None,
        reorder: int | None = None,
        reformat: int | None = None,
        latency: float | None = None,
        limit: int | None = None,
        listing: Listing | None = None,
        checksums: bool = False,
    ) -> dict[str, Any]:
        result: dict[str, Any] = {"calls": self.calls, "refused": self.refused}
        if build is not None:
            self.cloud = Cloud(*build)
        if drift is not None:
            result["changed"] = self.cloud.drift(drift)
        if reorder is not None:
            self.cloud.reorder(reorder)
        if reformat is not None:
            self.cloud.reformat(reformat)
        if latency is not None:
            self.latency = latency
        if limit is not None:  # a full bucket of one second's calls; 0 removes it
            self.bucket = TokenBucket(limit, limit, time.monotonic) if limit else None
        if listing is not None:
            self.listing = listing
        if checksums:
            result["checksums"] = {zone: self.cloud.checksum(zone) for zone in self.cloud.zones}
        self.cloud.render(MAX_PAGE)
        gc.collect()
        gc.freeze()
        return result


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, each with its Content-Length."""

    def __init__(self, served: ServedCloud) -> None:
        self._served = served
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport that answers go to."""
        self._transport = transport  # type: ignore[assignment]  # of a stream

    def data_received(self, data: bytes) -> None:
        """Answer each request that has arrived completely."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n") + 4) > 3:  # noqa: PLR2004
            head = self._received[:end]
            length = _LENGTH.search(head)
            total = end + (int(length[1]) if length else 0)
            if len(self._received) < total:
                return
            body, self._received = self._received[end:total], self._received[total:]
            found = _ACTION.search(head)
            action = found[1] if found else b""
            answer = self._served.answer(head.split(b" ", 2)[1], action, body)
            loop = asyncio.get_running_loop()
            loop.call_later(self._served.latency_of(action), self._send, *answer)

    def _send(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None  # noqa: S101  (it was made)
        self._transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(body), body)
        )


async def serve_cloud(certificate: str | None) -> None:
    """Serve until standard input ends."""
    served = ServedCloud()
    loop = asyncio.get_running_loop()

    async def listen(tls: ssl.SSLContext | None) -> int:
        listener = await loop.create_server(
            lambda: Connection(served), "127.0.0.1", 0, backlog=_PENDING, ssl=tls
        )
        port: int = listener.sockets[0].getsockname()[1]
        return port

    address = f"http://127.0.0.1:{await listen(None)}"
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        address = f"{address} {await listen(tls)}"
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve_cloud(sys.argv[1] if sys.argv[1:] else None))
