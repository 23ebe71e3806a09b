"""What the world of each service is made of: one module a service, all of the same names."""

from __future__ import annotations

from random import Random
from typing import Any, Final, Protocol

from syncer.simulator import catalogue, catalogue_bmc, catalogue_zec

NO_ZONE: Final = "*"
"""The zone of images that belong to none."""


class Catalogue(Protocol):
    """What a service's zones and images look like; a module is one."""

    @property
    def UNZONED(self) -> bool:  # noqa: N802 - the name of a constant
        """Whether the service's images belong to no zone."""

    def zone_names(self) -> dict[str, str]:
        """Zone names by id, as many as there may be."""

    def zone_row(self, seed: int, zone_id: str, zone_name: str) -> dict[str, Any]:
        """Return a zone as DescribeZones of the newest version shows it."""

    def image_rows(self, seed: int, service: str, zone_id: str, count: int) -> dict[str, Any]:
        """Exactly ``count`` images of a zone by id."""

    def public_id(self, rng: Random) -> str:
        """Return an id in the shape of a public image's."""

    def custom_id(self, rng: Random) -> str:
        """Return an id in the shape of a custom image's."""

    def new_row(self, rng: Random) -> dict[str, Any]:
        """Return an image that might be published tomorrow."""

    def new_values(self, rng: Random, row: dict[str, Any]) -> dict[str, object]:
        """Fields with new values, each other than what ``row`` has."""


CATALOGUES: Final[dict[str, Catalogue]] = {
    "vm": catalogue,
    "zec": catalogue_zec,
    "bmc": catalogue_bmc,
}


def catalogue_of(service: str) -> Catalogue:
    """Return the catalogue of a service; a service of a test's own looks like ``vm``."""
    return CATALOGUES.get(service, catalogue)
