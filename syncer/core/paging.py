"""Which pages of a zone remain, and whether what was read is a whole look (DESIGN §3).

``Walk`` is one reading of a zone: it says which pages to ask for and takes them in any order.
``Walk.finish`` makes a ``Snapshot`` or says why it cannot. Only a Snapshot names images that the
zone no longer lists, so nothing else can lead to a removal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

import msgspec

from syncer.core.model import Fault, Image, Incomplete, Looked, ZoneRef
from syncer.core.page import (
    LYING,
    PART,
    Known,
    Offered,
    Page,
    Put,
    Total,
    merge,
)

MAX_IMAGES: Final = 10_000_000
"""A totalCount beyond this is taken for a lie, not for a plan."""

MAX_PAGES: Final = 20_000
"""More pages than this are not asked for: a lie, or pages of next to nothing."""

LARGE: Final = 2 * PART
"""The pages of a zone of more images are put aside while it is read."""

_SEAL: Final = object()


@final
class Snapshot:
    """A zone that was read whole and consistently. Only ``Walk.finish`` can make one.

    ``look`` is what was read, in digests.
    """

    __slots__ = ("look", "looked", "offered")

    def __init__(self, seal: object, looked: Looked, offered: Offered, look: Look) -> None:
        if seal is not _SEAL:
            raise TypeError("a Snapshot comes from Walk.finish only")
        self.looked = looked
        self.offered = offered
        self.look = look

    @property
    def is_large(self) -> bool:
        """Whether its pages were put aside while it was read."""
        return len(self.offered) > LARGE

    def unlisted(self, present: Iterable[str]) -> Candidates:
        """Return the ids stored as present that this whole look did not list."""
        missing = sorted(image_id for image_id in present if image_id not in self.offered.ids)
        return Candidates(_SEAL, self.looked.zone, tuple(missing), emptied=not self.offered)


@final
class Candidates:
    """Images that a whole look did not list. They are not removed yet: see ``guard``."""

    __slots__ = ("emptied", "image_ids", "zone")

    def __init__(
        self, seal: object, zone: ZoneRef, image_ids: tuple[str, ...], *, emptied: bool
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("Candidates come from Snapshot.unlisted only")
        self.zone = zone
        self.image_ids = image_ids
        self.emptied = emptied


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole look read, in digests: what reads the same again need not be looked into.

    ``asked`` is the page size that was asked for, ``images`` how many there were, ``content`` the
    digest of the rows in whatever order.
    """

    asked: int
    total: Total
    images: int
    pages: tuple[Known, ...]
    content: bytes


@final
class Unchanged:
    """A whole look that read what an earlier one did. Only ``Walk.finish`` can make one."""

    __slots__ = ("images", "looked")

    def __init__(self, seal: object, looked: Looked, images: int) -> None:
        if seal is not _SEAL:
            raise TypeError("Unchanged comes from Walk.finish only")
        self.looked = looked
        self.images = images

    def unlisted(self) -> Candidates:
        """Return the ids stored as present that it did not list: none."""
        return Candidates(_SEAL, self.looked.zone, (), emptied=False)


class Torn(msgspec.Struct, frozen=True):
    """The reading was not consistent; ``page_size`` is set where a smaller one was served."""

    reason: str
    page_size: int | None = None


