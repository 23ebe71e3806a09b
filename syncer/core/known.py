"""What the last whole look at a zone left behind, and the work that it saves.

The plain way (``paging``, ``page``) reads every row of every page and compares it with what is
stored. How a page, and with it a zone, becomes *unchanged* without that, from the cheapest:

1. A page whose bytes have the digest that it had in the last whole look is not looked into (that is
   seen in ``zenlayer.shortcuts``); if all pages have theirs, the zone is unchanged.
2. Any other page is split into its rows, which are not read; if all rows of the zone, sorted, have
   the digest that they had, the zone is unchanged, in another order.
3. Otherwise each row is hashed, and only those whose digests are new are read; if there are none,
   and no known row failed to come, the zone is unchanged (else those are what changed, or went).
4. Where that says nothing (no digests of rows are kept, most rows are new, an id comes twice), all
   rows are read; if what they say has the digest that it had, the zone is unchanged, spelt anew. If
   the first row of page 1 has its keys in another order, that is done with all further pages.
5. It is so only if ``totalCount`` is what it was too, and while what is stored of the zone is what
   that look listed: whatever else is written to a zone deletes its ``Look``.

``sync --full`` takes the plain way, as it gives no look. Rows are not compared as they were served
where they are not held (zones of more than ``paging.LARGE`` images), nor in a listing without
``totalCount``, whose reading needs all ids.

What is kept costs a write, so it is kept where it may be of use: the digest of all rows in any
order once they came in another one, the digests of single rows once the zone changed (later changes
write those that differ since, see ``KeptRows``). A first load keeps neither, and what reads the
same, byte for byte, writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from itertools import chain, zip_longest
from struct import Struct
from typing import Final, final

import msgspec

from syncer.core import digests
from syncer.core.page import KnownPage, Page, Rows, Total

_SAMPLE: Final = 16
"""Rows of a page that are looked up first: where none is known, they are as a rule spelt anew."""
_MOST_NEW: Final = 0.5
"""Where a larger share of the rows is new, reading all of them costs hardly more."""

_MOST_AMENDED: Final = 1 / 8
"""Where more differs from the rows that are kept, they are kept anew: it would be written often."""
_SIZES: Final = Struct(">II")
"""How many rows the base had, and how many of them went."""
_DIGEST: Final = Struct(f"{digests.ROW_BYTES}s")


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The digests of a whole look: what reads the same again need not be compared.

    ``asked`` is the page size that was asked for, ``images`` how many there were. ``hash`` made the
    digests of the ``pages`` and of all rows as they were served, in any order (``unordered``; None:
    not known). ``content`` is of what the rows say, in any order (None: not known). ``has_rows`` is
    whether ``KeptRows`` are kept beside. ``names`` are those of the first row, in the order in
    which they stood ((): not known).
    """

    asked: int
    total: Total
    images: int
    pages: tuple[KnownPage, ...]
    content: bytes | None
    hash: str
    unordered: bytes | None = None
    has_rows: bool = False
    names: tuple[str, ...] = ()

    def is_spelt_as(self, names: Collection[str]) -> bool:
        """Whether names of a row stand in this order, of those that both have."""
        ours = [name for name in self.names if name in names]
        return ours == [name for name in names if name in self.names]


class KnownRows(msgspec.Struct, frozen=True):
    """The rows of a whole look as they came, one an image: the digest of each, and its id."""

    digests: Sequence[bytes]
    ids: Sequence[str]

    def packed(self) -> bytes:
        """Return them as they are stored: all digests, then all ids (which have no NUL)."""
        return b"".join(self.digests) + "\0".join(self.ids).encode()

    @classmethod
    def unpacked(cls, packed: bytes, images: int) -> KnownRows:
        """Return the rows of a number of images."""
        end = images * digests.ROW_BYTES
        each = chain.from_iterable(_DIGEST.iter_unpack(memoryview(packed)[:end]))
        return cls(list(each), packed[end:].decode().split("\0") if images else [])


