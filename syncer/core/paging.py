"""Reading a zone page by page: which pages remain, and whether what was read is a whole look.

The API has no snapshot of a zone: a listing is read page by page, at different moments, while
images come and go. An image that slips past the reader between two pages looks exactly like one
that was deleted. So a reading either proves that it saw everything, or it may remove nothing:

- **whole**: every page was read, ``totalCount`` was the same on every page, as many distinct ids
  were read as it says, and no row was rejected. Where a service sends no ``totalCount``, pages are
  read until one is empty. The same id twice with equal content is one image.
- **torn**: anything else. ``Torn`` says why. The zone is read again, at most ``MAX_REREADS`` times;
  after that its rows are stored as an ``Incomplete`` look: they are upserted, nothing is removed.
- A service that is not paged lists everything on its one page. Where it sends no ``totalCount``
  either, nothing says that the page is whole. It counts if it lists every image that is stored as
  present; otherwise the list is read again, and counts once two readings of the run list the same
  ids (a third may decide). That proves that the list is stable, not that it is complete; what it
  lacks is asked for by id, as everywhere.
- A server may serve fewer rows to a page than were asked for. On page 1 that is its cap, and the
  other pages are planned by the size really served; a shorter page in the middle tears the walk,
  and the next walk asks for that size (which uses up no re-read).

``Walk`` is one reading of a zone: it says which pages to ask for and takes them in any order.
``ZoneRead`` is all the walks of a zone in one run. ``Walk.finish`` is the only maker of a
``Snapshot`` (its constructor refuses anybody else), and only a Snapshot names images that the zone
no longer lists. From there each type is made from the one before and by one maker only:
``Snapshot.unlisted`` makes ``Candidates``, ``guard.judge`` makes ``Cleared``, ``confirm.Answers``
makes a ``Removal``. So nothing that skips the proof can lead to a removal, and there is no flag
that could be forgotten.

A whole look leaves a ``Look`` behind, its digests. What a later walk saves by it is ``known``'s: if
it reads the same it is ``Unchanged``, whole as well, and lists the same images.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, partial
from typing import Final, final

import msgspec

from syncer.core import digests
from syncer.core.known import Compared, KeptRows, Look, Shortcuts, known_pages
from syncer.core.model import Fault, Image, Incomplete, Looked, ZoneRef
from syncer.core.page import (
    INVALID_TOTAL,
    PART,
    KnownPage,
    Offered,
    Page,
    Spooler,
    images_by_id,
)

MAX_IMAGES: Final = 10_000_000
"""A larger totalCount is treated as invalid: it is ten times what the program is made for."""

MAX_PAGES: Final = 20_000
"""More pages are not asked for: totalCount is invalid, or the pages hold next to nothing."""

MAX_REREADS: Final = 2
"""How often a zone is read again in a run. What is torn three times changes faster than we read."""

MAX_WALKS: Final = 8
"""The most walks of one zone in a run, with those for ever smaller pages."""

LARGE: Final = 2 * PART
"""The pages of a zone of more images are spooled while it is read."""

CONTROLS: Final = 2
"""How many listed images are named as controls of the question by id: one, and one in its place,
should it go in that very moment or be one of those that the API finds by no id."""

_SEAL: Final = object()


@final
class Snapshot:
    """A zone that was read whole. Only ``Walk.finish`` can make one.

    ``offered`` are its images, ``look`` the digests of what was read, ``rows`` of each row, where
    they are to be kept. Where only the rows that are new were read, that is ``compared``, and
    ``offered`` reads all of them when it is asked.
    """

    __slots__ = ("compared", "look", "looked", "offered", "rows")

    def __init__(
        self,
        seal: object,
        looked: Looked,
        offered: Offered,
        look: Look,
        *,
        compared: Compared | None = None,
        rows: KeptRows | None = None,
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("a Snapshot comes from Walk.finish only")
        self.looked = looked
        self.offered = offered
        self.look = look
        self.compared = compared
        self.rows = rows

    @property
    def ids(self) -> frozenset[str]:
        """The ids of its images."""
        return self.offered.ids if self.compared is None else self.compared.ids

    @property
    def is_large(self) -> bool:
        """Whether its pages were spooled while it was read."""
        return self.look.images > LARGE

    def unlisted(
        self,
        present: Iterable[str],
        *,
        run_id: int = 0,
        image_types: Sequence[str | None] = (),
    ) -> Candidates:
        """Return the ids stored as present that this whole look did not list.

        ``run_id`` varies which controls they get; ``image_types`` are those that the missing ones
        were stored with, the most frequent first.
        """
        zone = self.looked.zone
        missing = sorted(image_id for image_id in present if image_id not in self.ids)
        controls: tuple[str, ...] = ()
        if missing:
            seed = f"{run_id} {zone}"
            controls = self.offered.pick(CONTROLS, seed=seed, image_types=image_types)
        return Candidates(_SEAL, zone, tuple(missing), emptied=not self.ids, controls=controls)


@final
class Candidates:
    """Images that a whole look did not list, for the guard to judge.

    ``emptied`` is whether the look listed no image at all. ``controls`` are ids of a few images
    that it did list, best first: the question by id is asked with one of them (see ``confirm``).
    """

    __slots__ = ("controls", "emptied", "image_ids", "zone")

    def __init__(
        self,
        seal: object,
        zone: ZoneRef,
        image_ids: tuple[str, ...],
        *,
        emptied: bool,
        controls: tuple[str, ...] = (),
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("Candidates come from Snapshot.unlisted only")
        self.zone = zone
        self.image_ids = image_ids
        self.emptied = emptied
        self.controls = controls


@final
class Unchanged:
    """A whole look that read the same as an earlier one. Only ``Walk.finish`` can make one.

    ``look`` are its digests: others, where the same rows came in another order or spelling.
    """

    __slots__ = ("look", "looked")

    def __init__(self, seal: object, looked: Looked, look: Look) -> None:
        if seal is not _SEAL:
            raise TypeError("Unchanged comes from Walk.finish only")
        self.looked = looked
        self.look = look

    @property
    def images(self) -> int:
        """How many images it listed."""
        return self.look.images

    def unlisted(self) -> Candidates:
        """Return the ids stored as present that it did not list: none."""
        return Candidates(_SEAL, self.looked.zone, (), emptied=False)


class Torn(msgspec.Struct, frozen=True):
    """Why a walk is no whole look; ``page_size`` is set where a smaller one was served."""

    reason: str
    page_size: int | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What an uncounted list is held against: the ids stored as present, and the lists before.

    ``stored`` is None where it is not known; ``lists`` are the ids of each reading of this run
    before.
    """

    stored: Collection[str] | None
    lists: Sequence[frozenset[str]]

    def holds(self, ids: frozenset[str]) -> bool:
        """Return whether a list of these ids counts."""
        lists_all = self.stored is not None and ids.issuperset(self.stored)
        return lists_all or ids in self.lists


