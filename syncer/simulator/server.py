"""The simulator: a server on this machine that answers as the Zenlayer Cloud API would."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable
from email.utils import formatdate
from random import Random
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from syncer.simulator import control, delivery, replies
from syncer.simulator.actions import ApiRequest, perform
from syncer.simulator.calls import CallLog, CallRecord, read_body
from syncer.simulator.faultbook import ChosenFaults, FaultBook
from syncer.simulator.faults import InjectedFault
from syncer.simulator.gate import Gate
from syncer.simulator.options import DEFAULT_OPTIONS, SimulatorOptions
from syncer.simulator.replies import ErrorReply, HttpReply
from syncer.simulator.world import World

_PREFIX = "/api/v2/"
_BACKLOG = 1024
_SHUTDOWN = 0.05  # seconds; a call that hangs on purpose would use up any amount


class Simulator:
    """An API server for a world, or one of each service; ``async with Simulator(world) as sim``.

    ``world`` is the first of ``worlds``, which are by service. They, ``skew``, ``latency``,
    ``on_call`` and the faults may be changed while it runs.
    """

    def __init__(
        self, world: World | Iterable[World], options: SimulatorOptions = DEFAULT_OPTIONS
    ) -> None:
        self.options = options
        self.host = options.host
        self.port = options.port
        given = [world] if isinstance(world, World) else world
        self.worlds = {one.service: one for one in given}
        self.skew = options.skew
        self.latency = options.latency
        self.on_call = options.on_call
        self.gate = Gate(
            access_keys=options.access_keys,
            tokens=options.tokens,
            rate=options.rate,
            burst=options.burst,
            retry_after=options.retry_after,
            clock=self.clock,
            ticks=options.ticks,
        )
        seed = options.seed
        self._rng = Random(f"{seed}/simulator")  # noqa: S311 - sample data, not a secret
        self.faults = FaultBook(Random(f"{seed}/faults"), options.faults)  # noqa: S311 - as above
        self.log = CallLog(options.keep_calls)
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._connected, self.host, self.port, backlog=_BACKLOG
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            self._server.pre_shutdown()  # idle connections need not be waited for
            await self._server.shutdown(_SHUTDOWN)
        if self._listener is not None:
            await self._listener.wait_closed()

    @property
    def world(self) -> World:
        """The world of the first service; to set it makes it the only one."""
        return next(iter(self.worlds.values()))

    @world.setter
    def world(self, world: World) -> None:
        self.worlds = {world.service: world}

    @property
    def endpoint(self) -> str:
        """Its base URL, for ``ZENLAYER_ENDPOINT``."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def calls(self) -> list[CallRecord]:
        """Calls of actions in the order they came in."""
        return self.log.calls

    @property
    def peak_concurrency(self) -> int:
        """The most calls that were being answered at one time."""
        return self.log.peak

    @property
    def connections(self) -> int:
        """How many connections clients opened."""
        return self.log.connections

    def reset_stats(self) -> None:
        """Forget calls and figures."""
        self.log.reset()

    def clock(self) -> float:
        """Return the time of the server's clock, in UNIX seconds."""
        return time.time() + self.skew

    def add_fault(self, fault: InjectedFault | str) -> int:
        """Arm a fault, given as it is or as a line, and return its number."""
        return self.faults.add(fault)

    def remove_fault(self, number: int) -> None:
        """Remove one fault; ``LookupError`` when there is none of that number."""
        self.faults.remove(number)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.faults.clear()

    def _connected(self) -> asyncio.Protocol:
        if self._server is None:
            raise RuntimeError("the simulator is not running")
        self.log.connections += 1
        return self._server()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == control.PATH:
            return await control.answer(self, request)
        if not request.path.startswith(_PREFIX):
            reply = replies.failure(
                self._request_id(),
                404,
                "OPERATION_FAILED_RESOURCE_NOT_FOUND",
                f"There is nothing at {request.path}; calls go to {_PREFIX}{self.world.service}",
            )
            return delivery.respond(reply, self._date())
        body = await request.read()
        call = CallRecord(
            service=request.path.removeprefix(_PREFIX),
            action=request.headers.get("X-ZC-Action", ""),
            version=request.headers.get("X-ZC-Version", self.options.default_version or ""),
            zone=None,
            page_num=None,
            page_size=None,
            image_ids=None,
            started=time.monotonic(),
            request_id=self._request_id(),
        )
        self.log.begin(call)
        try:
            return await self._answer(request, body, call)
        finally:
            self.log.end(call, time.monotonic())

    async def _answer(
        self, request: web.BaseRequest, body: bytes, call: CallRecord
    ) -> web.StreamResponse:
        parameters = read_body(body)
        call.describe(parameters or {})
        refusal: HttpReply | None = None
        try:
            call.who = self.gate.admit(request.method, request.headers, body)
        except ErrorReply as error:
            refusal = error.reply(call.request_id)
        if self.latency > 0:
            await asyncio.sleep(self.latency)
        if self.on_call is not None and (waits := self.on_call(call)) is not None:
            await waits
        if refusal is not None:
            return self._respond(call, refusal)
        chosen = self.faults.choose(
            service=call.service,
            action=call.action,
            zone=call.zone,
            page=call.page_num,
            by_id=call.by_id,
        )
        call.faults = chosen.kinds
        if chosen.delay > 0:
            await asyncio.sleep(chosen.delay)
        if chosen.answer is not None:
            return await self._answer_by_fault(request, call, chosen.answer)
        try:
            reply = self._perform(request, call, parameters, chosen)
        except ErrorReply as error:
            reply = error.reply(call.request_id)
        if chosen.body is None:
            return self._respond(call, reply)
        call.status, call.code = reply.status, reply.code
        return await delivery.send_damaged(request, reply, self._date(), chosen.body)

    def _perform(
        self,
        request: web.BaseRequest,
        call: CallRecord,
        parameters: dict[str, Any] | None,
        chosen: ChosenFaults,
    ) -> HttpReply:
        api_request = ApiRequest(
            world=self.worlds.get(call.service, self.world),
            version=call.version,
            parameters=parameters,
            shapes=chosen.shapes,
            rng=self._rng,
            unknown_ids=self.options.unknown_ids,
            most_ids=self.options.most_ids,
        )
        fields = perform(
            api_request,
            service=call.service,
            action=call.action,
            content_type=request.headers.get("Content-Type", ""),
        )
        return replies.success(call.request_id, fields)

    async def _answer_by_fault(
        self, request: web.BaseRequest, call: CallRecord, fault: InjectedFault
    ) -> web.StreamResponse:
        if fault.kind == "hang":
            await delivery.wait_forever()
        if fault.kind in ("hang", "reset"):
            return delivery.reset_connection(request)
        if (reply := delivery.fault_reply(fault, call.request_id, self.endpoint)) is not None:
            return self._respond(call, reply)
        call.status = 200
        send = delivery.send_big_body if fault.kind == "big_body" else delivery.send_gzip_bomb
        return await send(request, call.request_id, self._date(), fault.number)

    def _respond(self, call: CallRecord, reply: HttpReply) -> web.Response:
        call.status, call.code = reply.status, reply.code
        return delivery.respond(reply, self._date())

    def _date(self) -> str:
        return formatdate(self.clock(), usegmt=True)

    def _request_id(self) -> str:
        return f"T{uuid.UUID(int=self._rng.getrandbits(128), version=4)}".upper()
