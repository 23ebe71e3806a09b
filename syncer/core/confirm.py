"""The question by id that comes before a removal: whether an unlisted image is really gone.

The API is asked for the candidates by their ids. Absent is only what a reply that *counts* did not
return, or a single id that the API says does not exist. A reply counts if as many distinct ids were
returned as its totalCount says, each was asked for, and no row was rejected. An id whose reply does
not count stays a candidate for the next run; one that is returned is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, final

from syncer.core.guard import Cleared
from syncer.core.model import Image, ZoneRef
from syncer.core.page import Page, images_by_id

BATCH: Final = 100
"""The most ids that one call may name."""
_SEAL: Final = object()


@final
class Removal:
    """Images of a zone that the API, asked by id, did not return. Only ``Answers`` makes one."""

    __slots__ = ("image_ids", "zone")

    def __init__(self, seal: object, zone: ZoneRef, image_ids: tuple[str, ...]) -> None:
        if seal is not _SEAL:
            raise TypeError("a Removal comes from Answers.removal only")
        self.zone = zone
        self.image_ids = image_ids


class Question:
    """One batch of ids, asked page by page until the reply counts or cannot.

    ``counted`` is whether the service sends a totalCount at all (bmc does not): where it should
    and did not, the reply does not count.
    """

    def __init__(self, image_ids: tuple[str, ...], *, counted: bool = True) -> None:
        self.image_ids = image_ids
        self._counted = counted
        self.page_size = max(len(image_ids), BATCH)
        self._pages: list[Page] = []
        self.torn: str | None = None

    @property
    def next_page(self) -> int | None:
        """The page to ask for next, or None where no further page is needed."""
        if self.torn:
            return None
        if not self._pages:
            return 1
        total = self._pages[0].total
        served = sum(page.served for page in self._pages)
        if total is None:
            return len(self._pages) + 1 if self._pages[-1].served else None
        return len(self._pages) + 1 if served < total else None

    def take(self, page: Page) -> None:
        """Take the next page of the reply."""
        self._pages.append(page)
        if page.total is None and self._counted:
            self.torn = "it has no totalCount"
        elif page.total != self._pages[0].total:
            self.torn = "totalCount changed between pages"
        elif len(self._pages) == 1:
            self.page_size = page.served or self.page_size
        elif page.served == 0 and page.total is not None:
            self.torn = "a page was empty before totalCount was reached"
        if len(self._pages) > len(self.image_ids) + 1:
            self.torn = "the pages do not end"

    def returned(self) -> dict[str, Image] | None:
        """Return the images of a reply that counts, by id; None where it does not count."""
        if self.torn or not self._pages:
            return None
        images, rejected = images_by_id(page.rows for page in self._pages)
        total = self._pages[0].total
        agrees = total is None or len(images) == total
        if rejected or not agrees or not images.keys() <= set(self.image_ids):
            return None
        return images

    def sightings(self) -> dict[str, Image]:
        """Return the images asked for that any page returned, by id."""
        images, _ = images_by_id(page.rows for page in self._pages)
        return {i: image for i, image in images.items() if i in self.image_ids}


class Answers:
    """What the API said of one zone's cleared candidates, batch by batch."""

    def __init__(self, cleared: Cleared) -> None:
        self._cleared = cleared
        self._absent: set[str] = set()
        self.returned: dict[str, Image] = {}

    def batches(self) -> Iterator[tuple[str, ...]]:
        """Yield the ids to ask for, at most ``BATCH`` at a time."""
        ids = self._cleared.image_ids
        for start in range(0, len(ids), BATCH):
            yield ids[start : start + BATCH]

    def replied(self, question: Question) -> bool:
        """Take a reply that is complete; return False where it does not count."""
        images = question.returned()
        if images is None:
            return False
        self.returned.update(images)
        self._absent.update(i for i in question.image_ids if i not in images)
        return True

    def sighted(self, question: Question) -> None:
        """Take what a reply returned that does not count: an image that was returned is seen."""
        self.returned.update(question.sightings())

    def not_found(self, image_id: str) -> None:
        """Take an error that says this single id does not exist."""
        self._absent.add(image_id)

    def removal(self) -> Removal:
        """Return what may be removed: asked for, and not returned."""
        absent = tuple(
            i for i in self._cleared.image_ids if i in self._absent and i not in self.returned
        )
        return Removal(_SEAL, self._cleared.zone, absent)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The ids that stay candidates for the next run: no reply counted."""
        ids: Mapping[str, Image] = self.returned
        return tuple(i for i in self._cleared.image_ids if i not in ids and i not in self._absent)