class Walk:
    """One reading of one zone, page by page.

    Ask for page 1; ``take`` it; then ask for every number in ``remaining()``, in any order and
    concurrently; ``take`` each; until ``remaining()`` is empty; then ``finish``. Where the API
    sends no totalCount, ``remaining()`` names one page at a time until an empty one was served.

    ``before`` is the last whole look at the zone, ``spooler`` where the pages of a large zone go.
    A walk that is done may take ``shortcuts``, which may need more of that look.
    """

    def __init__(
        self,
        page_size: int,
        *,
        paged: bool = True,
        before: Look | None = None,
        spooler: Spooler | None = None,
    ) -> None:
        self.page_size = page_size
        self.paged = paged
        self._spooler = spooler
        self.pages: dict[int, Page] = {}
        self._asked = page_size
        self._before = before if before is not None and before.asked == page_size else None
        self._names: tuple[str, ...] = ()
        self._is_respelt = False
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

    def known(self, number: int) -> KnownPage | None:
        """Return what a page held in the whole look before, if it may hold that again."""
        before = self._before
        if before is None or before.hash != digests.HASH or number > len(before.pages):
            return None
        if self._is_respelt:
            return None
        return before.pages[number - 1]

    def take(self, number: int, page: Page) -> None:
        """Take a page that was read; one that does not fit the others tears the walk."""
        self.pages[number] = page
        first = self.pages[1]
        if number == 1:
            known, before = self.known(1), self._before
            is_known = known is not None and known.digest == page.digest
            self._names = before.names if before is not None and is_known else page.names
            self._is_respelt = before is not None and not before.is_spelt_as(self._names)
        if (first.total or 0) > LARGE:
            page.release(self._spooler)
        elif self._before is None or first.total is None:
            page.release()
        if number == 1:
            if self.paged:
                self._take_first(page)
        elif page.total != first.total:
            self._tear(f"totalCount changed from {first.total} to {page.total} between pages")
        elif first.total is None:
            self._take_uncounted(number, page)
        elif 0 < page.served < self.page_size and number * self.page_size < first.total:
            self._tear(f"page {number} held {page.served} of {self.page_size} rows", page.served)
        elif page.served == 0:
            self._tear(f"page {number} was empty although totalCount is {first.total}")

    def _take_first(self, first: Page) -> None:
        if first.total == INVALID_TOTAL or (first.total or 0) > MAX_IMAGES:
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

    def _take_uncounted(self, number: int, page: Page) -> None:
        before = self.pages[number - 1].served
        known = len(self._uncounted_ids)
        self._uncounted_ids.update(page.rows.ids)
        if page.served and before < self.page_size:
            self._tear(f"page {number - 1} held {before} of {self.page_size} rows", before)
        elif page.served and len(self._uncounted_ids) == known:
            self._tear(f"page {number} held nothing new")
        elif number * self.page_size > MAX_IMAGES:
            self._tear("the pages do not end")

    def _tear(self, reason: str, page_size: int | None = None) -> None:
        """Tear the walk; of several reasons the first counts, or that with the smallest page."""
        if self.torn is None or (page_size or self.page_size) < (
            self.torn.page_size or self.page_size
        ):
            self.torn = Torn(reason, page_size)

    @property
    def is_uncounted_list(self) -> bool:
        """Whether it is one page without a count, which cannot prove itself whole."""
        return not self.paged and 1 in self.pages and self.pages[1].total is None

    @cached_property
    def shortcuts(self) -> Shortcuts | None:
        """What is saved by the whole look before, once all pages were read; None: there is none."""
        if self._before is None or self.torn is not None or self.remaining():
            return None
        return Shortcuts(self._before, self._read, self._names)

    @property
    def _read(self) -> list[Page]:
        return [self.pages[number] for number in sorted(self.pages)]

    def finish(self, looked: Looked, proof: Proof | None = None) -> Snapshot | Unchanged | Torn:
        """Return the whole look, or why this walk is none.

        ``proof`` is what an uncounted list is held against; without it, it is none.
        """
        if self.torn is not None:
            return self.torn
        if missing := self.remaining():
            return Torn(f"page {missing[0]} was not read")
        if (shortcuts := self.shortcuts) is not None:
            if (same := shortcuts.same()) is not None:
                return Unchanged(_SEAL, looked, same)
            if (compared := shortcuts.compared) is not None:
                return self._whole(looked, Offered(self._read), len(compared), compared=compared)
        offered = Offered(self._read).distinct()
        if offered.rejected:
            return Torn(f"{offered.rejected} rows cannot be kept (no usable id, or one id twice)")
        if shortcuts is not None and (same := shortcuts.same(content=offered.content)) is not None:
            return Unchanged(_SEAL, looked, same)
        if self.is_uncounted_list and not (proof and proof.holds(offered.ids)):
            return Torn("the list has no count, lacks what is stored, and was not confirmed")
        return self._whole(looked, offered, len(offered))

    def _whole(
        self, looked: Looked, offered: Offered, images: int, *, compared: Compared | None = None
    ) -> Snapshot | Torn:
        """Return the look, if it lists as many images as there are."""
        total = self.pages[1].total
        if total is not None and images != total:
            return Torn(f"{images} distinct images were read, totalCount is {total}")
        look = Look(
            asked=self._asked,
            total=total,
            images=images,
            pages=known_pages(self._read),
            content=offered.content if compared is None else None,
            hash=digests.HASH,
            names=self._names,
        )
        rows = None if self.shortcuts is None else self.shortcuts.kept_rows()
        if compared is None:
            for page in self.pages.values():
                page.release()
        return Snapshot(_SEAL, looked, offered, look, compared=compared, rows=rows)

    def salvage(self) -> tuple[dict[str, Image], int]:
        """Return the images that were read, by id, and the number of rows that cannot be kept."""
        return images_by_id([self.pages[number].rows for number in sorted(self.pages)])


