"""What the control address can do: a table with an entry for each operation."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from syncer.simulator.calls import CallLog
from syncer.simulator.faultbook import FaultBook
from syncer.simulator.gate import Gate
from syncer.simulator.world import World

_DAY = 86_400_000  # milliseconds


class Controlled(Protocol):
    """The parts of a running simulator that an operation reads or changes."""

    worlds: dict[str, World]
    faults: FaultBook
    gate: Gate
    log: CallLog
    skew: float
    latency: float

    @property
    def world(self) -> World:
        """The world of the first service."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    ``usage`` is its name, then the members of its request, in brackets those that may be left out;
    ``_MEMBERS`` has their types. ``run`` gets the simulator and the request; what it returns is
    added to the reply.
    """

    usage: str
    help: str
    run: Callable[[Controlled, Any], dict[str, Any] | None]


def _world(sim: Controlled, request: Any) -> World:  # noqa: ANN401 - a request's type is made here
    """Return the world of the service that is named, else of the first."""
    if request.service is None:
        return sim.world
    if request.service not in sim.worlds:
        raise LookupError(f"there is no service {request.service}")
    return sim.worlds[request.service]


def _but_service(request: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    return {k: v for k, v in msgspec.structs.asdict(request).items() if k != "service"}


def _set_skew(sim: Controlled, request: Any) -> None:  # noqa: ANN401 - a request's type is made here
    sim.skew = request.seconds


def _set_latency(sim: Controlled, request: Any) -> None:  # noqa: ANN401 - as above
    if not 0 <= request.milliseconds < _DAY:
        raise ValueError(f"a latency is from 0 to {_DAY} ms, not {request.milliseconds}")
    sim.latency = request.milliseconds / 1000


OPERATIONS: Final = (
    Operation(
        usage="add_image zone [fields] [service]",
        help="Add an image; fields left out are made up.",
        run=lambda sim, request: {
            "id": _world(sim, request).add_image(request.zone, **request.fields)}),
    Operation(
        usage="add_row zone row [service]",
        help="Add anything to a listing, even what is no object.",
        run=lambda sim, request: {"id": _world(sim, request).add_row(request.zone, request.row)}),
    Operation(
        usage="change_image zone id fields [service]", help="Set fields of an image.",
        run=lambda sim, request: _world(sim, request).change_image(
            request.zone, request.id, **request.fields)),
    Operation(
        usage="remove_image zone id [service]", help="Remove an image.",
        run=lambda sim, request: _world(sim, request).remove_image(request.zone, request.id)),
    Operation(
        usage="restore_image zone id [service]", help="Bring back an image that was removed.",
        run=lambda sim, request: _world(sim, request).restore_image(request.zone, request.id)),
    Operation(
        usage="images zone [service]", help="Show the images a zone really has.",
        run=lambda sim, request: {"images": _world(sim, request).images(request.zone)}),
    Operation(
        usage="add_zone [zone] [images] [fields] [service]",
        help="Add a zone with that number of images; without an id it is the next free one.",
        run=lambda sim, request: {
            "zone": _world(sim, request).add_zone(
                request.zone, images=request.images, **request.fields)}),
    Operation(
        usage="change_zone zone fields [service]", help="Set fields of a zone.",
        run=lambda sim, request: _world(sim, request).change_zone(request.zone, **request.fields)),
    Operation(
        usage="remove_zone zone [service]", help="Remove a zone from what the API knows.",
        run=lambda sim, request: _world(sim, request).remove_zone(request.zone)),
    Operation(
        usage="restore_zone zone [service]", help="Bring back a zone that was removed.",
        run=lambda sim, request: _world(sim, request).restore_zone(request.zone)),
    Operation(
        usage="drift [seed] [appear] [change] [remove] [zones] [service]",
        help="Make a small random change of the world.",
        run=lambda sim, request: msgspec.structs.asdict(
            _world(sim, request).drift(**_but_service(request)))),
    Operation(
        usage="add_fault fault",
        help="Arm a fault, written KIND[=VALUE][,NAME=VALUE]...; gives its number.",
        run=lambda sim, request: {"number": sim.faults.add(request.fault)}),
    Operation(
        usage="remove_fault number", help="Remove one fault.",
        run=lambda sim, request: sim.faults.remove(request.number)),
    Operation(
        usage="clear_faults", help="Remove all faults.",
        run=lambda sim, _: sim.faults.clear()),
    Operation(
        usage="set_rate rate [burst] [retry_after]",
        help="Set the rate limit of each credential, in calls a second; null removes it.",
        run=lambda sim, request: sim.gate.limit(
            request.rate, request.burst, retry_after=request.retry_after)),
    Operation(
        usage="set_clock_skew seconds", help="Set how many seconds the server's clock is ahead.",
        run=_set_skew),
    Operation(
        usage="set_latency milliseconds", help="Set the milliseconds before each answer.",
        run=_set_latency),
    Operation(
        usage="stats", help="Show how many calls there were and what they got.",
        run=lambda sim, _: {"stats": sim.log.stats()}),
    Operation(
        usage="reset_stats", help="Count calls anew.", run=lambda sim, _: sim.log.reset()),
)  # fmt: skip
"""Every operation, in the order the help shows them."""

_MEMBERS: Final[dict[str, tuple[Any, Any]]] = {
    "zone": (str, None), "id": (str, None), "row": (Any, None), "fields": (dict[str, Any], {}),
    "images": (int, 0), "seed": (int, 0), "appear": (int, 3), "change": (int, 3),
    "remove": (int, 2), "zones": (list[str], None), "fault": (str, None), "number": (int, None),
    "rate": (float | None, None), "burst": (float, None), "retry_after": (bool, False),
    "seconds": (float, None), "milliseconds": (float, None), "service": (str, None),
}  # fmt: skip
"""The type of each member of a request, and its value where it may be left out and is."""


def _request_of(operation: Operation) -> type[msgspec.Struct]:
    """Return the type of an operation's requests."""
    name, *members = operation.usage.split()
    fields: list[Any] = []
    for member in members:
        bare = member.strip("[]")
        kind, default = _MEMBERS[bare]
        if bare == member:
            fields.append((bare, kind))
        else:
            fields.append((bare, kind | None if default is None else kind, default))
    return msgspec.defstruct(
        name, fields, tag_field="op", tag=name, forbid_unknown_fields=True, frozen=True
    )


_BY_REQUEST: Final = {_request_of(operation): operation for operation in OPERATIONS}
_ANY_REQUEST: Final[Any] = functools.reduce(operator.or_, _BY_REQUEST)


def operate(sim: Controlled, request: object) -> dict[str, Any]:
    """Do what a request says and return what its reply holds.

    Raises ``msgspec.ValidationError`` for a request that is none, and ``ValueError``,
    ``TypeError`` or ``LookupError`` for one that cannot be done.
    """
    found = msgspec.convert(request, _ANY_REQUEST)
    return _BY_REQUEST[type(found)].run(sim, found) or {}
