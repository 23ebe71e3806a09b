"""What a made-up world of ``bmc`` is made of: images of all zones together, in the zone ``*``.

Its zones offer machines; images are not asked for by zone.
"""

from __future__ import annotations

import datetime as dt
import string
import uuid
from collections.abc import Iterator
from functools import cache
from itertools import count as numbers
from itertools import islice
from random import Random
from typing import Any, Final

from syncer.simulator import catalogue

UNZONED: Final = True
_KNOWN_ID = ("CentOS7.4-x86_64", "bd5faa16-39d2-4bbf-a5c8-b95a193b1626")
_FIRST_BUILD = dt.date(2020, 1, 6)
_NAMES = (
    *("CentOS6.9-x86_64", "CentOS7.4-x86_64", "CentOS7.5-x86_64", "CentOS7.6-x86_64"),
    *("CentOS7.8-x86_64", "CentOS7.9-x86_64", "CentOS8.0-x86_64", "CentOS-8.2-netdisk-x86_64"),
    *("Debian10.6-x86_64", "Debian9.8.0-x86_64", "Ubuntu18.04-x86_64", "Ubuntu20.04-x86_64"),
    *("VMware-ESXi6.0", "VMware-ESXi6.5", "VMware-ESXi6.7", "Win2012-R2-DC-CN"),
    *("Win2012-R2-DC-EN", "Win2012-R2-SE-CN", "Win2012-R2-SE-EN", "Win2016-DC-CN"),
    *("Win2016-DC-EN", "Win2016-SE-CN", "Win2016-SE-EN", "Win2019-SE-CN", "Win2019-SE-EN"),
    "Win2022-SE-CN",
)
_CATALOGS = {
    "Cent": "centos",
    "Debi": "debian",
    "Ubun": "ubuntu",
    "VMwa": "esxi",
    "Win2": "windows",
}
_MOST_CUSTOM = 3
NOT_IN_2022: Final = frozenset({"isByoipEnabled"})
"""The fields of a zone that came with version 2026-02-01."""


@cache
def zone_names() -> dict[str, str]:
    """Zone names by id, in the shape of HKG-B, "HKG Zone B"."""
    return {
        f"{code}-{letter}": f"{code} Zone {letter}"
        for letter in string.ascii_uppercase
        for code, _ in catalogue.cities()
    }


def zone_row(seed: int, zone_id: str, zone_name: str) -> dict[str, Any]:
    """Return a zone as DescribeZones of the newest version shows it."""
    rng = Random(f"{seed}/bmc/zone/{zone_id}")  # noqa: S311 - sample data, not a secret
    return {
        "zoneId": zone_id,
        "zoneName": zone_name,
        "cityName": dict(catalogue.cities()).get(zone_id.partition("-")[0], "Hong Kong"),
        "areaName": rng.choice(("Americas", "Asia Pacific", "Europe Middle East and Africa")),
        "isCloudRouterAvailable": rng.choice((True, False)),
        "isByoipEnabled": rng.choice((True, False)),
    }


def public_id(rng: Random) -> str:
    """Return an id in the shape of an image's."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


custom_id = public_id


def _endless() -> Iterator[str]:
    yield from _NAMES
    for day in numbers():
        build = f"{_FIRST_BUILD + dt.timedelta(days=day % 3000):%Y%m%d}"
        for name in _NAMES:
            yield f"{name}-{build}" + (f"-{day // 3000}" if day >= 3000 else "")  # noqa: PLR2004


def image_row(image_id: str, name: str, kind: str = "PUBLIC_IMAGE") -> dict[str, Any]:
    """Return an image as DescribeImages shows it."""
    catalog = _CATALOGS.get(name[:4], "ubuntu")
    return {
        "imageId": image_id,
        "imageName": name,
        "catalog": catalog,
        "imageType": kind,
        "osType": "windows" if catalog == "windows" else "linux",
    }


def image_rows(seed: int, service: str, zone_id: str, count: int) -> dict[str, Any]:
    """Exactly ``count`` images by id; equal arguments give equal rows."""
    rng = Random(f"{seed}/{service}/{zone_id}")  # noqa: S311 - sample data, not a secret
    custom = min(_MOST_CUSTOM, count // 8)
    rows: dict[str, Any] = {}
    for name in islice(_endless(), count - custom):
        made = public_id(rng)
        image_id = _KNOWN_ID[1] if name == _KNOWN_ID[0] else made
        rows[image_id] = image_row(image_id, name)
    for name in rng.sample(catalogue.custom_names(), custom):
        image_id = public_id(rng)
        rows[image_id] = image_row(image_id, name, "CUSTOM_IMAGE")
    return rows


def new_row(rng: Random) -> dict[str, Any]:
    """Return an image that might be published tomorrow."""
    return image_row(public_id(rng), f"{rng.choice(_NAMES)}-{catalogue.letters(rng, 4)}")


def new_values(rng: Random, row: dict[str, Any]) -> dict[str, object]:
    """Fields with new values, as a vendor would change them; each differs from what ``row`` has."""
    renamed: dict[str, object] = {"imageName": f"{row.get('imageName')} r{rng.randint(2, 9)}"}
    other: dict[str, object] = {"catalog": "esxi" if row.get("catalog") != "esxi" else "ubuntu"}
    return rng.choice([renamed, renamed, other])
