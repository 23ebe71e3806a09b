"""The world the simulator answers from: zones and images that a test or an operator may change."""

from __future__ import annotations

import copy
import enum
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from random import Random
from typing import Any, Final

import msgspec

from syncer.simulator.catalogues import NO_ZONE, catalogue_of
from syncer.simulator.rows import SimulatedZone


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""Given as a field's value to ``change_image``: remove the field from the row."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What ``World.drift`` did: pairs of zone id and image id, with the new values for changes."""

    appeared: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str, dict[str, object]], ...]
    removed: tuple[tuple[str, str], ...]


class World:
    """Zones and images of one service, in the API's spelling.

    Every image stands under a key, which is its ``imageId`` unless a test makes them differ. What
    ``images`` and the like return are copies one level deep: change the world by its methods.
    """

    def __init__(self, *, seed: int = 0, service: str = "vm") -> None:
        self.seed = seed
        self.service = service
        self._catalogue = catalogue_of(service)
        self._zones: dict[str, SimulatedZone] = {}
        self._rng = Random(f"{seed}/{service}/later")  # noqa: S311 - sample data, not a secret

    @classmethod
    def generate(
        cls,
        seed: int = 0,
        zones: int = 12,
        images: int = 40,
        service: str = "vm",
        *,
        sizes: Mapping[str, int] | None = None,
    ) -> World:
        """Make a world; equal arguments make equal worlds.

        ``images`` is the number of images in each zone, ``sizes`` other numbers for zones by id. A
        zone of ``sizes`` that is not among the first ``zones`` is added. A service whose images
        belong to no zone has them all in the zone ``*``, and its zones hold none.
        """
        world = cls(seed=seed, service=service)
        sizes = sizes or {}
        first = list(islice(world._catalogue.zone_names(), zones))
        if world.unzoned:
            sizes, images = {NO_ZONE: images, **sizes}, 0
        if len(first) < zones:
            raise ValueError(f"there are {len(first)} zone ids to choose from, not {zones}")
        for zone_id in dict.fromkeys([*first, *sizes]):
            world.add_zone(zone_id, images=sizes.get(zone_id, images))
        return world

    @property
    def unzoned(self) -> bool:
        """Whether the images belong to no zone: they are all in ``*``."""
        return self._catalogue.UNZONED

    def zones(self) -> list[str]:
        """Ids of the zones that exist now."""
        return [zone_id for zone_id, zone in self._zones.items() if not zone.hidden]

    def zone_rows(self) -> list[dict[str, Any]]:
        """Return the zones that exist now as DescribeZones of the newest version shows them."""
        return [dict(self._zones[zone].row) for zone in self.zones() if zone != NO_ZONE]

    def images(self, zone: str) -> dict[str, Any]:
        """Images of a zone by key; a removed zone's images can be read too."""
        return {
            key: dict(row) if isinstance(row, dict) else row
            for key, row in self._zone(zone).rows.items()
        }

    def rows(self, zone: str) -> list[Any]:
        """Return a zone's rows in the order of its listing, not copied: for reading only."""
        return list(self._zone(zone).rows.values())

    def count(self, zone: str | None = None) -> int:
        """Count the images of a zone, or of all zones that exist now."""
        if zone is not None:
            return len(self._zone(zone))
        return sum(len(one) for one in self._zones.values() if not one.hidden)

    def exists(self, zone: str) -> bool:
        """Whether the API would know the zone."""
        found = self._zones.get(zone)
        return found is not None and not found.hidden

    def page(self, zone: str, number: int, size: int) -> bytes:
        """Return one page as the JSON array of its rows, rendered once until the zone changes."""
        return self._zone(zone).page(number, size)

    def prerender(self, page_size: int = 1000) -> int:
        """Render every page of every zone now, for a benchmark; returns the bytes that are held."""
        return sum(zone.prerender(page_size) for zone in self._zones.values())

    def add_image(self, zone: str, /, **fields: object) -> str:
        """Add an image and return its id; what ``fields`` leave out is made up."""
        row: dict[str, Any] = self._catalogue.new_row(self._rng)
        if fields.get("imageType") == "CUSTOM_IMAGE":
            row["imageId"] = self._catalogue.custom_id(self._rng)
        row = _changed(row, fields)
        key = row.get("imageId")
        return self.add_row(zone, row, key=key if isinstance(key, str) else None)

    def add_row(self, zone: str, row: object, *, key: str | None = None) -> str:
        """Add anything JSON can say to a listing, and return the key it stands under."""
        rows = self._zone(zone).touch()
        key = self._catalogue.public_id(self._rng) if key is None else key
        if key in rows:
            raise ValueError(f"zone {zone} already has an image {key}")
        rows[key] = copy.deepcopy(row)
        return key

    def remove_image(self, zone: str, image_id: str) -> None:
        """Remove an image; ``restore_image`` brings it back."""
        found = self._zone(zone)
        self._image(zone, image_id)
        found.removed[image_id] = found.touch().pop(image_id)

    def restore_image(self, zone: str, image_id: str) -> None:
        """Bring back, at the end of the listing, an image that was removed."""
        found = self._zone(zone)
        if image_id not in found.removed:
            raise LookupError(f"no image {image_id} was removed from zone {zone}")
        self.add_row(zone, found.removed[image_id], key=image_id)
        del found.removed[image_id]

    def change_image(self, zone: str, image_id: str, /, **fields: object) -> None:
        """Set fields of an image; ``ABSENT`` as a value removes the field."""
        row = self._image(zone, image_id)
        if not isinstance(row, dict):
            raise TypeError(f"{image_id} of zone {zone} is not an object; use replace_row")
        self._zone(zone).touch()[image_id] = _changed(row, fields)

    def replace_row(self, zone: str, image_id: str, row: object) -> None:
        """Put anything JSON can say in the place of an image."""
        self._image(zone, image_id)
        self._zone(zone).touch()[image_id] = copy.deepcopy(row)

    def add_zone(self, zone: str | None = None, /, *, images: int = 0, **fields: object) -> str:
        """Add a zone of ``images`` images and return its id; without an id the next free one."""
        names = self._catalogue.zone_names()
        if zone is None:
            zone = next((name for name in names if name not in self._zones), None)
            if zone is None:
                raise ValueError(f"there are no more than {len(names)} zone ids to choose from")
        if zone in self._zones:
            raise ValueError(f"zone {zone} exists already" + self._hidden_hint(zone))
        if images < 0:
            raise ValueError(f"a zone cannot have {images} images")
        row = self._catalogue.zone_row(self.seed, zone, names.get(zone, zone))
        made = (self.seed, self.service, zone)
        self._zones[zone] = SimulatedZone(_changed(row, fields), made, images)
        return zone

    def change_zone(self, zone: str, /, **fields: object) -> None:
        """Set fields of a zone; ``ABSENT`` as a value removes the field."""
        found = self._zone(zone)
        found.row = _changed(found.row, fields)

    def remove_zone(self, zone: str) -> None:
        """Remove a zone from what the API knows; ``restore_zone`` brings it back as it was."""
        self._zone(zone).hidden = True

    def restore_zone(self, zone: str) -> None:
        """Bring back a zone that was removed, with its images."""
        self._zone(zone).hidden = False

    def drift(
        self,
        seed: int = 0,
        *,
        appear: int = 3,
        change: int = 3,
        remove: int = 2,
        zones: Sequence[str] | None = None,
    ) -> Drift:
        """Make a small realistic change and return what was done.

        No image is both changed and removed. ``zones`` limits it to those zones. Raises
        ``ValueError`` when there are fewer images than it is to change and remove.
        """
        rng = Random(f"{seed}/drift")  # noqa: S311 - sample data, not a secret
        everywhere = [NO_ZONE] if self.unzoned else self.zones()
        where = everywhere if zones is None else list(zones)
        ends = list(accumulate(self.count(zone) for zone in where))
        if not where or ends[-1] < change + remove:
            have = ends[-1] if ends else 0
            raise ValueError(f"cannot change {change} and remove {remove} of {have} images")
        victims: list[tuple[str, str]] = []
        for index in rng.sample(range(ends[-1]), change + remove):
            place = bisect_right(ends, index)
            zone = where[place]
            victims.append((zone, list(self._zone(zone).rows)[index - ends[place]]))
        changed = []
        for zone, image_id in victims[:change]:
            row = self._image(zone, image_id)
            if isinstance(row, dict):
                fields = self._catalogue.new_values(rng, row)
                self.change_image(zone, image_id, **fields)
                changed.append((zone, image_id, fields))
        for zone, image_id in victims[change:]:
            self.remove_image(zone, image_id)
        appeared = []
        for _ in range(appear):
            zone = rng.choice(where)
            appeared.append((zone, self.add_image(zone, **self._catalogue.new_row(rng))))
        return Drift(
            appeared=tuple(appeared), changed=tuple(changed), removed=tuple(victims[change:])
        )

    def _zone(self, zone: str) -> SimulatedZone:
        try:
            return self._zones[zone]
        except KeyError:
            raise LookupError(f"there is no zone {zone}") from None

    def _image(self, zone: str, image_id: str) -> Any:  # noqa: ANN401 - rows may be anything
        try:
            return self._zone(zone).rows[image_id]
        except KeyError:
            raise LookupError(f"zone {zone} has no image {image_id}") from None

    def _hidden_hint(self, zone: str) -> str:
        return ", though removed; restore it" if self._zones[zone].hidden else ""


def _changed(row: dict[str, Any], fields: Mapping[str, object]) -> dict[str, Any]:
    merged = {**row, **copy.deepcopy(dict(fields))}
    return {name: value for name, value in merged.items() if value is not ABSENT}