class Walk:
    """One reading of one zone, page by page.

    Ask for page 1; ``take`` it; then ask for every number in ``remaining()``, in any order and
    concurrently; ``take`` each; until ``remaining()`` is empty; then ``finish``. Where the API
    sends no totalCount, ``remaining()`` names one page at a time until an empty one was served.
    """

    def __init__(
        self,
        page_size: int,
        *,
        paged: bool = True,
        before: Look | None = None,
        put: Put | None = None,
    ) -> None:
        self.page_size = page_size
        self.paged = paged
        self._put = put
        self.pages: dict[int, Page] = {}
        self._asked = page_size
        self._before = before if before is not None and before.asked == page_size else None
        self.torn: Torn | None = None
        self._uncounted_ids: set[str] = set()

    def remaining(self) -> tuple[int, ...]:
        """Return the numbers of the pages still to ask for, lowest first."""
        first = self.pages.get(1)
        if first is None:
            return (1,)
        if self.torn is not None or not self.paged:
            return ()
        if first.total is None:
            last = max(self.pages)
            return () if self.pages[last].served == 0 else (last + 1,)
        count = -(-first.total // self.page_size)
        return tuple(number for number in range(2, count + 1) if number not in self.pages)

    def known(self, number: int) -> Known | None:
        """Return what a page held in the whole look before."""
        if self._before is None or number > len(self._before.pages):
            return None
        return self._before.pages[number - 1]

    def take(self, number: int, rows: Page) -> None:
        """Take a page that was read; what does not fit the others tears the walk."""
        self.pages[number] = rows
        first = self.pages[1]
        rows.keep(self._put if (first.total or 0) > LARGE else None)
        if number == 1:
            if self.paged:
                self._begin(rows)
        elif rows.total != first.total:
            self._tear(f"totalCount changed from {first.total} to {rows.total} between pages")
        elif first.total is None:
            self._take_uncounted(number, rows)
        elif 0 < rows.served < self.page_size and number * self.page_size < first.total:
            self._tear(f"page {number} held {rows.served} of {self.page_size} rows", rows.served)
        elif rows.served == 0:
            self._tear(f"page {number} was empty although totalCount is {first.total}")

    def _begin(self, first: Page) -> None:
        if first.total == LYING or (first.total or 0) > MAX_IMAGES:
            self._tear("totalCount is not a usable number")
        elif first.total is None:
            self.page_size = first.served or self.page_size
            self._uncounted_ids.update(first.rows.ids)
        elif first.served < min(first.total, self.page_size):
            if first.served == 0:
                self._tear(f"page 1 was empty although totalCount is {first.total}")
            else:
                self.page_size = first.served
        if first.total is not None and first.total > self.page_size * MAX_PAGES:
            self._tear(f"totalCount is {first.total}, {first.served} rows to a page")

    def _take_uncounted(self, number: int, rows: Page) -> None:
        before = self.pages[number - 1].served
        known = len(self._uncounted_ids)
        self._uncounted_ids.update(rows.rows.ids)
        if rows.served and before < self.page_size:
            self._tear(f"page {number - 1} held {before} of {self.page_size} rows", before)
        elif rows.served and len(self._uncounted_ids) == known:
            self._tear(f"page {number} held nothing new")
        elif number * self.page_size > MAX_IMAGES:
            self._tear("the pages do not end")

    def _tear(self, reason: str, page_size: int | None = None) -> None:
        if self.torn is None or (page_size or self.page_size) < (
            self.torn.page_size or self.page_size
        ):
            self.torn = Torn(reason, page_size)

    def finish(self, looked: Looked) -> Snapshot | Unchanged | Torn:
        """Return the whole look, or why this reading is none."""
        if self.torn is not None:
            return self.torn
        if missing := self.remaining():
            return Torn(f"page {missing[0]} was not read")
        pages = [self.pages[number] for number in sorted(self.pages)]
        total = self.pages[1].total
        known = tuple(Known(page.digest, page.served) for page in pages)
        before = self._before if self._before and self._before.total == total else None
        if before is not None and known == before.pages:
            return Unchanged(_SEAL, looked, before.images)
        offered = Offered(pages)
        if before is not None and not offered.rejected and offered.content == before.content:
            return Unchanged(_SEAL, looked, before.images)
        offered = offered.distinct()
        if offered.rejected:
            return Torn(f"{offered.rejected} rows cannot be kept (no usable id, or one id twice)")
        if total is not None and len(offered) != total:
            return Torn(f"{len(offered)} distinct images were read, totalCount is {total}")
        look = Look(
            asked=self._asked,
            total=total,
            images=len(offered),
            pages=known,
            content=offered.content,
        )
        return Snapshot(_SEAL, looked, offered, look)

    def salvage(self) -> tuple[dict[str, Image], int]:
        """Return the images that were read, by id, and the number of rows that cannot be kept."""
        return merge([self.pages[number].rows for number in sorted(self.pages)])


MAX_REREADS: Final = 2


MAX_WALKS: Final = 8
"""The most readings of one zone in a run, those with ever smaller pages included."""


class Reading:
    """The readings of one zone in one run.

    ``next_walk`` returns the walk to do, or None when there is nothing left to try.
    """

    def __init__(
        self,
        page_size: int,
        *,
        paged: bool = True,
        before: Look | None = None,
        put: Put | None = None,
    ) -> None:
        self._page_size = page_size
        self._before = before
        self._put = put
        self._paged = paged
        self._seen: dict[str, Image] = {}
        self._rejected = 0
        self._torn_walks = 0
        self._last: Torn | None = None
        self.walks = 0
        self.pages = 0

    def next_walk(self) -> Walk | None:
        """Return the walk to do next; a smaller page size does not use up a re-read."""
        if self._torn_walks > MAX_REREADS or self.walks >= MAX_WALKS:
            return None
        self.walks += 1
        return Walk(self._page_size, paged=self._paged, before=self._before, put=self._put)

    def done(self, walk: Walk, looked: Looked) -> Snapshot | Unchanged | None:
        """Take a finished walk; return the snapshot if it is one."""
        self.pages += len(walk.pages)
        looked = msgspec.structs.replace(looked, pages=self.pages, rereads=self.walks - 1)
        result = walk.finish(looked)
        if isinstance(result, Snapshot | Unchanged):
            return result
        self._last = result
        if result.page_size is not None and result.page_size < self._page_size:
            self._page_size = result.page_size
        else:
            self._torn_walks += 1
        self._keep(walk)
        return None

    def abandon(self, walk: Walk) -> None:
        """Keep what a walk read that could not be ended."""
        self._torn_walks += 1
        self.pages += len(walk.pages)
        self._keep(walk)

    def _keep(self, walk: Walk) -> None:
        images, self._rejected = walk.salvage()
        self._seen.update(images)

    def incomplete(self, looked: Looked, fault: Fault | None = None) -> Incomplete:
        """Return what was read without being whole; ``fault`` is why, if a call failed."""
        if fault is None:
            reason = self._last.reason if self._last else "no page was read"
            fault = Fault(
                code="INCONSISTENT",
                message=f"{reason}; read {self.walks} times, it may be whole in the next run",
            )
        looked = msgspec.structs.replace(looked, pages=self.pages, rereads=max(0, self.walks - 1))
        return Incomplete(looked=looked, images=self._seen, rejected=self._rejected, fault=fault)
