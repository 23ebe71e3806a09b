"""The control address: change the world and the faults while the simulator runs."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from aiohttp import web

from syncer.simulator.kinds import COMMON_OPTIONS, FAULT_KINDS
from syncer.simulator.operations import OPERATIONS, Controlled, operate

PATH = "/_control"
_EXAMPLE = '{"op": "add_fault", "fault": "status=503,times=3"}'


async def answer(sim: Controlled, request: web.BaseRequest) -> web.Response:
    """Answer GET with help and state, POST by doing what its body says."""
    if request.method == "GET":
        return _json(200, {"help": _help(), "state": _state(sim)})
    if request.method != "POST":
        return _json(405, {"error": "GET shows help and state, POST does an operation"})
    try:
        result = operate(sim, json.loads(await request.read()))
    except msgspec.ValidationError as error:
        return _json(400, {"error": f"{error}. GET {PATH} lists the operations"})
    except (ValueError, TypeError, LookupError) as error:
        return _json(400, {"error": str(error)})
    return _json(200, {"ok": True, **result})


def _help() -> dict[str, Any]:
    return {
        "use": f"POST {PATH} with JSON such as " + _EXAMPLE,
        "operations": {operation.usage: operation.help for operation in OPERATIONS},
        "faults": [*(kind.usage for kind in FAULT_KINDS.values()), COMMON_OPTIONS],
    }


def _state(sim: Controlled) -> dict[str, Any]:
    return {
        "service": sim.world.service,
        "seed": sim.world.seed,
        "zones": {zone: sim.world.count(zone) for zone in sim.world.zones()},
        "images": sim.world.count(),
        "services": {
            name: {"zones": len(world.zones()), "images": world.count()}
            for name, world in sim.worlds.items()
        },
        "faults": {
            str(armed.number): {"fault": str(armed.fault), "hits": armed.hits}
            for armed in sim.faults
        },
        "stats": sim.log.stats(),
    }


def _json(status: int, value: object) -> web.Response:
    body = json.dumps(value, indent=2) + "\n"
    return web.Response(status=status, text=body, content_type="application/json")
