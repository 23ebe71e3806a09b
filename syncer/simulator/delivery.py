"""How an answer gets onto the wire, as it should be or damaged by a fault."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import Iterator

import msgspec
from aiohttp import web

from syncer.simulator import replies
from syncer.simulator.faults import InjectedFault
from syncer.simulator.replies import HttpReply

_MIB = 2**20
_CHUNK = 2**16
_FLUSH = 0.02  # seconds for what was sent to be read; a reset overtakes it
_GZIP = 31  # zlib's number for the largest window with a gzip header
_HARD_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on with no time: the kernel sends a reset
_NOT_FOUND = {
    "zone": ("INVALID_ZONE_NOT_FOUND", "The specified zoneId is not found"),
    "image": ("INVALID_IMAGE_NOT_FOUND", "The specified imageId is not found"),
    "resource": ("OPERATION_FAILED_RESOURCE_NOT_FOUND", "The resource is not found"),
}
_GARBAGE = {
    "text": b"upstream connect error or disconnect/reset before headers",
    "html": b"<html><body>It works!</body></html>",
    "empty": b"",
    "array": b"[]",
    "binary": bytes(range(256)),
}


def fault_reply(fault: InjectedFault, request_id: str, endpoint: str) -> HttpReply | None:
    """Return the answer a fault gives in place of the real one, if it gives one at all."""
    kind = fault.kind
    if kind in ("status", "throttle"):
        return _status(fault, request_id)
    if kind == "garbage":
        return HttpReply(status=200, body=_GARBAGE[fault.text])
    if kind == "error_in_200":
        return replies.failure(request_id, 200, fault.text, "simulated fault")
    if kind == "not_found":
        return replies.failure(request_id, 404, *_NOT_FOUND[fault.text])
    if kind == "challenge":
        headers = {"cf-mitigated": "challenge", "Server": "cloudflare"}
        return replies.html_page(403, "Just a moment...", headers)
    if kind == "blocked":
        return replies.html_page(451, "Unavailable For Legal Reasons")
    if kind == "redirect":
        return replies.html_page(302, "Found", {"Location": fault.text or f"{endpoint}/elsewhere"})
    return None


def _status(fault: InjectedFault, request_id: str) -> HttpReply:
    status = 429 if fault.kind == "throttle" else int(fault.number)
    after = fault.value if fault.kind == "throttle" else fault.retry_after
    headers = {} if after is None else {"Retry-After": str(after)}
    if fault.html:
        return replies.html_page(status, f"{status} simulated fault", headers)
    code = fault.code or replies.usual_code(status)
    return replies.failure(request_id, status, code, "simulated fault", headers)


def respond(reply: HttpReply, date: str) -> web.Response:
    """Return an answer as it should be."""
    return web.Response(status=reply.status, body=reply.body, headers=_headers(reply, date))


async def wait_forever() -> None:
    """Wait until whoever asked goes away, or the simulator ends."""
    await asyncio.Event().wait()


def reset_connection(request: web.BaseRequest) -> web.Response:
    """Break the connection so that the client sees a reset."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HARD_CLOSE)
        transport.abort()
    return web.Response()


async def send_damaged(
    request: web.BaseRequest, reply: HttpReply, date: str, fault: InjectedFault
) -> web.StreamResponse:
    """Send an answer damaged as a fault of its body says."""
    if fault.kind == "content_type":
        return respond(msgspec.structs.replace(reply, content_type=fault.text), date)
    response = await _begin(request, reply, date, length=len(reply.body))
    if fault.kind == "drip":
        return await _drip(response, reply, fault.number)
    await response.write(reply.body[: int(len(reply.body) * fault.number)])
    if fault.kind == "stall":
        await wait_forever()
    if fault.reset:
        await asyncio.sleep(_FLUSH)
        return reset_connection(request)
    response.force_close()
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(response: web.StreamResponse, reply: HttpReply, every: float) -> web.StreamResponse:
    for place in range(len(reply.body)):
        await response.write(reply.body[place : place + 1])
        await asyncio.sleep(every)
    await response.write_eof()
    return response


async def send_big_body(
    request: web.BaseRequest, request_id: str, date: str, mib: float
) -> web.StreamResponse:
    """Send a reply of ``mib`` MiB without announcing its length."""
    response = await _begin(request, HttpReply(status=200, body=b""), date, length=None)
    for chunk in _padded(request_id, mib):
        await response.write(chunk)
    await response.write_eof()
    return response


async def send_gzip_bomb(
    _: web.BaseRequest, request_id: str, date: str, mib: float
) -> web.Response:
    """Return a small compressed reply that grows to ``mib`` MiB when it is unpacked."""
    body = await asyncio.to_thread(_compressed, request_id, mib)
    return respond(HttpReply(status=200, body=body, headers={"Content-Encoding": "gzip"}), date)


def _padded(request_id: str, mib: float) -> Iterator[bytes]:
    """Yield a reply in chunks, with nothing wrong but its size."""
    start = replies.success(request_id, b'"dataSet":[],"totalCount":0,"padding":"')
    yield start.body.removesuffix(b"}}")
    left = int(mib * _MIB)
    while left > 0:
        yield b" " * min(left, _CHUNK)
        left -= _CHUNK
    yield b'"}}'


def _compressed(request_id: str, mib: float) -> bytes:
    compressor = zlib.compressobj(wbits=_GZIP)
    parts = [compressor.compress(chunk) for chunk in _padded(request_id, mib)]
    return b"".join((*parts, compressor.flush()))


async def _begin(
    request: web.BaseRequest, reply: HttpReply, date: str, *, length: int | None
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=_headers(reply, date))
    if length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = length
    await response.prepare(request)
    return response


def _headers(reply: HttpReply, date: str) -> dict[str, str]:
    return {"Content-Type": reply.content_type, "Date": date, **reply.headers}
