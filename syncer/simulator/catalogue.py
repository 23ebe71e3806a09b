"""What a made-up world of ``vm`` is made of: the sample data and more of its kind.

Each service has a module of these names (see ``catalogues``).
"""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Iterator
from functools import cache
from importlib import resources
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import msgspec

_ALPHABET = (string.ascii_letters + string.digits).encode()
# Maps random bytes to letters at the speed of C; the slight bias of the modulo does no harm.
_TO_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_PUBLIC_LETTERS = 25
_CUSTOM_LETTERS = 8
_MOST_CUSTOM = 5  # the API's quota of custom images for each vm zone
_FIRST_BUILD = dt.date(2019, 1, 7)
_LINE_TYPES = ("BGP", "CN2", "Cogent")

UNZONED = False
"""Whether the service's images belong to no zone."""


class Template(NamedTuple):
    """What an image is apart from its id."""

    name: str
    version: str
    category: str
    os_type: str
    size: str


class _KnownZone(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="zoneId")
    name: str = msgspec.field(name="zoneName")
    no_custom: bool = msgspec.field(name="noCustomImages", default=False)


class _Data(msgspec.Struct, frozen=True):
    zones: tuple[_KnownZone, ...]
    cities: tuple[tuple[str, str], ...]
    known_ids: dict[str, dict[str, str]]
    custom_names: tuple[str, ...]
    images: tuple[tuple[str, str, str, str, str], ...]


@cache
def _data() -> _Data:
    text = (resources.files("syncer.simulator") / "data.json").read_bytes()
    return msgspec.json.decode(text, type=_Data)


def _endless() -> Iterator[Template]:
    """Yield the natural catalogue, then daily builds of it without end."""
    natural = [Template(*row) for row in _data().images]
    yield from natural
    day = 0
    while True:
        build = f"{_FIRST_BUILD + dt.timedelta(days=day):%Y%m%d}"
        for one in natural:
            yield one._replace(name=f"{one.name} {build}", version=f"{one.version}.{build}")
        day += 1


_pool: list[Template] = []
_source: list[Iterator[Template]] = []


def templates(count: int) -> list[Template]:
    """At least ``count`` public images, all with different names; the first are always the same."""
    if not _source:
        _source.append(_endless())
    _pool.extend(islice(_source[0], max(0, max(count, len(_data().images)) - len(_pool))))
    return _pool


def natural() -> list[Template]:
    """Return the images that are on offer without end of builds."""
    return [Template(*row) for row in _data().images]


def custom_names() -> tuple[str, ...]:
    """Return names that customers gave to their images."""
    return _data().custom_names


def cities() -> tuple[tuple[str, str], ...]:
    """Return codes and names of cities."""
    return _data().cities


def letters(rng: Random, count: int) -> str:
    """``count`` random letters and digits."""
    return rng.randbytes(count).translate(_TO_LETTERS).decode()


def public_id(rng: Random) -> str:
    """Return an id in the shape of a public image's."""
    return "img-" + letters(rng, _PUBLIC_LETTERS)


def custom_id(rng: Random) -> str:
    """Return an id in the shape of a custom image's."""
    return "img-" + letters(rng, _CUSTOM_LETTERS)


@cache
def zone_names() -> dict[str, str]:
    """Zone names by id: the documented ones first, then every city with the letters A to Z."""
    data = _data()
    names = {zone.id: zone.name for zone in data.zones}
    for letter in string.ascii_uppercase:
        for code, city in data.cities:
            names.setdefault(f"{code}-{letter}", city)
    return names


def zone_row(seed: int, zone_id: str, zone_name: str) -> dict[str, Any]:
    """Return a zone as DescribeZones of the newest version shows it."""
    rng = Random(f"{seed}/zone/{zone_id}")  # noqa: S311 - sample data, not a secret
    return {
        "zoneId": zone_id,
        "zoneName": zone_name,
        "supportSecurityGroup": rng.choice((True, True, True, False)),
        "supportNetworkType": rng.choice(("VPC", "VPC", "CLASSICS")),
        "supportIpv6": rng.choice((True, False)),
        "supportCpuPassThrough": rng.choice((True, False, False)),
        "networkLineType": rng.choice(_LINE_TYPES),
    }


