"""The services the simulator offers, their actions, and how parameters are checked.

A further service is one more entry of ``SERVICES``, with how its images are asked for in each
version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final, Literal

import msgspec

from syncer.simulator import catalogue_bmc, catalogue_zec, listing
from syncer.simulator.catalogues import NO_ZONE
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
_STATUSES_2025 = _STATUSES | {"SYNCING", "FAILED", "DELETING", "PROCESSING"}
_SOURCES = frozenset({"OFFICIAL", "MARKETING", "CUSTOM", "APP"})
# Windows and Linux in one document, windows and linux in another: compared without case.
_OS_TYPES = frozenset({"windows", "linux"})
_OS_TYPES_ZEC = _OS_TYPES | {"bsd", "android", "any"}
_CATEGORIES = frozenset(
    {"windows", "ubuntu", "centos", "debian", "arch_linux", "coreos", "fedora", "freebsd"}
    | {"kylin", "oracle_linux", "redhat", "suse", "tencentos", "others"}
)
_CATALOGS = frozenset({"centos", "windows", "ubuntu", "debian", "esxi"})


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

    def pairs(self, name: str) -> list[dict[str, str]]:
        """Return a parameter that is a list of tags, objects of key and value."""
        value = self._given(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(
            isinstance(one, dict) and set(one) == {"key", "value"} for one in value
        ):
            raise _wrong_type(name, "an array of tags")
        return value


Action = Callable[[ApiRequest], bytes]
"""Answers with the members of ``response`` as JSON, or raises ``ErrorReply``."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service: its versions and its actions."""

    versions: tuple[str, ...]
    actions: dict[str, Action]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """How the images of a service are asked for, in one version.

    ``choices`` are the filters of a few words, compared without case: a parameter with its allowed
    values (None: any text). ``without`` are the fields that this version does not show.
    """

    choices: dict[str, frozenset[str] | None]
    zoned: bool = True
    paged: bool = True
    tagged: bool = False
    form: listing.Form = listing.Form()
    without: frozenset[str] = frozenset()


def _zones(request: ApiRequest, *, without: dict[str, frozenset[str]]) -> bytes:
    """DescribeZones; ``without`` are the fields that a version does not show."""
    wanted = set(request.texts("zoneIds"))
    rows = request.world.zone_rows()
    if wanted:
        rows = [row for row in rows if row.get("zoneId") in wanted]
    hidden = without.get(request.version, frozenset())
    return listing.zone_members([_shown(row, hidden) for row in rows], request.shapes)


def _images(request: ApiRequest, *, offers: dict[str, Offer]) -> bytes:
    """DescribeImages; ``imageName`` is matched loosely, which the documents leave open."""
    world, offer = request.world, offers[request.version]
    zone = request.text("zoneId") if offer.zoned else NO_ZONE
    if zone is None:
        raise ErrorReply(400, "MISSING_PARAMETER", "The parameter zoneId is required")
    ids = request.texts("imageIds")
    passes = _filter(request, offer)
    number = request.integer("pageNum", 1) if offer.paged else 1
    size = world.count(zone) if world.exists(zone) else 0
    if offer.paged:
        size = request.integer("pageSize", DEFAULT_PAGE_SIZE, most=MOST_PAGE_SIZE)
    if offer.zoned and not world.exists(zone):
        raise ErrorReply(
            404, "INVALID_ZONE_NOT_FOUND", f"The specified zoneId `{zone}` is not found"
        )
    plain = offer.paged and not offer.without
    if plain and not (ids or passes or request.shapes):  # rendered, unless the zone changed
        return b'"dataSet":%s,"totalCount":%d' % (
            world.page(zone, number, size),
            world.count(zone),
        )
    rows = world.rows(zone) if world.exists(zone) else []
    if ids:
        rows = _by_id(request, rows, ids)
    if passes:
        rows = [row for row in rows if isinstance(row, dict) and passes(row)]
    return listing.image_members(
        f"{world.service}/{zone}",
        [_shown(row, offer.without) for row in rows],
        form=offer.form,
        number=number,
        size=max(size, 1),
        shapes=request.shapes,
        rng=request.rng,
    )


