"""A page of images as it was served, and what pages come to together."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from typing import Final, final

import msgspec

from syncer.core.model import Image

Total = int | None
"""totalCount as served; None where the reply has none; ``LYING`` where it is no count."""
LYING: Final = -1

_pack: Final = msgspec.msgpack.Encoder()
DIGEST_BYTES: Final = 16
PART: Final = 10_000
"""About so many images are made at a time."""

Put = Callable[[bytes], Callable[[], bytes]]
"""Keeps bytes outside of memory, and returns how to get them back."""


class Known(msgspec.Struct, frozen=True):
    """What a page held in an earlier whole look: the digest of its bytes, and how many rows."""

    digest: bytes
    served: int


@final
class Rows:
    """The rows of a page.

    ``tokens`` has a text for each row: equal texts are equal images, in whatever order the keys of
    the row came. ``ids`` are those of the rows that can be kept, ``rejected`` is how many cannot.
    Images are made (``make``, from a token) when they are asked for.
    """

    __slots__ = ("_digests", "_images", "_make", "ids", "rejected", "tokens")

    def __init__(
        self,
        tokens: list[bytes],
        ids: list[str],
        *,
        images: Sequence[Image] | None = None,
        make: Callable[[bytes], Image] | None = None,
    ) -> None:
        self.tokens = tokens
        self.ids = ids
        self.rejected = len(tokens) - len(ids)
        self._images = images
        self._make = make
        self._digests: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def pick(self, numbers: Iterable[int]) -> list[Image]:
        """Return the images of the rows that can be kept and have these ids, counted from 0."""
        if self._images is not None:
            return [self._images[n] for n in numbers]
        assert self._make is not None  # noqa: S101  (or the images were given)
        return [self._make(self.tokens[n]) for n in numbers]

    @property
    def images(self) -> list[Image]:
        """The images of the rows that can be kept."""
        return self.pick(range(len(self.ids)))

    def digests(self) -> list[bytes]:
        """Return a digest of each row."""
        if self._digests is None:
            self._digests = [sha256(token).digest()[:DIGEST_BYTES] for token in self.tokens]
        return self._digests


@final
class Aside:
    """Rows that were put aside: but for ids and digests they are read again when asked for."""

    __slots__ = ("_digests", "_read", "ids", "rejected")

    def __init__(self, rows: Rows, read: Callable[[], Rows]) -> None:
        self.ids = rows.ids
        self.rejected = rows.rejected
        self._digests = b"".join(rows.digests())
        self._read = read

    def __len__(self) -> int:
        return len(self.ids) + self.rejected

    def pick(self, numbers: Iterable[int]) -> list[Image]:
        """Return the images of the rows that can be kept and have these ids, counted from 0."""
        numbers = list(numbers)
        return self._read().pick(numbers) if numbers else []

    @property
    def images(self) -> list[Image]:
        """The images of the rows that can be kept."""
        return self._read().images

    def digests(self) -> list[bytes]:
        """Return a digest of each row."""
        return split(self._digests)


@final
class Page:
    """One page as it was served: ``served`` rows of ``total``.

    ``digest`` is that of the bytes. Where they are the known ones the rows are not read (``read``,
    from ``raw``) until they are asked for; where nothing changed, nobody asks.
    """

    __slots__ = ("_back", "_raw", "_read", "_rows", "digest", "served", "total")

    def __init__(
        self,
        served: int,
        total: Total,
        digest: bytes,
        *,
        rows: Rows | None = None,
        raw: bytes = b"",
        read: Callable[[bytes], Rows] | None = None,
    ) -> None:
        self.served = served
        self.total = total
        self.digest = digest
        self._rows: Rows | Aside | None = rows
        self._raw = raw
        self._read = read
        self._back: Callable[[], bytes] | None = None

    @classmethod
    def of(cls, images: Iterable[Image], total: Total, *, rejected: int = 0) -> Page:
        """Return a page of images that were read already."""
        images = tuple(images)
        tokens = [_pack.encode(image) for image in images] + [b""] * rejected
        rows = Rows(tokens, [image.image_id for image in images], images=images)
        return cls(len(tokens), total, sha256(b"".join(tokens)).digest(), rows=rows)

    @property
    def rows(self) -> Rows | Aside:
        """The rows."""
        if self._rows is None:
            rows = self._reread()
            self._rows = rows if self._back is None else Aside(rows, self._reread)
            self.keep(None)
        return self._rows

    def keep(self, put: Put | None) -> None:
        """Keep no more in memory than is needed; with ``put``, the rows are put aside."""
        if put is not None and self._read is not None and self._back is None:
            self._back, self._raw = put(self._raw), b""
            if isinstance(self._rows, Rows):
                self._rows = Aside(self._rows, self._reread)
        elif self._rows is not None:
            self._raw = b""

    def _reread(self) -> Rows:
        assert self._read is not None  # noqa: S101  (or the rows were given)
        return self._read(self._raw if self._back is None else self._back())


def digest_of(pages: Iterable[Page]) -> bytes:
    """Return the digest of the rows of pages, in whatever order they came."""
    parts = [page.rows for page in pages]
    rows = [part for part in parts if isinstance(part, Rows)]
    if len(rows) < len(parts):
        digests = sorted(chain.from_iterable(part.digests() for part in parts))
        return sha256(b"".join(digests)).digest()
    tokens = sorted(chain.from_iterable(part.tokens for part in rows))
    digest = sha256(b"".join(tokens))
    digest.update(array("Q", map(len, tokens)).tobytes())  # where one ends and the next begins
    return digest.digest()


def merge(pages: Iterable[Page]) -> tuple[dict[str, Image], int]:
    """Return the images of the pages by id, and how many rows were rejected.

    The same id with equal content is one image; with other content neither is kept.
    """
    images: dict[str, Image] = {}
    conflicting: dict[str, int] = {}
    rejected = 0
    for page in pages:
        rejected += page.rows.rejected
        for image in page.rows.images:
            known = images.setdefault(image.image_id, image)
            if known is not image and not same(known, image):
                conflicting[image.image_id] = conflicting.get(image.image_id, 1) + 1
    for image_id, rows in conflicting.items():
        del images[image_id]
        rejected += rows
    return images, rejected


def same(one: Image, other: Image) -> bool:
    """Return whether two rows of one id have equal content."""
    return one.fingerprint == other.fingerprint and one.extra_digest == other.extra_digest


def offered_by(pages: Sequence[Page]) -> tuple[Offered, int]:
    """Return what pages offer together, and how many of their rows were rejected."""
    offered = Offered(pages)
    if len(offered) == sum(len(page.rows) for page in pages):
        return offered, 0
    images, rejected = merge(pages)
    return Offered((), images), rejected


@final
class Offered:
    """What a whole look listed: images that are made when they are asked for."""

    __slots__ = ("_alike", "_images", "_rows", "ids")

    def __init__(self, pages: Sequence[Page], images: dict[str, Image] | None = None) -> None:
        """Take pages whose ids are distinct, or the ``images`` that they came to."""
        self._rows = [page.rows for page in pages]
        self._images = images
        self._alike = images is None
        self.ids = frozenset(images or chain.from_iterable(rows.ids for rows in self._rows))

    def __len__(self) -> int:
        return len(self.ids)

    def images(self) -> dict[str, Image]:
        """Return all images by id."""
        if self._images is None:
            self._images = {image.image_id: image for rows in self._rows for image in rows.images}
        return self._images

    def digests(self) -> bytes:
        """Return a digest of each row, sorted (nothing, where rows and images are not the same)."""
        if not self._alike:
            return b""
        return b"".join(sorted(chain.from_iterable(rows.digests() for rows in self._rows)))

    def parts(self, known: bytes = b"") -> Iterator[dict[str, Image]]:
        """Yield the images of the rows that are not among the ``known`` digests, part by part.

        All images, where rows and images are not the same.
        """
        if not self._alike:
            yield self.images()
            return
        held = frozenset(split(known))
        part: dict[str, Image] = {}
        for rows in self._rows:
            numbers = range(len(rows)) if not held else _others(rows.digests(), held)
            ids = rows.ids
            part.update(zip([ids[n] for n in numbers], rows.pick(numbers), strict=True))
            if len(part) >= PART:
                yield part
                part = {}
        if part:
            yield part


def _others(digests: Sequence[bytes], held: frozenset[bytes]) -> Sequence[int]:
    return [n for n, digest in enumerate(digests) if digest not in held]


def split(digests: bytes) -> list[bytes]:
    """Return digests of rows that stand one after the other."""
    return [digests[n : n + DIGEST_BYTES] for n in range(0, len(digests), DIGEST_BYTES)]
