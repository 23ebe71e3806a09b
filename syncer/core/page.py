"""A page of images as it was served, and the images of several pages together.

Rows stay lines of text (see ``line``) for as long as they can: a zone that did not change is
compared by digests, and no ``Image`` is made of it. The rows of a page are in one of three states:
not read yet (its bytes are those of an earlier look), in memory (``Rows``), or written to a
temporary file and read again when they are needed (``SpooledRows``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from hashlib import sha256
from itertools import chain
from typing import Final, final

import msgspec

from syncer.core import digests
from syncer.core.line import (
    DIGEST_BYTES,
    Block,
    digests_of,
    image_id_of,
    image_of,
    line_of,
    type_and_status_of,
)
from syncer.core.model import Image

PARSER_VERSION: Final = 2
"""Counted up whenever the same bytes are read as other images: known pages and digests are void."""

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_first: Final = json.JSONDecoder()  # reads a value without knowing where it ends
_HEAD: Final = 8192
"""Bytes within which the first row of a page ends, as a rule."""

Total = int | None
"""``totalCount`` as served: None where it is absent, ``INVALID_TOTAL`` where it is no count."""
INVALID_TOTAL: Final = -1

AVAILABLE: Final = "AVAILABLE"
"""The status of an image that can be used."""

PART: Final = 10_000
"""About as many images as are compared at a time in a zone that is too large to be held."""

Spooler = Callable[[bytes | memoryview], Callable[[], bytes]]
"""Writes bytes to somewhere outside of memory; returns the function that reads them back."""


class KnownPage(msgspec.Struct, frozen=True):
    """What a page held in an earlier whole look: the digest of its bytes, and its rows."""

    digest: bytes
    served: int


@final
class Rows:
    """The rows of a page, in memory.

    ``lines`` and ``ids`` are of those that can be kept, ``rejected`` counts the others. ``plain``
    is whether no line has ``extra`` or ``added`` and each size is written as it is compared.
    """

    __slots__ = ("ids", "lines", "plain", "rejected")

    def __init__(
        self, lines: list[str], ids: list[str], *, rejected: int = 0, plain: bool = False
    ) -> None:
        self.lines = lines
        self.ids = ids
        self.rejected = rejected
        self.plain = plain

    def __len__(self) -> int:
        return len(self.lines) + self.rejected

    def images(self) -> list[Image]:
        """Return the images of the rows that can be kept."""
        return [image_of(line) for line in self.lines]

    def digests(self) -> list[bytes]:
        """Return the digest of each line."""
        return digests_of(self.lines, plain=self.plain)


@final
class SpooledRows:
    """The rows of a page, outside of memory but for ids and digests; ``read`` reads them again."""

    __slots__ = ("_digests", "_read", "ids", "rejected")

    def __init__(self, rows: Rows, read: Callable[[], Rows]) -> None:
        self.ids = rows.ids
        self.rejected = rows.rejected
        each = rows.digests()
        self._digests = b"".join(each) if rows.plain else each
        self._read = read

    def __len__(self) -> int:
        return len(self.ids) + self.rejected

    @property
    def lines(self) -> list[str]:
        """The lines of the rows that can be kept, read again each time."""
        return self._read().lines

    def images(self) -> list[Image]:
        """Return the images of the rows that can be kept."""
        return self._read().images()

    def digests(self) -> list[bytes]:
        """Return the digest of each line."""
        held = self._digests
        if isinstance(held, list):
            return held
        return [held[n : n + DIGEST_BYTES] for n in range(0, len(held), DIGEST_BYTES)]

    def block(self, numbers: Sequence[int]) -> Block:
        """Return the images at these places."""
        if not numbers:
            return Block()
        return Block(self.lines, self.digests()).pick(numbers)


@final
class Page:
    """One page as it was served: ``served`` rows of ``total``.

    ``digest`` is that of the bytes of the rows, ``raw``; ``raws`` are the same one by one, each
    known to be JSON. Where ``rows`` are not given, ``read`` makes them when they are asked for:
    where nothing changed, they never are.
    """

    __slots__ = ("_raw", "_raws", "_read", "_rows", "_unspool", "digest", "served", "total")

    def __init__(
        self,
        served: int,
        total: Total,
        digest: bytes,
        *,
        rows: Rows | None = None,
        raw: bytes | memoryview = b"",
        raws: Sequence[msgspec.Raw] | None = None,
        read: Callable[[bytes | memoryview], Rows] | None = None,
    ) -> None:
        self.served = served
        self.total = total
        self.digest = digest
        self._rows: Rows | SpooledRows | None = rows
        self._raw = raw
        self._raws = raws
        self._read = read
        self._unspool: Callable[[], bytes] | None = None

    @classmethod
    def of(cls, images: Iterable[Image], total: Total, *, rejected: int = 0) -> Page:
        """Return a page of images that were read already."""
        images = tuple(images)
        lines = [line_of(one.image_id, one.tracked, one.extra, one.added) for one in images]
        rows = Rows(lines, [image.image_id for image in images], rejected=rejected)
        digest = digests.of_page("\n".join([*lines, *[""] * rejected]).encode())
        return cls(len(rows), total, digest, rows=rows)

    @property
    def rows(self) -> Rows | SpooledRows:
        """The rows, read now if they were not yet."""
        if self._rows is None:
            assert self._read is not None  # noqa: S101  (or the rows were given)
            if self._unspool is None:
                self._rows = self._read(self._raw)
            else:
                again = partial(_reread, self._read, self._unspool)
                self._rows = SpooledRows(again(), again)
        return self._rows

    def split(self) -> Sequence[msgspec.Raw] | None:
        """Return the rows as they were served; None where they are not held, or cannot be split."""
        return split_rows(self._raw) if self._raws is None else self._raws

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its first row as they stand, while it is held; (): not known."""
        return first_names(self._raw)

    def read_some(self, raws: Iterable[msgspec.Raw]) -> Rows:
        """Read rows as those of the page are read."""
        assert self._read is not None  # noqa: S101  (or there were none to split)
        return self._read(joined(raws))

    def release(self, spooler: Spooler | None = None) -> None:
        """Free the memory that is not needed; with a ``spooler``, that of the rows too."""
        if spooler is not None and self._read is not None and self._unspool is None:
            self._unspool = spooler(self._raw)
            self._raw, self._raws = b"", None
            if isinstance(self._rows, Rows):
                again = partial(_reread, self._read, self._unspool)
                self._rows = SpooledRows(self._rows, again)
        elif self._rows is not None:
            self._raw, self._raws = b"", None


