"""How faults change what a listing holds."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from syncer.simulator.faultbook import ArmedFault
from syncer.simulator.faults import InjectedFault, matches_any
from syncer.simulator.hostile import make_hostile
from syncer.simulator.rows import render_rows


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a service writes a page of images: the name of the list, and whether it counts them."""

    rows: str = "dataSet"
    total: bool = True


def image_members(
    place: str,
    rows: list[Any],
    *,
    form: Form,
    number: int,
    size: int,
    shapes: Sequence[ArmedFault],
    rng: Random,
) -> bytes:
    """Write the members of a DescribeImages reply for one page of ``rows``.

    ``place`` names service and zone; each has images of its own that a fault leaves out.
    """
    style = "list"
    for armed in shapes:
        fault = armed.fault
        if fault.kind == "omit":
            gone = armed.omits(place, (one for row in rows if (one := image_id(row)) is not None))
            rows = [row for row in rows if image_id(row) not in gone]
        elif fault.kind == "empty_listing":
            rows, style = [], fault.text
        elif fault.kind == "reorder" and fault.text == "zone":
            rows = rng.sample(rows, len(rows))
        elif fault.kind == "page_cap":
            size = min(size, int(fault.number))
    page = rows[(number - 1) * size : number * size]
    for armed in shapes:
        fault = armed.fault
        if fault.kind == "duplicate":
            again = [_altered(row) if fault.changed else row for row in rows[: int(fault.number)]]
            page = (page[: -len(again) or None] if fault.replace else page) + again
        elif fault.kind == "reorder" and fault.text == "page":
            page = rng.sample(page, len(page))
        elif fault.kind == "hostile":
            page = _with_hostile(page, "imageId", fault)
    total = _total(len(rows), shapes) if form.total else b""
    members = [_array(form.rows, page, style), total]
    return b",".join(member for member in members if member)


def zone_members(rows: list[dict[str, Any]], shapes: Sequence[ArmedFault]) -> bytes:
    """Write the members of a DescribeZones reply."""
    style = "list"
    for armed in shapes:
        if armed.fault.kind == "hide_zone":
            rows = [row for row in rows if not armed.fault.covers_zone(str(row.get("zoneId")))]
        elif armed.fault.kind == "empty_zones":
            rows, style = [], armed.fault.text
        elif armed.fault.kind == "hostile":
            rows = _with_hostile(rows, "zoneId", armed.fault)
    return _array("zoneSet", rows, style)


def _with_hostile(rows: Sequence[Any], name: str, fault: InjectedFault) -> list[Any]:
    """Return rows with hostile ones in place of those that the fault names, or of the first."""
    found: list[Any] = []
    for number, row in enumerate(rows):
        text = row.get(name) if isinstance(row, dict) else None
        hit = number == 0 if fault.ids is None else matches_any(fault.ids, str(text))
        found += make_hostile(row, name, fault.text) if hit else [row]
    return found


def image_id(row: object) -> str | None:
    """Return the id a row shows, if it shows a usable one."""
    found = row.get("imageId") if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def _array(name: str, rows: Sequence[object], style: str) -> bytes:
    if style == "absent":
        return b""
    return b'"%s":%s' % (name.encode(), b"null" if style == "null" else render_rows(rows))


def _total(count: int, shapes: Sequence[ArmedFault]) -> bytes:
    text = str(count)
    for armed in shapes:
        if armed.fault.kind != "total":
            continue
        word = armed.fault.text
        if word == "omitted":
            return b""
        if word in ("string", "null"):
            text = f'"{text}"' if word == "string" else word
        else:
            text = str(count + int(word)) if word[0] in "+-" else word
    return b'"totalCount":%s' % text.encode()


def _altered(row: object) -> object:
    if not isinstance(row, dict):
        return row
    return {**row, "imageName": f"{row.get('imageName')} (changed)"}