class KeptRows(msgspec.Struct, frozen=True):
    """``KnownRows`` as they are kept: those of a look (``base``), and by what a later one differed.

    So a change writes what differs since, not something of each image of its zone, until that is an
    eighth. ``gone`` are places of the base's rows that are there no more, ``added`` the rows that
    it had not. ``is_stored`` is whether the base is what is stored already.
    """

    base: KnownRows
    gone: Sequence[int] = ()
    added: KnownRows = KnownRows((), ())
    is_stored: bool = False

    def rows(self) -> KnownRows:
        """Return the rows that are known: what was added stands where something went."""
        digests, ids = [*self.base.digests], [*self.base.ids]
        both = min(len(self.gone), len(self.added.ids))
        for number, place in enumerate(self.gone[:both]):
            digests[place], ids[place] = self.added.digests[number], self.added.ids[number]
        for place in reversed(self.gone[both:]):
            del digests[place], ids[place]
        return KnownRows([*digests, *self.added.digests[both:]], [*ids, *self.added.ids[both:]])

    def followed_by(self, now: KnownRows) -> KeptRows:
        """Return the rows of a later look as they are to be kept: anew, where much differs."""
        came, base = frozenset(now.digests), frozenset(self.base.digests)
        gone = [place for place, digest in enumerate(self.base.digests) if digest not in came]
        added = [place for place, digest in enumerate(now.digests) if digest not in base]
        if len(gone) + len(added) > _MOST_AMENDED * len(came):
            return KeptRows(now)
        rows = KnownRows([now.digests[n] for n in added], [now.ids[n] for n in added])
        return KeptRows(self.base, gone, rows, is_stored=self.is_stored)

    def packed(self) -> bytes | None:
        """Return what a later look differed by, as it is stored; None: nothing."""
        if not self.gone and not self.added.ids:
            return None
        head = _SIZES.pack(len(self.base.ids), len(self.gone))
        return head + Struct(f">{len(self.gone)}I").pack(*self.gone) + self.added.packed()

    @classmethod
    def unpacked(cls, base: bytes, amended: bytes | None, images: int) -> KeptRows:
        """Return rows that are stored, of a look at a number of images."""
        if amended is None:
            return cls(KnownRows.unpacked(base, images), is_stored=True)
        size, gone = _SIZES.unpack_from(amended)
        places = Struct(f">{gone}I")
        added = KnownRows.unpacked(amended[_SIZES.size + places.size :], images - size + gone)
        return cls(
            KnownRows.unpacked(base, size),
            places.unpack_from(amended, _SIZES.size),
            added,
            is_stored=True,
        )


@final
class Compared:
    """What a look comes to if only its new rows were read. Made by ``Served.compare``.

    ``fresh`` are these rows, ``ids`` those of all images that it lists, ``missing`` those that the
    look before listed and it does not, ``rows`` is what is known from here on.
    """

    __slots__ = ("fresh", "ids", "missing", "rows")

    def __init__(
        self, fresh: Rows, *, ids: frozenset[str], missing: frozenset[str], rows: KnownRows
    ) -> None:
        self.fresh = fresh
        self.ids = ids
        self.missing = missing
        self.rows = rows

    @property
    def is_same(self) -> bool:
        """Whether the rows are those of the look before."""
        return not self.fresh and not self.missing

    def __len__(self) -> int:
        return len(self.ids)


