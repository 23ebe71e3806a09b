"""A cloud for measuring: rows as documented, rendered ahead, and known by their checksum."""

from __future__ import annotations

import random
from hashlib import md5, sha256
from typing import Final, Literal

from syncer.core.model import TRACKED
from syncer.zenlayer.sources.vm import VM

DriftKind = Literal["spread", "concentrated", "all"]
FIELDS: Final[dict[str, str]] = {
    "image_id": "imageId",
    **{column: VM.fields[column] for column in TRACKED if column in VM.fields},
}
"""The API's name of an image's id and of each tracked field, by column."""
_SYSTEMS: Final = (
    ("Ubuntu Server", "Ubuntu", "linux", ("20.04", "22.04", "24.04")),
    ("Debian", "Debian", "linux", ("11.9", "12.5", "13.0")),
    ("Rocky Linux", "Rocky", "linux", ("8.10", "9.4", "10.0")),
    ("Windows Server", "Windows", "windows", ("2019", "2022", "2025")),
)
_PERCENT: Final = 100


class Cloud:
    """Zones of equally many images; the same numbers give the same images."""

    def __init__(self, zones: int, images: int) -> None:
        self.zones = tuple(f"ZONE-{number:04}" for number in range(zones))
        self._revisions = {zone: [0] * images for zone in self.zones}
        self._ids = {zone: [_image_id(zone, n) for n in range(images)] for zone in self.zones}
        self._order = {zone: list(range(images)) for zone in self.zones}
        self._pages: dict[tuple[str, int, int], bytes] = {}
        self._fields: tuple[str, ...] = tuple(FIELDS)
        self._checksums: dict[str, str] = {}
        self._rounds = 0

    def total(self, zone: str) -> int:
        """Return the number of images of a zone."""
        return len(self._ids.get(zone, ()))

    def page(self, zone: str, number: int, size: int) -> bytes:
        """Return one page of a zone as the JSON array of its rows."""
        key = zone, number, size
        if key not in self._pages:
            order = self._order.get(zone, [])[(number - 1) * size : number * size]
            rows = (self._render(self._values(zone, n)) for n in order)
            self._pages[key] = b"[" + b",".join(rows) + b"]"
        return self._pages[key]

    def render(self, size: int) -> None:
        """Render every page ahead, so that no measurement pays for it."""
        for zone in self.zones:
            for number in range(1, -(-self.total(zone) // size) + 1):
                self.page(zone, number, size)

    def drift(self, how: DriftKind) -> int:
        """Change one image in a hundred (all of them for ``all``); return how many."""
        self._rounds += 1
        changed = 0
        for place, zone in enumerate(self.zones):
            if how == "concentrated" and place % _PERCENT != self._rounds % _PERCENT:
                continue
            revisions = self._revisions[zone]
            step = _PERCENT if how == "spread" else 1
            for n in range(self._rounds % step, len(revisions), step):
                revisions[n] += 1
                changed += 1
            self._forget(zone)
        return changed

    def reorder(self, seed: int) -> None:
        """Serve every zone's rows in another order."""
        shuffle = random.Random(seed).shuffle  # noqa: S311  (no secret)
        for order in self._order.values():
            shuffle(order)
        self._pages.clear()

    def reformat(self, seed: int) -> None:
        """Serve the keys of the rows in another order."""
        fields = list(FIELDS)
        random.Random(seed).shuffle(fields)  # noqa: S311  (no secret)
        self._fields = tuple(fields)
        self._pages.clear()

    def checksum(self, zone: str) -> str:
        """Return the checksum of a zone's images, as PostgreSQL computes it of what is stored."""
        if zone not in self._checksums:
            rows = sorted(
                "\x1f".join(self._values(zone, n).values()) for n in range(self.total(zone))
            )
            text = "\n".join(rows).encode()
            self._checksums[zone] = md5(text, usedforsecurity=False).hexdigest()
        return self._checksums[zone]

    def _forget(self, zone: str) -> None:
        self._checksums.pop(zone, None)
        for key in [key for key in self._pages if key[0] == zone]:
            del self._pages[key]

    def _values(self, zone: str, n: int) -> dict[str, str]:
        """Return the values of an image by column, in the order of ``FIELDS``."""
        name, category, system, versions = _SYSTEMS[n % len(_SYSTEMS)]
        version = versions[n % len(versions)]
        values = {
            "image_id": self._ids[zone][n],
            "image_name": f"{name} {version} x86 64-bit",
            "image_type": "PUBLIC_IMAGE",
            "image_size": str(20 + n % 5 * 10),
            "image_description": f"{name} {version}, build {self._revisions[zone][n]}",
            "image_version": version,
            "image_status": "AVAILABLE",
            "category": category,
            "os_type": system,
        }
        return {column: values.get(column) or f"{column} of {name}" for column in FIELDS}

    def _render(self, values: dict[str, str]) -> bytes:
        members = ",".join(f'"{FIELDS[column]}":"{values[column]}"' for column in self._fields)
        return f"{{{members}}}".encode()


def checksums_sql(*, zone: str, images: str) -> str:
    """Return the statement that computes ``Cloud.checksum`` of what is stored, by zone.

    ``images`` is what follows ``from``, with ``i`` a stored image; ``zone`` is its zone's id.
    """
    columns = ", ".join(f"i.{column}" for column in FIELDS)
    return f"""
        select {zone}, md5(string_agg(concat_ws(E'\\x1f', {columns}),
               E'\\n' order by i.image_id collate "C"))
        from {images}
        group by {zone}
    """  # noqa: S608  (names of our own)


def _image_id(zone: str, n: int) -> str:
    return f"img-{sha256(f'{zone}/{n}'.encode()).hexdigest()[:25]}"