def image_row(image_id: str, template: Template, kind: str = "PUBLIC_IMAGE") -> dict[str, Any]:
    """Return an image as DescribeImages shows it, keys in the order of the documented example."""
    return {
        "imageVersion": template.version,
        "imageId": image_id,
        "imageName": template.name,
        "imageDescription": None,
        "osType": template.os_type,
        "imageSize": template.size,
        "imageStatus": "AVAILABLE",
        "category": template.category,
        "imageType": kind,
    }


def image_rows(seed: int, service: str, zone_id: str, count: int) -> dict[str, Any]:
    """Exactly ``count`` images of a zone by id; equal arguments give equal rows."""
    data = _data()
    rng = Random(f"{seed}/{service}/{zone_id}")  # noqa: S311 - sample data, not a secret
    no_custom = any(zone.no_custom for zone in data.zones if zone.id == zone_id)
    custom = 0 if no_custom else min(rng.randint(0, _MOST_CUSTOM), count // 8)
    public = count - custom
    # A tenth more than needed, so that the zones do not all offer the same images.
    pool = templates(public + public // 10 + 1)
    offered = max(len(data.images), public + public // 10 + 1)
    chosen = sorted(rng.sample(range(offered), public))
    ids = letters(rng, public * _PUBLIC_LETTERS)
    known = data.known_ids.get(zone_id, {})
    rows: dict[str, Any] = {}
    for place, index in enumerate(chosen):
        template = pool[index]
        image_id = f"img-{ids[place * _PUBLIC_LETTERS : (place + 1) * _PUBLIC_LETTERS]}"
        image_id = known.get(template.name, image_id)
        rows[image_id] = image_row(image_id, template)
    made = list(rows.values())
    for row in rng.sample(made, public // 50):
        row["imageStatus"] = "UNAVAILABLE"
    for row in rng.sample(made, public // 40):
        row["imageSize"] = str(int(row["imageSize"]) + 10)
    for row in rng.sample(made, public // 30):
        row["imageDescription"] = f"Cloud image of {row['imageName']}"
    for name in rng.sample(data.custom_names, custom):
        row = custom_row(rng, name)
        rows[row["imageId"]] = row
    return rows


def custom_row(rng: Random, name: str) -> dict[str, Any]:
    """Return an image that a customer made of a public one."""
    base = rng.choice(_data().images)
    row = image_row(custom_id(rng), Template(*base)._replace(name=name), "CUSTOM_IMAGE")
    row["imageSize"] = str(rng.choice((20, 30, 40, 50, 80, 100)))
    row["imageDescription"] = rng.choice((None, None, "golden image", "每日备份"))
    row["imageStatus"] = rng.choice(("AVAILABLE",) * 8 + ("CREATING",))
    return row


def new_row(rng: Random) -> dict[str, Any]:
    """Return an image that might be published tomorrow."""
    base = Template(*rng.choice(_data().images))
    build = f"{_FIRST_BUILD + dt.timedelta(days=rng.randrange(3000)):%Y%m%d}"
    return image_row(
        public_id(rng),
        base._replace(name=f"{base.name} {build}-{letters(rng, 3)}", version=base.version),
    )


def new_values(rng: Random, row: dict[str, Any]) -> dict[str, object]:
    """Fields with new values, as a vendor would change them; each differs from what ``row`` has."""
    size, status = row.get("imageSize"), row.get("imageStatus")
    version, name = row.get("imageVersion"), row.get("imageName")
    choices: list[dict[str, object]] = [
        {"imageStatus": "UNAVAILABLE" if status == "AVAILABLE" else "AVAILABLE"},
        {"imageVersion": f"{version}.{rng.randint(1, 9)}"},
        {"imageSize": str(int(size) + 10) if str(size).isdecimal() and size else "40"},
        {"imageDescription": f"Rebuilt with security fixes {letters(rng, 6)}"},
        {"imageName": f"{name} r{rng.randint(2, 9)}", "imageVersion": f"{version}.1"},
    ]
    return rng.choice(choices)
