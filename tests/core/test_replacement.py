"""Which image replaces another: by its name, without what a rebuild changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from syncer.core.replacement import Image, Replacement, plain_name, replacements

START = datetime(2026, 1, 1, tzinfo=UTC)
SAME = [
    (
        "Ubuntu 22.04",
        "ubuntu  22.04",
        "Ubuntu22.04",
        " UBUNTU 22.04\t",
        "Ubuntu 22.04 20240501",
        "Ubuntu 22.04 2024-05-01",
        "ubuntu 22.04-2024.05.01",
        "Ubuntu 22.04_2024_05_01",
        "Ubuntu 22.04 (2024/05/01)",
        "Ubuntu 22.04 20240501.1",
        "Ubuntu 22.04 20240501-0930",
        "Ubuntu 22.04 20240501T093000Z",
        "Ubuntu 22.04 2024-05-01 09:30",
        "Ubuntu 22.04-v20240501",
        "Ubuntu 22.04 202405010930",
        "Ubuntu 22.04-1714555555",
        "Ubuntu 22.04 build 1234",
        "Ubuntu 22.04 Build-20348.2340",
        "Ubuntu 22.04 [build #7]",
        "Ubuntu 22.04 build 7 (2024-05-01)",
        "Ubuntu 22.04.20240501",
    ),
    ("Ubuntu 22.04 Minimal", "ubuntu 22.04 minimal 20240501"),
    ("Ubuntu 20.04.1", "Ubuntu-20.04.1".replace("-", " ")),
    ("Ubuntu 20.04.2",),
    ("Ubuntu-22.04",),
    ("Windows Server 2019 Standard", "windows server 2019 standard (build 17763)"),
    ("Windows Server 2019 Datacenter",),
    ("Windows Server 2022 Datacenter",),
    ("Windows Server 2022", "Windows Server 2022 20240501"),
    ("Windows Server 2016 1607",),
    ("CentOS 7 6", "CentOS 7  6"),
    ("CentOS 76", "CentOS76"),
    ("CentOS 7",),
    ("Kali 2024.1",),
    ("Kali 2024.2",),
    ("Debian 12 2024-13-01",),  # no such month
    ("Debian 12 2024-12-32",),
    ("Debian 12",),
    ("Debian 12 rebuild 7",),
    ("20240501",),  # nothing else would be left
    ("(20240502)",),
    ("\u00c4ther", "\u00c4THER"),
    ("\u00e4ther",),  # which letters are small beyond ASCII is not asked
]
"""Names that are those of one image, and beside them others that look like them."""


def test_names_are_alike_but_for_case_blanks_and_stamps() -> None:
    """Within a group all are alike; between groups none are, whatever they have in common."""
    plain = [{plain_name(name) for name in group} for group in SAME]
    assert [1] * len(SAME) == [len(names) for names in plain]
    for (one, _), (other, _) in combinations(zip(plain, SAME, strict=True), 2):
        assert one.isdisjoint(other)


@pytest.mark.parametrize("name", [name for group in SAME for name in group])
def test_a_plain_name_stays(name: str) -> None:
    """What was taken away once takes nothing more away: only what ends a name is a stamp."""
    assert plain_name(name) == plain_name(plain_name(name))


def image(image_id: str, name: str | None, day: int = 0, **values: str | None) -> Image:
    when = START + timedelta(days=day)
    kind = {"image_type": "PUBLIC_IMAGE", "category": "Ubuntu", "os_type": "linux"} | values
    return Image(image_id=image_id, image_name=name, first_seen_at=when, came_at=when, **kind)


GONE = image("old", "Ubuntu 22.04", 1)


def test_the_same_name_is_before_similar_ones_and_the_newest_first() -> None:
    present = [
        image("a", "ubuntu 22.04", 9),
        image("c", "Ubuntu 22.04", 2),
        image("d", "Ubuntu 22.04", 3),
        image("b", "Ubuntu 22.04", 3),
        image("e", "Ubuntu 22.04 20240501", 2),
    ]
    assert [
        ("b", "same_name"),
        ("d", "same_name"),
        ("c", "same_name"),
        ("a", "similar_name"),
        ("e", "similar_name"),
    ] == [(found.image_id, found.rule) for found in replacements(GONE, present)]


@pytest.mark.parametrize(
    "other",
    [
        image("old", "Ubuntu 22.04", 2),
        image("new", "Ubuntu 22.04", 1),  # there was no look between the two
        image("new", "Ubuntu 22.04", 0),
        image("new", "Ubuntu 22.04 Minimal", 2),
        image("new", None, 2),
        image("new", "Ubuntu 22.04", 2, os_type="windows"),
        image("new", "Ubuntu 22.04", 2, os_type=None),
        image("new", "Ubuntu 22.04", 2, category="Debian"),
        image("new", "Ubuntu 22.04", 2, image_type="CUSTOM_IMAGE"),
    ],
)
def test_what_is_another_image_replaces_nothing(other: Image) -> None:
    """Itself, what was there before, another name, another type or operating system."""
    assert [] == replacements(GONE, [other])


def test_an_image_without_a_name_is_replaced_by_nothing() -> None:
    for name in (None, "", " "):
        assert [] == replacements(image("old", name), [image("new", name, 2)])


def test_how_an_operating_system_is_spelled_is_no_difference() -> None:
    """The API says Linux in one place and linux in another."""
    found = replacements(GONE, [image("new", "Ubuntu 22.04", 2, os_type="Linux")])
    assert [Replacement(image_id="new", rule="same_name")] == found
