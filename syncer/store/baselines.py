"""Baselines: copies of what was there, to check against; and what became of pinned images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

import asyncpg
import msgspec

from syncer.core.added import values_of
from syncer.core.errors import ConfigError
from syncer.core.model import TRACKED
from syncer.core.moment import Moment
from syncer.core.nearest import did_you_mean
from syncer.core.pins import Found, KnownZone, Pin, PinAnswer, check_pin, wanted
from syncer.core.replacement import decoded
from syncer.store.connection import sql
from syncer.store.reading import Reader

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHOWN: Final = 20


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a baseline is made of, as statements take it; ``filters`` is that as it was asked."""

    accounts: list[str] | None
    services: list[str] | None
    zones: list[str] | None
    images: list[str] | None
    filters: dict[str, Any]


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline that was saved. Of ``gone`` zones it holds nothing, of ``unseen`` not all."""

    as_of: datetime
    images: int
    zones: int
    gone: list[str]
    unseen: list[str]


def check_name(name: str) -> None:
    """Raise ConfigError for a name that no baseline may have."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a baseline: use 1 to 100 letters, digits, and . _ - after "
            "the first"
        )


async def save(
    connection: asyncpg.Connection[Any],
    *,
    name: str,
    moment: Moment,
    scope: Scope,
    by: str,
    replace: bool,
) -> Saved:
    """Store a copy of the images that were present at a moment.

    Raises ConfigError where the name is taken (unless ``replace``) or nothing was there.
    """
    check_name(name)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute(sql("baseline/lock"))
        reader = Reader(connection)
        as_of, of_run = await reader.resolve(moment)
        now, _ = await reader.resolve(Moment(ago=timedelta()))
        if as_of > now:
            raise ConfigError(f"{as_of:%Y-%m-%d %H:%M:%S}Z has not come yet: it is {now:%H:%M:%S}Z")
        if replace:
            await connection.fetchval(sql("baseline/delete"), name)
        accounts = scope.accounts or ([of_run] if of_run else None)  # a run saw one account only
        named = {"account": accounts if accounts[1:] else accounts[0]} if accounts else {}
        filters = msgspec.json.encode(scope.filters | named).decode()
        baseline_id = await connection.fetchval(sql("baseline/add"), name, as_of, by, filters)
        if baseline_id is None:
            raise ConfigError(f"baseline {name!r} exists already: --replace replaces it")
        place = (accounts, scope.services, scope.zones)
        copied = await connection.fetchrow(
            sql("baseline/images_add"), *place, scope.images, baseline_id, as_of
        )
        unknown = await connection.fetch(sql("read/uncovered"), *place, as_of)
        gone = [_zone(row) for row in unknown if row["gone"]]
        unseen = [_zone(row) for row in unknown if not row["gone"]]
        if copied is None or not copied["images"]:
            hint = f"; not known then: {listed([*gone, *unseen])}" if unknown else ""
            raise ConfigError(
                f"no image that matches was present at {as_of:%Y-%m-%d %H:%M:%S}Z: "
                f"nothing was saved{hint}"
            )
    return Saved(
        as_of=as_of, images=copied["images"], zones=copied["zones"], gone=gone, unseen=unseen
    )


def _zone(row: Any) -> str:  # noqa: ANN401
    return f"{row['account']}/{row['service']}/{row['zone_id']}"


def listed(names: Sequence[str]) -> str:
    """Return names for people: all of them, or the first few and how many more."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


async def delete(connection: asyncpg.Connection[Any], name: str) -> None:
    """Delete a baseline. Raises ConfigError where there is none of that name."""
    async with connection.transaction():
        named = _NAME.fullmatch(name)
        if not named or await connection.fetchval(sql("baseline/delete"), name) is None:
            rows = await connection.fetch(sql("baseline/names"))
            names = [row["name"] for row in rows]
            meant = did_you_mean(name, names)
            raise ConfigError(f"there is no baseline {name!r}; {known(names)}{meant}")


async def names(reader: Reader) -> list[str]:
    """Return the names of the baselines there are."""
    return [row["name"] for row in await reader.all("baseline/names")]


def known(names: Sequence[str]) -> str:
    """Return which baselines there are, in words."""
    if not names:
        return "none was saved yet: 'syncer baseline save NAME' saves one"
    return f"there are: {listed(names)}"


async def pins(reader: Reader, name: str) -> list[Pin]:
    """Return the images of a baseline as pins: every tracked column is expected, null too.

    Of the later ones those are that were known.
    """
    return [
        Pin(
            account=row["account"],
            service=row["service"],
            zone_id=row["zone_id"],
            image_id=row["image_id"],
            expected={column: row[column] for column in TRACKED} | values_of(row["added"]),
        )
        for row in await reader.all("baseline/pins", name)
    ]


async def answers(
    reader: Reader,
    pins: Sequence[Pin],
    *,
    accounts: list[str] | None,
    services: list[str] | None,
    images: Sequence[str],
    max_age: timedelta | None,
) -> list[PinAnswer]:
    """Return what became of the pins, in their order; ``images`` are globs."""
    zones: dict[str, dict[tuple[str, str], KnownZone]] = {}
    for row in await reader.all(
        "baseline/check_zones", accounts, services, sorted({pin.zone_id for pin in pins})
    ):
        zone = KnownZone(**row)
        zones.setdefault(zone.zone_id, {})[zone.account, zone.service] = zone
    stored = await reader.all(
        "baseline/check_images",
        accounts,
        services,
        [pin.account for pin in pins],
        [pin.service for pin in pins],
        [pin.zone_id for pin in pins],
        [pin.image_id for pin in pins],
    )
    found = {
        ordinal: [_found(row) for row in rows]
        for ordinal, rows in groupby(stored, key=lambda row: int(row["pin"]))
    }
    return [
        answer
        for ordinal, pin in enumerate(pins, 1)
        if wanted(pin, those := found.get(ordinal, []), images)
        for answer in check_pin(pin, those, zones.get(pin.zone_id, {}), max_age)
    ]


def _found(row: dict[str, Any]) -> Found:
    return Found(
        account=row["account"],
        service=row["service"],
        presence=row["presence"],
        tracked=tuple(row[column] for column in TRACKED),
        added=values_of(row["added"]),
        removed_at=row["removed_at"],
        not_before=row["not_before"],
        withheld_since=row["withheld_since"],
        unlisted_since=row["unlisted_since"],
        replaced_by=decoded(row["replaced_by"]),
    )
