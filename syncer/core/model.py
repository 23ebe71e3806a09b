"""The vocabulary: images, zones and the outcomes of reading a zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

TRACKED: Final = (
    "image_name",
    "image_type",
    "image_size",
    "image_description",
    "image_version",
    "image_status",
    "category",
    "os_type",
)
"""The columns whose change opens a version, in the order in which they are stored.

This is the one place that lists them: a source maps each to the API's name of it, statements and
everything else derive from it. Those of ``ADDED`` open versions too.
"""

ADDED: Final = (
    "nic_network_type",
    "image_source",
    "min_disk_size",
)
"""The tracked columns that came later, of the services that have them (see ``core.added``)."""

ALL_TRACKED: Final = (*TRACKED, *ADDED)
"""Every column whose change opens a version."""

WHOLE_ZONE: Final = "*"
"""The zone id of a service whose images belong to no zone (bmc)."""

Tracked = tuple[str | None, ...]
"""The values of ``TRACKED``, in that order."""

_NAME: Final = TRACKED.index("image_name")


def name_of(tracked: Tracked) -> str | None:
    """Return an image's name."""
    return tracked[_NAME]


class Image(msgspec.Struct, frozen=True, gc=False):
    """One image as a zone offers it, normalised.

    ``extra`` is everything else the API sent, as canonical JSON text (None: nothing else);
    ``added`` are the later tracked columns that it sent (see ``core.added``). Both digests are 16
    bytes: of id and all tracked columns, and of ``extra``.
    """

    image_id: str
    tracked: Tracked
    extra: str | None
    fingerprint: bytes
    extra_digest: bytes | None
    added: str | None = None


class ZoneRef(msgspec.Struct, frozen=True, order=True):
    """A zone of a service; the account is the run's."""

    service: str
    zone_id: str

    def __str__(self) -> str:
        """Return ``service/zone`` as shown to users."""
        return f"{self.service}/{self.zone_id}"


class ListedZone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone as DescribeZones lists it; ``attributes`` is canonical JSON text of the rest."""

    ref: ZoneRef
    name: str | None
    attributes: str


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a zone was not read whole, as it is stored and shown."""

    code: str
    message: str
    request_id: str | None = None


STOPPED: Final = "STOPPED"
"""The code of a stop that was asked for, by a signal."""
RUN_TIMEOUT: Final = "RUN_TIMEOUT"
"""The code of a stop because the run's time was over."""
NOT_READ: Final = frozenset({STOPPED, RUN_TIMEOUT})
"""Codes of a zone that a run was ended before: nothing is known to be wrong with the zone."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """When and how a zone was looked at. Times are stamps of the run's time line."""

    zone: ZoneRef
    started_at: datetime
    observed_at: datetime
    listed: bool
    """DescribeZones named the zone in this run."""
    once_more: bool = False
    """It did not, though it named others: the zone was asked for all the same."""
    pages: int = 0
    rereads: int = 0

    @property
    def is_listed(self) -> bool | None:
        """Whether the zone is listed; None where that is not known."""
        return True if self.listed else False if self.once_more else None


class Incomplete(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that was read in part, or not consistently: its rows are upserted, none is removed."""

    looked: Looked
    images: Mapping[str, Image]
    rejected: int
    fault: Fault


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that could not be read."""

    looked: Looked
    fault: Fault


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that the API does not offer any more; its images are unknown from here on."""

    looked: Looked
    fault: Fault


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What one run found out about the API, for the next to start from.

    ``rate`` is the API's limit in calls a second.
    """

    rate: float