def split_rows(raw: bytes | memoryview) -> list[msgspec.Raw] | None:
    """Return the JSON values of a list, which are checked to be JSON and not read.

    None: it is no such list, or in no encoding of JSON, or nested too deeply.
    """
    data = bytes(raw)
    try:
        if not data.isascii():
            data.decode()
        return _list.decode(data)
    except (UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        return None


def first_names(raw: bytes | memoryview) -> tuple[str, ...]:
    """Return the names of a list's first row, in the order in which they stand.

    (): they are not known, as there is no row, or one that is odd.
    """
    head = bytes(raw[:_HEAD]).decode(errors="replace")
    if (start := head.find("{")) < 0:
        return ()
    try:
        row, _ = _first.raw_decode(head, start)
    except (ValueError, RecursionError):
        return ()
    names = tuple(row)
    return names if all(name.isascii() and name.isprintable() for name in names) else ()


def joined(raws: Iterable[msgspec.Raw]) -> bytes:
    """Return the JSON list of values."""
    return b"[" + b",".join(raws) + b"]"


def _reread(read: Callable[[bytes | memoryview], Rows], unspool: Callable[[], bytes]) -> Rows:
    """Read spooled rows. No method: page and rows would refer to each other, and keep the file."""
    return read(unspool())


def images_by_id(parts: Iterable[Rows | SpooledRows]) -> tuple[dict[str, Image], int]:
    """Return the images of the rows of several pages by id, and how many rows were rejected.

    The same id with equal content is one image; with different content neither is kept.
    """
    images: dict[str, Image] = {}
    conflicting: dict[str, int] = {}
    rejected = 0
    for rows in parts:
        rejected += rows.rejected
        for image in rows.images():
            known = images.setdefault(image.image_id, image)
            if known is not image and not same_content(known, image):
                conflicting[image.image_id] = conflicting.get(image.image_id, 1) + 1
    for image_id, times in conflicting.items():
        del images[image_id]
        rejected += times
    return images, rejected


def same_content(one: Image, other: Image) -> bool:
    """Return whether two rows of one id have equal content."""
    return one.fingerprint == other.fingerprint and one.extra_digest == other.extra_digest


@final
class Offered:
    """The images that a whole look listed, as lines: of most no ``Image`` is ever made."""

    def __init__(self, pages: Sequence[Page]) -> None:
        """Take pages; what is stored is ``distinct()``, in which no id comes twice."""
        self._pages = pages

    @cached_property
    def _parts(self) -> list[Rows | SpooledRows]:
        return [page.rows for page in self._pages]

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of the images."""
        return frozenset(chain.from_iterable(rows.ids for rows in self._parts))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rejected(self) -> int:
        """How many rows cannot be kept."""
        return sum(rows.rejected for rows in self._parts)

    def distinct(self) -> Offered:
        """Return the same with each id once (see ``images_by_id``)."""
        if len(self) == sum(len(rows.ids) for rows in self._parts):
            return self
        images, rejected = images_by_id(self._parts)
        return Offered([Page.of(images.values(), None, rejected=rejected)])

    def images(self) -> dict[str, Image]:
        """Return all images by id."""
        return {image.image_id: image for rows in self._parts for image in rows.images()}

    def pick(
        self, most: int, *, seed: str, image_types: Sequence[str | None] = ()
    ) -> tuple[str, ...]:
        """Return at most ``most`` ids, the best first; the seed chooses among equally good ones.

        Good is to be of a given image type, the earlier the better, and of those to be AVAILABLE.
        Pages are looked into from a place that the seed names, and only until there are enough of
        the best: of a large zone it is one page as a rule.
        """
        rank = {image_type: place for place, image_type in enumerate(image_types)}
        best = (0, False)
        found = defaultdict[tuple[int, bool], list[str]](list)
        for line in self._lines_from(seed):
            image_type, status = type_and_status_of(line)
            known = found[rank.get(image_type, len(rank)), status != AVAILABLE]
            if len(known) < most:
                known.append(image_id_of(line))
            if len(found[best]) == most:
                break
        return tuple(chain.from_iterable(found[key] for key in sorted(found)))[:most]

    def _lines_from(self, seed: str) -> Iterator[str]:
        """Yield all lines, page after page, from a place that the seed names, and round."""
        sizes = [len(rows.ids) for rows in self._parts]
        if not sum(sizes):
            return
        place = int.from_bytes(sha256(seed.encode()).digest()[:8]) % sum(sizes)
        first = 0
        while place >= sizes[first]:
            place -= sizes[first]
            first += 1
        yield from self._parts[first].lines[place:]
        for rows in (*self._parts[first + 1 :], *self._parts[:first]):
            yield from rows.lines
        yield from self._parts[first].lines[:place]

    @cached_property
    def content(self) -> bytes:
        """The digest of all rows that can be kept, whatever order they came in."""
        if self._are_spooled:
            each = sorted(chain.from_iterable(rows.digests() for rows in self._parts))
            return sha256(b"".join(each)).digest()
        return sha256("\n".join(self._sorted).encode()).digest()

    def blocks(self, known: Collection[bytes] = ()) -> Iterator[Block]:
        """Yield the images whose digests are not among the ``known``, part by part."""
        if not self._are_spooled:
            lines = self._sorted
            plain = all(rows.plain for rows in self._parts if isinstance(rows, Rows))
            block = Block(lines, digests_of(lines, plain=plain))
            yield block.pick(_others(block.digests, known)) if known else block
            return
        block = Block()
        for rows in self._parts:
            block += _block(rows, known)
            if len(block) >= PART:
                yield block.sorted()
                block = Block()
        if block:
            yield block.sorted()

    @property
    def _are_spooled(self) -> bool:
        return any(isinstance(rows, SpooledRows) for rows in self._parts)

    @cached_property
    def _sorted(self) -> list[str]:
        parts = (rows.lines for rows in self._parts if isinstance(rows, Rows))
        return sorted(chain.from_iterable(parts))


def _block(rows: Rows | SpooledRows, known: Collection[bytes]) -> Block:
    found = _others(each := rows.digests(), known)
    if isinstance(rows, SpooledRows):
        return rows.block(found)
    return Block(rows.lines, each).pick(found)


def _others(each: Sequence[bytes], known: Collection[bytes]) -> Sequence[int]:
    return [n for n, digest in enumerate(each) if digest not in known]