class ZoneRead:
    """All the walks of one zone in one run: how often it is read, and what came of it.

    Do each ``next_walk()`` and hand it to ``done``, or to ``abandon`` where a call failed, until
    ``done`` returns a whole look or no walk is left; then ``incomplete`` is the outcome. Where a
    walk ``needs_stored``, set ``stored`` before: the ids of the images stored as present.
    """

    def __init__(
        self,
        page_size: int,
        *,
        paged: bool = True,
        before: Look | None = None,
        spooler: Spooler | None = None,
    ) -> None:
        self._page_size = page_size
        self._walk = partial(Walk, paged=paged, before=before, spooler=spooler)
        self._seen: dict[str, Image] = {}
        self._rejected = 0
        self._torn_walks = 0
        self._last: Torn | None = None
        self._lists: list[frozenset[str]] = []
        self.stored: Collection[str] | None = None
        self.walks = 0
        self.pages = 0

    def needs_stored(self, walk: Walk) -> bool:
        """Return whether what is stored decides if a finished walk is whole."""
        is_known = walk.shortcuts is not None and walk.shortcuts.is_known
        return self.stored is None and walk.is_uncounted_list and not is_known

    def next_walk(self) -> Walk | None:
        """Return the walk to do, or None where no further one may help."""
        if self._torn_walks > MAX_REREADS or self.walks >= MAX_WALKS:
            return None
        self.walks += 1
        return self._walk(self._page_size)

    def done(self, walk: Walk, looked: Looked) -> Snapshot | Unchanged | None:
        """Take a finished walk; return its look if it is a whole one."""
        self.pages += len(walk.pages)
        looked = msgspec.structs.replace(looked, pages=self.pages, rereads=self.walks - 1)
        result = walk.finish(looked, Proof(stored=self.stored, lists=self._lists))
        if isinstance(result, Snapshot | Unchanged):
            return result
        self._last = result
        if walk.is_uncounted_list:
            self._lists.append(frozenset(walk.pages[1].rows.ids))
        if result.page_size is not None and result.page_size < self._page_size:  # no re-read
            self._page_size = result.page_size
        else:
            self._torn_walks += 1
        self._keep(walk)
        return None

    def abandon(self, walk: Walk) -> None:
        """Keep what a walk read before a call failed."""
        self._torn_walks += 1
        self.pages += len(walk.pages)
        self._keep(walk)

    def _keep(self, walk: Walk) -> None:
        images, self._rejected = walk.salvage()
        self._seen.update(images)

    def incomplete(self, looked: Looked, fault: Fault | None = None) -> Incomplete:
        """Return what was read, which is no whole look; ``fault`` is why, if a call failed."""
        if fault is None:
            reason = self._last.reason if self._last else "no page was read"
            fault = Fault(
                code="INCONSISTENT",
                message=f"{reason}; read {self.walks} times, it may be whole in the next run",
            )
        looked = msgspec.structs.replace(looked, pages=self.pages, rereads=max(0, self.walks - 1))
        return Incomplete(looked=looked, images=self._seen, rejected=self._rejected, fault=fault)
