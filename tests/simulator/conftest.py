"""A plain client for the simulator: what is on the wire, with no cleverness of ours between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from syncer.simulator import Simulator, SimulatorOptions, World

TOKEN = "tok-123"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def response(self) -> Any:
        return self.json["response"]

    @property
    def code(self) -> Any:
        return self.json.get("code")


class Client:
    """Asks with a bearer token; a signature has its own tests."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def call(
        self,
        sim: Simulator,
        action: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        path: str = "/api/v2/vm",
        raw: bytes | None = None,
        method: str = "POST",
    ) -> Answer:
        sent = {
            "Authorization": f"Bearer {TOKEN}",
            "X-ZC-Action": action,
            "X-ZC-Version": "2026-04-01",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        data = json.dumps(body or {}).encode() if raw is None else raw
        async with self.session.request(
            method, sim.endpoint + path, data=data, headers=sent, allow_redirects=False
        ) as reply:
            return Answer(reply.status, reply.headers, await reply.read())

    async def zones(self, sim: Simulator, **body: object) -> Answer:
        return await self.call(sim, "DescribeZones", body)

    async def images(self, sim: Simulator, zone: str = "FRA-A", **body: object) -> Answer:
        return await self.call(sim, "DescribeImages", {"zoneId": zone, **body})

    async def control(self, sim: Simulator, op: object) -> Answer:
        data = op if isinstance(op, bytes) else json.dumps(op).encode()
        async with self.session.post(sim.endpoint + "/_control", data=data) as reply:
            return Answer(reply.status, reply.headers, await reply.read())


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Client(session)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    world = World.generate(zones=4, images=50)
    async with Simulator(world, SimulatorOptions(tokens={TOKEN})) as running:
        yield running