def _shown(row: Any, without: frozenset[str]) -> Any:  # noqa: ANN401 - rows may be anything
    """Return a row without the fields that a version does not have."""
    if not without or not isinstance(row, dict):
        return row
    return {name: value for name, value in row.items() if name not in without}


def _filter(request: ApiRequest, offer: Offer) -> Callable[[dict[str, Any]], bool] | None:
    """Return which images are asked for by what they are; None for all."""
    name = request.text("imageName")
    wanted: dict[str, str] = {}
    for parameter, allowed in offer.choices.items():
        if allowed is None:
            value = request.text(parameter)
        else:
            value = request.choice(parameter, allowed, fold=parameter not in _IN_CAPITALS)
        if value is not None:
            wanted[parameter] = value.lower()
    keys = request.texts("tagKeys") if offer.tagged else []
    pairs = request.pairs("tags") if offer.tagged else []
    if not (name or wanted or keys or pairs):
        return None

    def passes(row: dict[str, Any]) -> bool:
        if (name or "").lower() not in str(row.get("imageName", "")).lower():
            return False
        tags = (row.get("tags") or {}).get("tags") or []
        return (
            all(str(row.get(field)).lower() == value for field, value in wanted.items())
            and all(any(tag["key"] == key for tag in tags) for key in keys)
            and all(pair in tags for pair in pairs)
        )

    return passes


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


def _wrong_type(name: str, wanted: str) -> ErrorReply:
    return ErrorReply(400, "INVALID_PARAMETER_TYPE", f"The parameter {name} must be {wanted}")


_IN_CAPITALS: Final = frozenset({"imageType", "imageStatus", "imageSource"})
"""The parameters whose words are compared with case."""
_VM: Final = Offer(
    choices={
        "category": _CATEGORIES,
        "imageType": _IMAGE_TYPES,
        "osType": _OS_TYPES,
        "imageStatus": _STATUSES,
    },
)
_ZEC_2024: Final = Offer(
    choices={
        "category": None,
        "imageType": _IMAGE_TYPES,
        "osType": _OS_TYPES_ZEC,
        "imageStatus": _STATUSES,
    },
    without=catalogue_zec.NOT_IN_2024,
)
_ZEC_2025: Final = Offer(
    choices={
        "category": None,
        "imageType": _IMAGE_TYPES,
        "imageSource": _SOURCES,
        "osType": _OS_TYPES_ZEC,
        "imageStatus": _STATUSES_2025,
    },
    tagged=True,
)
_BMC: Final = Offer(
    choices={"catalog": _CATALOGS, "imageType": _IMAGE_TYPES, "osType": _OS_TYPES},
    zoned=False,
    paged=False,
    form=listing.Form(rows="images", total=False),
)


def _service(offers: dict[str, Offer], old_zones: frozenset[str] | None = None) -> Service:
    """Return a service; ``old_zones`` are fields of zones that only the newer has."""
    without = {min(offers): old_zones or frozenset()}
    return Service(
        versions=tuple(offers),
        actions={
            "DescribeZones": partial(_zones, without=without),
            "DescribeImages": partial(_images, offers=offers),
        },
    )


SERVICES = {
    "vm": _service({"2023-03-13": _VM, "2026-04-01": _VM}, frozenset({"networkLineType"})),
    "zec": _service(
        {"2024-04-01": _ZEC_2024, "2025-09-01": _ZEC_2025}, catalogue_zec.NOT_IN_ZONES_OF_2024
    ),
    "bmc": _service({"2022-11-20": _BMC, "2026-02-01": _BMC}, catalogue_bmc.NOT_IN_2022),
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
