"""What a made-up world of ``zec`` is made of, in the shape of version 2025-09-01.

Public images have a slug for an id, the same one in every zone. Custom images are copied from zone
to zone: a copy is SYNCING for a while, and has no size until it is AVAILABLE.
"""

from __future__ import annotations

import datetime as dt
import string
from functools import cache
from random import Random
from typing import Any, Final

from syncer.simulator import catalogue
from syncer.simulator.catalogue import Template

UNZONED: Final = False
_FIRST_BUILD = dt.date(2020, 1, 6)
_MOST_CUSTOM = 6
_KNOWN_ZONES = (
    *("asia-east-1a", "asia-southwest-1a", "na-west-1a", "asia-north-1a", "asia-southeast-1a"),
    *("asia-south-1a", "sa-north-1a", "europe-central-1a", "me-central-1a", "asia-southeast-5a"),
    "na-us-la-2a",
)
_AREAS = ("asia-east", "na-west", "europe-central", "sa-north", "me-central", "asia-south")
_NETWORKS = (["auto"], ["virtio"], ["vf,virtio", "virtio"], ["vf", "virtio"], ["virtio", "auto"])
_COPIES = ("AVAILABLE",) * 6 + ("SYNCING", "SYNCING", "CREATING", "FAILED")
NOT_IN_2024: Final = frozenset({"imageSource", "minDiskSize", "tags"})
"""The fields of an image that came with version 2025-09-01."""
NOT_IN_ZONES_OF_2024: Final = frozenset(
    {"supportSecurityGroup", "timeZone", "cityName", "cityCode", "countryCode", "countryName"}
    | {"supportHaVip"}
)
"""The fields of a zone that came with version 2025-09-01."""


@cache
def zone_names() -> dict[str, str]:
    """Zone names by id: the documented ids first, then further regions of their kind."""
    ids = dict.fromkeys(_KNOWN_ZONES)
    for number in range(1, 10):
        for letter in string.ascii_lowercase:
            ids.update(dict.fromkeys(f"{area}-{number}{letter}" for area in _AREAS))
    cities = catalogue.cities()
    return {zone: cities[place % len(cities)][1] for place, zone in enumerate(ids)}


def zone_row(seed: int, zone_id: str, zone_name: str) -> dict[str, Any]:
    """Return a zone as DescribeZones of the newest version shows it."""
    rng = Random(f"{seed}/zone/{zone_id}")  # noqa: S311 - sample data, not a secret
    codes = {city: code for code, city in catalogue.cities()}
    return {
        "zoneId": zone_id,
        "regionId": zone_id[:-1],
        "zoneName": zone_name,
        "supportSecurityGroup": True,
        "timeZone": rng.choice(("UTC+8", "UTC-5", "UTC")),
        "cityName": zone_name,
        "cityCode": codes.get(zone_name, "SIN"),
        "countryCode": "SG",
        "countryName": "Singapore",
        "supportHaVip": rng.choice((True, False)),
    }


def public_id(rng: Random) -> str:
    """Return an id in the shape of a public image's."""
    return _slug(rng.choice(catalogue.natural()), rng.randrange(10**6, 10**7))


def custom_id(rng: Random) -> str:
    """Return an id in the shape of a custom image's."""
    return "img-" + catalogue.letters(rng, 8)


def _slug(template: Template, number: int) -> str:
    digits = "".join(filter(str.isdigit, template.version))[:4]
    day = _FIRST_BUILD + dt.timedelta(days=number % 3000)
    more = f"_{number // 3000}" if number >= 3000 else ""  # noqa: PLR2004
    return f"{template.category.lower()}{digits}_{day:%Y%m%d}{more}"


def image_row(
    image_id: str, template: Template, rng: Random, kind: str = "PUBLIC_IMAGE"
) -> dict[str, Any]:
    """Return an image as DescribeImages of the newest version shows it."""
    return {
        "imageId": image_id,
        "imageName": template.name,
        "imageType": kind,
        "imageSource": rng.choice(("OFFICIAL",) * 6 + ("MARKETING", "APP")),
        "imageSize": template.size,
        "minDiskSize": int(template.size),
        "imageDescription": None,
        "imageVersion": template.version,
        "imageStatus": "AVAILABLE",
        "nicNetworkType": list(rng.choice(_NETWORKS)),
        "category": template.category,
        "osType": template.os_type,
        "tags": None,
    }


def image_rows(seed: int, service: str, zone_id: str, count: int) -> dict[str, Any]:
    """Exactly ``count`` images of a zone by id; equal arguments give equal rows."""
    rng = Random(f"{seed}/{service}/{zone_id}")  # noqa: S311 - sample data, not a secret
    copies = _customs(seed, service)
    custom = min(rng.randint(0, _MOST_CUSTOM), count // 8)
    public = count - custom
    offered = max(len(catalogue.natural()), public + public // 10 + 1)
    pool = catalogue.templates(offered)
    rows: dict[str, Any] = {}
    for index in sorted(rng.sample(range(offered), public)):
        image_id = _slug(pool[index], index)
        # What an image is does not depend on the zone.
        of_image = Random(f"{seed}/{service}/image/{image_id}")  # noqa: S311 - as above
        rows[image_id] = image_row(image_id, pool[index], of_image)
    for row in rng.sample(copies, custom):
        rows[row["imageId"]] = row | _state(rng, row)
    return rows


def _customs(seed: int, service: str) -> list[dict[str, Any]]:
    """Return the account's own images, as they are where they were made."""
    rng = Random(f"{seed}/{service}/custom")  # noqa: S311 - sample data, not a secret
    return [_custom_row(rng, name) for name in catalogue.custom_names()]


def _custom_row(rng: Random, name: str) -> dict[str, Any]:
    base = rng.choice(catalogue.natural())._replace(name=name, size=str(rng.choice((20, 40, 80))))
    tag = {"key": rng.choice(("team", "owner")), "value": rng.choice(("web", "数据", "edge"))}
    return image_row(custom_id(rng), base, rng, "CUSTOM_IMAGE") | {
        "imageSource": "CUSTOM",
        "imageDescription": rng.choice((None, "golden image", "每日备份")),
        "tags": {"tags": rng.choice(([], [tag], [tag, {"key": "stage", "value": "prod"}]))},
    }


def _state(rng: Random, row: dict[str, Any]) -> dict[str, Any]:
    """Return how far one copy of a custom image is."""
    status = rng.choice(_COPIES)
    return {
        "imageStatus": status,
        "imageSize": row["imageSize"] if status == "AVAILABLE" else None,
    }


def new_row(rng: Random) -> dict[str, Any]:
    """Return an image that might be published tomorrow."""
    base = rng.choice(catalogue.natural())
    number = rng.randrange(10**6, 10**7)
    return image_row(_slug(base, number), base._replace(name=f"{base.name} {number}"), rng)


def new_values(rng: Random, row: dict[str, Any]) -> dict[str, object]:
    """Fields with new values, as a vendor would change them; each differs from what ``row`` has."""
    if row.get("imageStatus") in {"SYNCING", "CREATING"}:
        return {"imageStatus": "AVAILABLE", "imageSize": str(row.get("minDiskSize") or 40)}
    networks = [one for one in _NETWORKS if one != row.get("nicNetworkType")]
    disk = row.get("minDiskSize")
    choices: list[dict[str, object]] = [
        {"nicNetworkType": list(rng.choice(networks))},
        {"minDiskSize": (disk if isinstance(disk, int) else 10) + 10},
        {"imageSource": "APP" if row.get("imageSource") != "APP" else "OFFICIAL"},
    ]
    return rng.choice([*choices, catalogue.new_values(rng, row)])
