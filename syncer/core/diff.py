"""What a look at a zone changes in what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from syncer.core import added
from syncer.core.line import Block
from syncer.core.model import TRACKED, Image, Tracked
from syncer.core.normalise import changed_fields, same_json

_MAX_NAME: Final = 200
"""Characters by which a name in ``extra`` is known: an index takes 2704 bytes."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What is known of a stored image without reading its columns."""

    fingerprint: bytes
    extra_digest: bytes | None
    present: bool
    unlisted: bool
    """The last whole look did not list it, and it is neither seen again nor removed."""
    image_type: str | None = None


class Columns(msgspec.Struct, frozen=True, gc=False):
    """The tracked columns that are stored of an image."""

    tracked: Tracked
    added: str | None = None


class Change(msgspec.Struct, frozen=True, gc=False):
    """A stored image whose latest version ends with this look, and the one that begins.

    The ``added`` of ``image`` are those that are known from here on.
    """

    image: Image
    kind: Literal["changed", "returned"]
    fields: tuple[str, ...]
    before: Columns


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many changes of each kind a look brought."""

    appeared: int = 0
    changed: int = 0
    returned: int = 0


class Diff(msgspec.Struct, frozen=True):
    """What to write for one zone.

    ``appeared`` were never stored; ``changes`` open a version; ``refreshed`` are written in place
    (only ``extra`` or a digest differs).
    """

    appeared: Block = msgspec.field(default_factory=Block)
    changes: tuple[Change, ...] = ()
    refreshed: tuple[Image, ...] = ()

    def tally(self) -> Tally:
        """Return how many changes of each kind there are."""
        changed = sum(change.kind == "changed" for change in self.changes)
        return Tally(
            appeared=len(self.appeared), changed=changed, returned=len(self.changes) - changed
        )

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self.appeared or self.changes or self.refreshed)

    def __add__(self, other: Diff) -> Diff:
        """Return what both write."""
        return Diff(
            self.appeared + other.appeared,
            self.changes + other.changes,
            self.refreshed + other.refreshed,
        )


def differing(images: Mapping[str, Image], stored: Mapping[str, Stored]) -> list[str]:
    """Return the ids of stored images whose row may have to be written, in key order.

    The digests are only a filter: ``compare`` decides with the columns themselves.
    """
    return sorted(
        image_id
        for image_id, image in images.items()
        if (known := stored.get(image_id)) is not None
        and (
            not known.present
            or known.fingerprint != image.fingerprint
            or known.extra_digest != image.extra_digest
        )
    )


def is_edited(image: Image, columns: Columns, extra: str | None) -> bool:
    """Return whether what is stored of an image is not what its digests say (edited by hand)."""
    return (
        bool(changed_fields(columns.tracked, image.tracked))
        or not same_json(extra or "{}", image.extra or "{}")
        or not added.is_same(columns.added, added.merged(columns.added, image.added))
    )


def compare(
    images: Mapping[str, Image],
    stored: Mapping[str, Stored],
    columns: Mapping[str, Columns],
) -> Diff:
    """Return what to write of stored images; ``columns`` is what is stored of ``differing`` ids."""
    changes: list[Change] = []
    refreshed: list[Image] = []
    for image_id, before in sorted(columns.items()):
        image = images[image_id]
        fields = changed_fields(before.tracked, image.tracked)
        if before.added is not None:
            known, now = added.values_of(before.added), added.values_of(image.added)
            fields += added.changed(known, now)
            image = msgspec.structs.replace(image, added=added.text_of(known | now))
        if not stored[image_id].present:
            changes.append(Change(image, "returned", fields, before))
        elif fields:
            changes.append(Change(image, "changed", fields, before))
        else:
            refreshed.append(image)
    return Diff(changes=tuple(changes), refreshed=tuple(refreshed))


def new_names(before: Iterable[str], extras: Iterable[str]) -> Sequence[str]:
    """Return the names in texts of ``extra`` that were not known before, sorted."""
    known = {*before, *TRACKED}
    names = {
        name[:_MAX_NAME]
        for extra in extras
        for name in msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
    }
    return sorted(names - known)
