"""Replacements over the whole sample catalogue: rebuilds are found, look-alikes are not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from syncer.core.replacement import Image, plain_name, replacements
from syncer.simulator import catalogue, catalogue_bmc
from tests.core.test_replacement import START


class Name(NamedTuple):
    """What is one image to people, whatever its id."""

    name: str
    category: str
    os_type: str
    image_type: str = "PUBLIC_IMAGE"


VM = [Name(one.name, one.category, one.os_type) for one in catalogue.natural()]
OWN = [Name(name, "Ubuntu", "linux", "CUSTOM_IMAGE") for name in catalogue.custom_names()]
BMC = [
    Name(row["imageName"], row["catalog"], row["osType"])
    for row in catalogue_bmc.image_rows(1, "bmc", "*", 29).values()
    if row["imageType"] == "PUBLIC_IMAGE"
]
OF_2023 = [  # as the vendor's table of that year has them
    Name(f"{system} {version} x86_64", category, "windows" if system == "windows" else "linux")
    for system, category, versions in (
        ("centos", "CentOS", "6.8 6.9 7.2 7.3 7.4 7.5 7.6 8.2"),
        ("ubuntu", "Ubuntu", "14.04 16.04 18.04 20.04"),
        ("windows", "Windows", "2008 2012 2016 2019"),
    )
    for version in versions.split()
]
LOOK_ALIKES = {
    "x86 64-bit": (
        *("arm 64-bit", "x86 32-bit", "Minimal x86 64-bit", "x86 64-bit GPU", "x86 64-bit UEFI"),
        *("x86 64-bit CUDA 12.4", "x86 64-bit CUDA 12.6", "x86 64-bit \u4e2d\u6587"),
    ),
    "LTS Minimal": ("Minimal",),
    "04 LTS": ("04.1 LTS", "04.2 LTS", "04 Pro"),
    "04 ": ("10 ",),
    "Datacenter": ("Standard", "Datacenter Core", "Essentials"),
    "64-bit English": ("64-bit English SQL 2019", "64-bit English SQL 2022", "32-bit English"),
    "R2 Enterprise": ("Enterprise", "R2 Standard"),
    "-x86_64": ("-aarch64", "-x86_64-uefi", "-x86_64-raid"),
    " x86_64": (" arm64", " x86_64 minimal"),
    "-DC-": ("-DC-Core-",),
    "-EN": ("-JP",),
    "-01": ("-02",),
    "_2025": ("_2026",),
    "cu12": ("cu11",),
    "-29": ("-30",),
    "agent-7": ("agent-8",),
    "SP3": ("SP2",),
    "2025.06.01": ("2025.07.01",),
}
"""What is put into a name, and makes it that of another image."""
OFFERED = [*VM, *OWN, *BMC, *OF_2023]
NAMES = list(
    dict.fromkeys(
        OFFERED
        + [
            one._replace(name=one.name.replace(part, other))
            for one in OFFERED
            for part, others in LOOK_ALIKES.items()
            if part in one.name
            for other in others
        ]
    )
)
REPUBLISHED: dict[str, Callable[[str], str]] = {
    "as it was": lambda name: name,
    "case": str.swapcase,
    "capitals": str.upper,
    "blanks": lambda name: f" {name.replace(' ', '  ')}\t",
    "date": lambda name: f"{name} 20260714",
    "date with hyphens": lambda name: f"{name.lower()}-2026-07-14",
    "date with dots": lambda name: f"{name} 2026.07.14",
    "date in brackets": lambda name: f"{name} (2026/07/14)",
    "date and number": lambda name: f"{name}_20260714.2",
    "date and time": lambda name: f"{name} 20260714T0930Z",
    "date as version": lambda name: f"{name}-v20260714",
    "seconds": lambda name: f"{name}-1783987200",
    "build": lambda name: f"{name} build 20348.2340",
    "build in brackets": lambda name: f"{name.upper()} [Build #7]",
}
"""Ways of a rebuild's name: each is found."""
RENAMED: dict[str, Callable[[str], str]] = {
    "revision": lambda name: f"{name} r2",
    "second version": lambda name: f"{name} v2",
    "a word": lambda name: f"{name} (updated)",
    "a date in the middle": lambda name: name.replace(" ", " 20260714 ", 1) + " new",
    "a date and letters": lambda name: f"{name} 20260714-k3x",
}
"""Names that people would see through. They are found by no rule, as such a rule would be wrong."""


def test_no_two_images_have_one_plain_name() -> None:
    """By their names alone, whatever their kind: each image has one, under each republished name.

    It has another under the names that nothing is guessed of.
    """
    plain = {plain_name(one.name): one.name for one in NAMES}
    assert len(plain) == len({one.name for one in NAMES}) > 600
    for one in NAMES:
        assert {one.name} == {plain.get(plain_name(f(one.name))) for f in REPUBLISHED.values()}
        assert {None} == {plain.get(plain_name(f(one.name))) for f in RENAMED.values()}


def image(image_id: str, one: Name, name: str, second: int) -> Image:
    when = START.replace(second=second)
    kind = {"image_type": one.image_type, "category": one.category, "os_type": one.os_type}
    return Image(image_id=image_id, image_name=name, first_seen_at=when, came_at=when, **kind)


WAYS = list((REPUBLISHED | RENAMED).items())
EACH = 2
"""Images that are planted for each that went: the ways take turns."""
PLANTED = {
    f"{place}/{way}": image(f"{place}/{way}", one, renamed(one.name), 2)
    for place, one in enumerate(NAMES)
    for way, renamed in (WAYS[(EACH * place + turn) % len(WAYS)] for turn in range(EACH))
}
ZONE = "insert into syncer_store.zones (account, service, zone_id) values ('a', 'vm', 'Z-1')"
IMAGES = """
    insert into syncer_store.images (zone_key, image_id, image_name, image_type, category, os_type,
        fingerprint, opened_run_id, opened_ordinal, first_seen_at, valid_from, opened_not_before,
        removed_at, removed_run_id, removed_ordinal)
    select 1, id, name, type, category, system, '', 1, 1, seen, seen, seen - interval '1 s',
           case when gone then seen + interval '1 s' end, case when gone then 1 end,
           case when gone then 1 end
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                $7::boolean[]) as t (id, name, type, category, system, seen, gone)"""
ANSWER = "select image_id, replacement_id from syncer.image_replacements"


async def test_no_replacement_is_wrong_over_the_whole_catalogue(db: Any) -> None:
    """Every image of it went; rebuilds, renamed ones and look-alikes came: SQL says who is who."""
    went = [image(str(place), one, one.name, 0) for place, one in enumerate(NAMES)]
    came = list(PLANTED.values())
    await db.execute(ZONE)
    columns = ("image_id", "image_name", "image_type", "category", "os_type", "came_at")
    rows = [[getattr(one, column) for one in went + came] for column in columns]
    await db.execute(IMAGES, *rows, [True] * len(went) + [False] * len(came))

    answers = [tuple(row) for row in await db.fetch(ANSWER)]
    wrong = [(gone, found) for gone, found in answers if gone != found.partition("/")[0]]
    assert [] == wrong
    found = Counter(found.partition("/")[2] for _, found in answers)
    planted = Counter(one.partition("/")[2] for one in PLANTED)
    assert {way: planted[way] for way in REPUBLISHED} == found
    assert (len(planted), min(planted.values()) > 70) == (len(WAYS), True)

    for gone in went[:: len(went) // 8]:  # the same in Python, over all that came
        expected = {replacement for image_id, replacement in answers if image_id == gone.image_id}
        assert expected == {one.image_id for one in replacements(gone, came)}
