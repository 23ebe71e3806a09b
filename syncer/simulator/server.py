"""The simulator: a server on this machine that answers as the Zenlayer Cloud API would."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from email.utils import formatdate
from random import Random
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from syncer.simulator import control, delivery, replies
from syncer.simulator.actions import Asked, UnknownIds, perform
from syncer.simulator.calls import Call, CallLog, read_body
from syncer.simulator.faultbook import Chosen, FaultBook
from syncer.simulator.faults import Fault
from syncer.simulator.gate import Gate
from syncer.simulator.replies import ApiError, Reply
from syncer.simulator.world import World

if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_ACCESS_KEYS: Mapping[str, str] = {"simulator": "simulator-secret"}
"""The key pair that is accepted when none is given."""

_PREFIX = "/api/v2/"
_BACKLOG = 1024
_SHUTDOWN = 0.05  # seconds; a call that hangs on purpose would use up any amount


class Simulator:
    """An API server for one world; ``async with Simulator(world) as sim`` runs it.

    Args:
        world: what it answers from; it may be changed while the simulator runs.
        access_keys: secrets by access key id.
        tokens: bearer tokens that are accepted.
        host: a loopback address; anything else raises ``ValueError``.
        port: 0 for any free port.
        latency: seconds before each answer.
        rate: calls per second for each credential, without a limit when None.
        burst: tokens of that limit's bucket; the rate, but at least 1, unless given.
        retry_after: whether a refusal by that limit carries Retry-After.
        unknown_ids: whether ids the zone does not have are left out or make the call a 404.
        most_ids: how many ids a call may name.
        default_version: the version of a call without X-ZC-Version, which is refused when None.
        faults: what goes wrong from the beginning.
        seed: of request ids and of all chance.
        skew: how many seconds the server's clock is ahead.
        ticks: the monotonic clock of the rate limit, in seconds.
        on_call: called before each answer is made; it may change the world.
        keep_calls: how many calls are kept at least; all when None.

    """

    def __init__(
        self,
        world: World,
        *,
        access_keys: Mapping[str, str] = DEFAULT_ACCESS_KEYS,
        tokens: Collection[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        rate: float | None = None,
        burst: float | None = None,
        retry_after: bool = False,
        unknown_ids: UnknownIds = "omit",
        most_ids: int = 100,
        default_version: str | None = None,
        faults: Iterable[Fault | str] = (),
        seed: int = 0,
        skew: float = 0.0,
        ticks: Callable[[], float] = time.monotonic,
        on_call: Callable[[Call], None] | None = None,
        keep_calls: int | None = None,
    ) -> None:
        self.host = _loopback(host)
        self.port = port
        self.world = world
        self.skew = skew
        self.gate = Gate(
            access_keys=access_keys,
            tokens=tokens,
            rate=rate,
            burst=burst,
            retry_after=retry_after,
            clock=self.clock,
            ticks=ticks,
        )
        self.latency = latency
        self.unknown_ids = unknown_ids
        self.most_ids = most_ids
        self.default_version = default_version
        self.on_call = on_call
        self._rng = Random(f"{seed}/simulator")  # noqa: S311 - sample data, not a secret
        self.faults = FaultBook(Random(f"{seed}/faults"), faults)  # noqa: S311 - as above
        self.log = CallLog(keep_calls)
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
    def endpoint(self) -> str:
        """Its base URL, for ``ZENLAYER_ENDPOINT``."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    # --- looking -------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
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

    # --- faults --------------------------------------------------------------------------------

    def add_fault(self, fault: Fault | str) -> int:
        """Arm a fault, given as it is or as a line, and return its number."""
        return self.faults.add(fault)

    def remove_fault(self, number: int) -> None:
        """Take one fault away; ``LookupError`` when there is none of that number."""
        self.faults.remove(number)

    def clear_faults(self) -> None:
        """Take all faults away."""
        self.faults.clear()

    # --- answering -----------------------------------------------------------------------------

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
                f"There is nothing at {request.path}; calls go to {_PREFIX}vm",
            )
            return delivery.whole(reply, self._date())
        body = await request.read()
        call = Call(
            service=request.path.removeprefix(_PREFIX),
            action=request.headers.get("X-ZC-Action", ""),
            version=request.headers.get("X-ZC-Version", self.default_version or ""),
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
        self, request: web.BaseRequest, body: bytes, call: Call
    ) -> web.StreamResponse:
        parameters = read_body(body)
        call.describe(parameters or {})
        refusal: Reply | None = None
        try:
            call.who = self.gate.enter(request.method, request.headers, body)
        except ApiError as error:
            refusal = error.reply(call.request_id)
        if self.latency > 0:
            await asyncio.sleep(self.latency)
        if self.on_call is not None:
            self.on_call(call)
        if refusal is not None:
            return self._whole(call, refusal)
        chosen = self.faults.choose(
            action=call.action, zone=call.zone, page=call.page_num, by_id=call.by_id
        )
        call.faults = chosen.kinds
        if chosen.delay > 0:
            await asyncio.sleep(chosen.delay)
        if chosen.answer is not None:
            return await self._spoil(request, call, chosen.answer)
        try:
            reply = self._act(request, call, parameters, chosen)
        except ApiError as error:
            reply = error.reply(call.request_id)
        if chosen.body is None:
            return self._whole(call, reply)
        call.status, call.code = reply.status, reply.code
        return await delivery.spoiled(request, reply, self._date(), chosen.body)

    def _act(
        self,
        request: web.BaseRequest,
        call: Call,
        parameters: dict[str, Any] | None,
        chosen: Chosen,
    ) -> Reply:
        asked = Asked(
            world=self.world,
            version=call.version,
            parameters=parameters,
            shapes=chosen.shapes,
            rng=self._rng,
            unknown_ids=self.unknown_ids,
            most_ids=self.most_ids,
        )
        fields = perform(
            asked,
            service=call.service,
            action=call.action,
            content_type=request.headers.get("Content-Type", ""),
        )
        return replies.success(call.request_id, fields)

    async def _spoil(
        self, request: web.BaseRequest, call: Call, fault: Fault
    ) -> web.StreamResponse:
        if fault.kind == "hang":
            await delivery.hang()
        if fault.kind in ("hang", "reset"):
            return delivery.reset(request)
        if (reply := delivery.replace(fault, call.request_id, self.endpoint)) is not None:
            return self._whole(call, reply)
        call.status = 200
        send = delivery.big_body if fault.kind == "big_body" else delivery.gzip_bomb
        return await send(request, call.request_id, self._date(), fault.number)

    def _whole(self, call: Call, reply: Reply) -> web.Response:
        call.status, call.code = reply.status, reply.code
        return delivery.whole(reply, self._date())

    def _date(self) -> str:
        return formatdate(self.clock(), usegmt=True)

    def _request_id(self) -> str:
        return f"T{uuid.UUID(int=self._rng.getrandbits(128), version=4)}".upper()


def _loopback(host: str) -> str:
    """Return the address to listen on; ``localhost`` may stand for two, so it is made one."""
    address = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    raise ValueError(f"the simulator listens on loopback addresses only, not on {host!r}")