@final
class Served:
    """The rows of all pages of a zone as they were served, split and not read."""

    def __init__(self, pages: Sequence[Page], split: Sequence[Sequence[msgspec.Raw]]) -> None:
        self._pages = pages
        self._split = split

    @classmethod
    def of(cls, pages: Sequence[Page]) -> Served | None:
        """Return the rows of pages; None where those of one are not held or cannot be split."""
        split = [rows for page in pages if (rows := page.split()) is not None]
        return cls(pages, split) if len(split) == len(pages) else None

    @cached_property
    def unordered(self) -> bytes:
        """The digest of the rows, whatever order they came in.

        They are JSON values: joined by a line end, no two lists of them are the same bytes.
        """
        return digests.of_page(b"\n".join(sorted(map(bytes, self._rows()))))

    @cached_property
    def _digests(self) -> list[bytes]:
        return digests.of_rows(self._rows())

    def _rows(self) -> Iterable[msgspec.Raw]:
        return chain.from_iterable(self._split)

    def known(self) -> KnownRows | None:
        """Return what is known of the rows from here on, once all are read.

        None where they are not one row an image: some are spelt twice, or cannot be kept.
        """
        ids = [image_id for page in self._pages for image_id in page.rows.ids]
        if not len(self._digests) == len(ids) == len(set(ids)):
            return None
        return KnownRows(self._digests, ids)

    def compare(self, before: KnownRows) -> Compared | None:
        """Read the rows that are not known; None where that says nothing, or would save nothing.

        Most rows stand where they stood: only the places at which they differ are looked into. A
        row that stood at another of them is known too. A row with the id of another one (or its
        bytes: each is known once) is left to the plain way, which says if both are one image.
        """
        if not self._is_alike(before):
            return None
        came, known = self._digests, len(before.ids)
        pairs = enumerate(zip_longest(before.digests, came))
        differ = [place for place, (then, now) in pairs if then != now]
        stood = {before.digests[place]: before.ids[place] for place in differ if place < known}
        found = {place: stood.pop(came[place], None) for place in differ if place < len(came)}
        new = [place for place, image_id in found.items() if image_id is None]
        if len(new) > _MOST_NEW * len(came):
            return None
        rows = list(self._rows()) if new else []
        fresh = self._pages[0].read_some([rows[place] for place in new]) if new else Rows([], [])
        if fresh.rejected:
            return None
        ids = [*before.ids[: len(came)], *[""] * (len(came) - known)]
        for place, image_id in (*found.items(), *zip(new, fresh.ids, strict=True)):
            ids[place] = image_id or ""
        distinct = frozenset(ids)
        if len(distinct) < len(ids):
            return None
        missing = frozenset(stood.values()).difference(fresh.ids)
        return Compared(fresh, ids=distinct, missing=missing, rows=KnownRows(came, ids))

    def _is_alike(self, before: KnownRows) -> bool:
        """Whether of a few rows, at least one a page, any is known: else all are spelt anew."""
        few = [row for rows in self._split for row in rows[:: max(1, len(rows) // _SAMPLE)]]
        return not before.ids or not set(digests.of_rows(few)).isdisjoint(before.digests)


def known_pages(pages: Iterable[Page]) -> tuple[KnownPage, ...]:
    """Return what is known of pages from here on."""
    return tuple(KnownPage(page.digest, page.served) for page in pages)


@final
class Shortcuts:
    """All pages of a zone beside the last whole look at it (``before``), which asked for as many.

    ``names`` are those of the first row now. Where it ``needs_rows``, set ``rows`` first: what is
    kept of the rows of that look.
    """

    def __init__(self, before: Look, pages: Sequence[Page], names: tuple[str, ...]) -> None:
        self._before = before
        self._pages = pages
        self._names = names
        self.rows: KeptRows | None = None

    @property
    def is_known(self) -> bool:
        """Whether the pages are, byte for byte, those of the look before."""
        is_same_hash = self._before.hash == digests.HASH
        return is_same_hash and self._before.pages == known_pages(self._pages)

    @cached_property
    def served(self) -> Served | None:
        """The rows as they were served, where that may say something.

        There must be a count to hold them against, and rows spelt as they were.
        """
        if self._pages[0].total is None or not self._before.is_spelt_as(self._names):
            return None
        return Served.of(self._pages)

    @property
    def needs_rows(self) -> bool:
        """Whether it is worth asking for what is kept of the rows of the look before."""
        if not self._before.has_rows or self.is_known or self.served is None:
            return False
        return not self._is_reordered

    @property
    def _is_reordered(self) -> bool:
        before, served = self._before, self.served
        if before.unordered is None or before.hash != digests.HASH or served is None:
            return False
        return served.unordered == before.unordered

    @cached_property
    def compared(self) -> Compared | None:
        """What the look comes to where only new rows are read; None leaves it to the plain way."""
        if self.rows is None or self.served is None:
            return None
        return self.served.compare(self.rows.rows())

    def kept_rows(self) -> KeptRows | None:
        """Return what is to be kept of single rows; all are read, unless ``compared``."""
        if self.served is None:
            return None
        now = self.served.known() if self.compared is None else self.compared.rows
        if now is None:
            return None
        return KeptRows(now) if self.rows is None else self.rows.followed_by(now)

    def same(self, *, content: bytes | None = None) -> Look | None:
        """Return the look from here on, where what is listed is what the look before listed.

        ``content`` is known where all rows were read.
        """
        if self._pages[0].total != self._before.total:
            return None
        if self.is_known:
            return self._before
        as_served = self._is_reordered or (self.compared is not None and self.compared.is_same)
        if not as_served and (content is None or content != self._before.content):
            return None
        # Kept in vain the last time, it is not made this time: rows may be spelt anew each time.
        served = self.served if as_served or self._before.unordered is None else None
        return msgspec.structs.replace(
            self._before,
            pages=known_pages(self._pages),
            hash=digests.HASH,
            unordered=None if served is None else served.unordered,
            names=self._names,
        )
