"""A page of images as it was served, and what pages come to together."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
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

    __slots__ = ("_images", "_make", "ids", "rejected", "tokens")

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

    def image(self, n: int) -> Image:
        """Return the image of the row that can be kept and has the n-th id."""
        if self._images is not None:
            return self._images[n]
        assert self._make is not None  # noqa: S101  (or the images were given)
        return self._make(self.tokens[n])

    @property
    def images(self) -> list[Image]:
        """The images of the rows that can be kept."""
        return [self.image(n) for n in range(len(self.ids))]


@final
class Page:
    """One page as it was served: ``served`` rows of ``total``.

    ``digest`` is that of the bytes. Where they are the known ones the rows are not read until they
    are asked for (``read``); where nothing changed, nobody asks.
    """

    __slots__ = ("_read", "_rows", "digest", "served", "total")

    def __init__(
        self,
        served: int,
        total: Total,
        digest: bytes,
        *,
        rows: Rows | None = None,
        read: Callable[[], Rows] | None = None,
    ) -> None:
        self.served = served
        self.total = total
        self.digest = digest
        self._rows = rows
        self._read = read

    @classmethod
    def of(cls, images: Iterable[Image], total: Total, *, rejected: int = 0) -> Page:
        """Return a page of images that were read already."""
        images = tuple(images)
        tokens = [_pack.encode(image) for image in images] + [b""] * rejected
        rows = Rows(tokens, [image.image_id for image in images], images=images)
        return cls(len(tokens), total, sha256(b"".join(tokens)).digest(), rows=rows)

    @property
    def rows(self) -> Rows:
        """The rows."""
        if self._rows is None:
            assert self._read is not None  # noqa: S101  (or the rows were given)
            self._rows = self._read()
            self._read = None
        return self._rows


def digest_of(pages: Iterable[Page]) -> bytes:
    """Return the digest of the rows of pages, in whatever order they came."""
    tokens = sorted(chain.from_iterable(page.rows.tokens for page in pages))
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
    if len(offered) == sum(len(page.rows.tokens) for page in pages):
        return offered, 0
    images, rejected = merge(pages)
    return Offered((), images), rejected


@final
class Offered:
    """What a whole look listed: images that are made when they are asked for."""

    __slots__ = ("_alike", "_digests", "_images", "_rows", "ids")

    def __init__(self, pages: Sequence[Page], images: dict[str, Image] | None = None) -> None:
        """Take pages whose ids are distinct, or the ``images`` that they came to."""
        self._rows = [page.rows for page in pages]
        self._images = images
        self._alike = images is None
        self._digests: list[bytes] | None = None
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
        return b"".join(sorted(self._each())) if self._alike else b""

    def fresh(self, known: bytes) -> dict[str, Image] | None:
        """Return the images of the rows that are not among the ``known`` digests.

        None where rows and images are not the same.
        """
        if not self._alike:
            return None
        size, each = DIGEST_BYTES, self._each()
        held = {known[n : n + size] for n in range(0, len(known), size)}
        images, first = {}, 0
        for rows in self._rows:
            last = first + len(rows.ids)
            for n, digest in enumerate(each[first:last]):
                if digest not in held:
                    images[rows.ids[n]] = rows.image(n)
            first = last
        return images

    def _each(self) -> list[bytes]:
        if self._digests is None:
            size = DIGEST_BYTES
            tokens = chain.from_iterable(rows.tokens for rows in self._rows)
            self._digests = [sha256(token).digest()[:size] for token in tokens]
        return self._digests
