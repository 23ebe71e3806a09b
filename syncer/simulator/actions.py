"""The services the simulator offers, their actions, and how parameters are checked.

A further service is one more entry of ``SERVICES`` and the functions it names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal

import msgspec

from syncer.simulator import listing
from syncer.simulator.faultbook import ArmedFault
from syncer.simulator.faults import matches_any
from syncer.simulator.replies import ErrorReply, usual_code
from syncer.simulator.world import World

UnknownIds = Literal["omit", "error"]

DEFAULT_PAGE_SIZE = 20
MOST_PAGE_SIZE = 1000
FIRST_IDS = 20
"""How many of the ids are looked up where a fault forgets the others."""

_IMAGE_TYPES = frozenset({"PUBLIC_IMAGE", "CUSTOM_IMAGE"})
_STATUSES = frozenset({"CREATING", "AVAILABLE", "UNAVAILABLE"})
# Windows and Linux in one document, windows and linux in another: compared without case.
_OS_TYPES = frozenset({"windows", "linux"})
_CATEGORIES = frozenset(
    {"windows", "ubuntu", "centos", "debian", "arch_linux", "coreos", "fedora", "freebsd"}
    | {"kylin", "oracle_linux", "redhat", "suse", "tencentos", "others"}
)


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was admitted: its parameters, and the faults that change its answer."""

    world: World
    version: str
    parameters: dict[str, Any] | None
    shapes: Sequence[ArmedFault]
    rng: Random
    unknown_ids: UnknownIds
    most_ids: int

    def _given(self, name: str) -> Any:  # noqa: ANN401 - clients may send anything
        return (self.parameters or {}).get(name)

    def text(self, name: str) -> str | None:
        """Return a parameter that is a string; null and the empty string count as left out."""
        value = self._given(name)
        if value is not None and not isinstance(value, str):
            raise _wrong_type(name, "a string")
        return value or None

    def choice(self, name: str, allowed: frozenset[str], *, fold: bool = False) -> str | None:
        """Return a parameter that is one of the allowed words; ``fold`` compares without case."""
        value = self.text(name)
        if value is not None and (value.lower() if fold else value) not in allowed:
            raise ErrorReply(
                400,
                "INVALID_PARAMETER_VALUE",
                f"The value of {name} must be one of {', '.join(sorted(allowed))}",
            )
        return value

    def integer(self, name: str, default: int, *, least: int = 1, most: int | None = None) -> int:
        """Return a parameter that is a whole number within bounds."""
        value = self._given(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(name, "an integer")
        if value < least:
            raise ErrorReply(
                400, "INVALID_PARAMETER_LESS_MINIMUM", f"{name} must be at least {least}"
            )
        if most is not None and value > most:
            raise ErrorReply(
                400, "INVALID_PARAMETER_EXCEED_MAXIMUM", f"{name} must be at most {most}"
            )
        return value

    def texts(self, name: str) -> list[str]:
        """Return a parameter that is a list of strings; left out and empty are the same."""
        value = self._given(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _wrong_type(name, "an array of strings")
        if len(value) > self.most_ids:
            raise ErrorReply(
                400,
                "INVALID_PARAMETER_EXCEED_LENGTH",
                f"{name} must have at most {self.most_ids} items",
            )
        return value


Action = Callable[[ApiRequest], bytes]
"""Answers with the members of ``response`` as JSON, or raises ``ErrorReply``."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service: its versions and its actions."""

    versions: tuple[str, ...]
    actions: dict[str, Action]


def vm_zones(request: ApiRequest) -> bytes:
    """DescribeZones of vm; ``networkLineType`` came with 2026-04-01."""
    wanted = set(request.texts("zoneIds"))
    rows = request.world.zone_rows()
    if wanted:
        rows = [row for row in rows if row.get("zoneId") in wanted]
    if request.version == _VM_2023:
        rows = [{k: v for k, v in row.items() if k != "networkLineType"} for row in rows]
    return listing.zone_members(rows, request.shapes)


def vm_images(request: ApiRequest) -> bytes:
    """DescribeImages of vm; ``imageName`` is matched loosely, which the documents leave open."""
    world = request.world
    zone = request.text("zoneId")
    if zone is None:
        raise ErrorReply(400, "MISSING_PARAMETER", "The parameter zoneId is required")
    ids = request.texts("imageIds")
    name = request.text("imageName")
    exact = {
        "category": request.choice("category", _CATEGORIES, fold=True),
        "imageType": request.choice("imageType", _IMAGE_TYPES),
        "osType": request.choice("osType", _OS_TYPES, fold=True),
        "imageStatus": request.choice("imageStatus", _STATUSES),
    }
    filters = {field: value.lower() for field, value in exact.items() if value is not None}
    number = request.integer("pageNum", 1)
    size = request.integer("pageSize", DEFAULT_PAGE_SIZE, most=MOST_PAGE_SIZE)
    if not world.exists(zone):
        raise ErrorReply(
            404, "INVALID_ZONE_NOT_FOUND", f"The specified zoneId `{zone}` is not found"
        )
    if not (ids or name or filters or request.shapes):  # rendered before, unless the zone changed
        return b'"dataSet":%s,"totalCount":%d' % (
            world.page(zone, number, size),
            world.count(zone),
        )
    rows = world.rows(zone)
    if ids:
        rows = _by_id(request, rows, ids)
    if name or filters:
        rows = [row for row in rows if _passes(row, (name or "").lower(), filters)]
    return listing.image_members(
        zone, rows, number=number, size=size, shapes=request.shapes, rng=request.rng
    )


def _by_id(request: ApiRequest, rows: list[Any], ids: list[str]) -> list[Any]:
    """Return the rows whose ids are asked for, as the faults have them looked up."""
    refused = [armed.fault for armed in request.shapes if armed.fault.kind == "refuse_id"]
    for fault in refused:
        if any(matches_any(fault.ids or "*", image_id) for image_id in ids):
            status = int(fault.number)
            raise ErrorReply(status, usual_code(status), "simulated fault")
    lookups = {armed.fault.text for armed in request.shapes if armed.fault.kind == "lookup"}
    if "ignored" in lookups:
        return rows
    fold: Callable[[str], str] = str.lower if "folded" in lookups else str
    wanted = {fold(image_id) for image_id in (ids[:FIRST_IDS] if "first" in lookups else ids)}
    found = [row for row in rows if (one := listing.image_id(row)) and fold(one) in wanted]
    unknown = wanted - {fold(one) for row in found if (one := listing.image_id(row))}
    if unknown and ("strict" in lookups or request.unknown_ids == "error"):
        raise ErrorReply(404, "INVALID_IMAGE_NOT_FOUND", f"The image `{min(unknown)}` is not found")
    return found


def _passes(row: object, name: str, filters: dict[str, str]) -> bool:
    if not isinstance(row, dict) or name not in str(row.get("imageName", "")).lower():
        return False
    return all(str(row.get(field)).lower() == value for field, value in filters.items())


def _wrong_type(name: str, wanted: str) -> ErrorReply:
    return ErrorReply(400, "INVALID_PARAMETER_TYPE", f"The parameter {name} must be {wanted}")


_VM_2023 = "2023-03-13"

SERVICES = {
    "vm": Service(
        versions=(_VM_2023, "2026-04-01"),
        actions={"DescribeZones": vm_zones, "DescribeImages": vm_images},
    ),
}
"""What stands behind ``/api/v2/{service}``, by the service's name."""


def perform(request: ApiRequest, *, service: str, action: str, content_type: str) -> bytes:
    """Answer what was asked with the members of ``response``, or raise ``ErrorReply``.

    No code is documented for a wrong media type, an unknown action or version, or a body that is
    no JSON; those used here are the nearest that are.
    """
    media, _, charset = content_type.lower().partition(";")
    if media.strip() != "application/json" or charset.strip() not in ("", "charset=utf-8"):
        raise ErrorReply(
            415, "INVALID_PARAMETER_VALUE", "Content-Type must be application/json in UTF-8"
        )
    offered = SERVICES.get(service) if service == request.world.service else None
    action_function = offered.actions.get(action) if offered else None
    if offered is None or action_function is None or request.version not in offered.versions:
        raise ErrorReply(
            401,
            "AUTHFAILURE_UNAUTHORIZED_OPERATION",
            f"There is no {action or 'action'} in version {request.version or '(none)'}"
            f" of {service}, or you may not use it",
        )
    if request.parameters is None:
        raise ErrorReply(400, "INVALID_PARAMETER_TYPE", "The body must be a JSON object")
    return action_function(request)
