"""A page of images as it was served, and what pages come to together."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Protocol, final

import msgspec

from syncer.core.model import Image

Total = int | None
"""totalCount as served; None where the reply has none; ``LYING`` where it is no count."""
LYING: Final = -1

_pack: Final = msgspec.msgpack.Encoder()


class Reader(Protocol):
    """Reads rows that it found to be readable before: a ``Source``."""

    def rows_of(self, raw: bytes) -> Rows:
        """Return the images of a list of rows."""
        ...

    def tokens_of(self, raw: bytes) -> list[bytes]:
        """Return the tokens of a list of rows (see ``Page``)."""
        ...


class Rows(msgspec.Struct, frozen=True):
    """What rows come to: the images, and how many of the rows cannot be kept."""

    images: tuple[Image, ...]
    rejected: int = 0


class Known(msgspec.Struct, frozen=True):
    """What a page held in an earlier whole look: the digest of its bytes, and how many rows."""

    digest: bytes
    served: int


@final
class Page:
    """One page as it was served: ``served`` rows of ``total``.

    What is asked of it is read from its bytes when it is asked for; where nothing changed, nobody
    asks. ``digest`` is that of the bytes.
    """

    __slots__ = ("_read", "_rows", "_tokens", "digest", "served", "total")

    def __init__(
        self,
        served: int,
        total: Total,
        *,
        rows: Rows | None = None,
        tokens: list[bytes] | None = None,
        digest: bytes = b"",
        read: tuple[Reader, bytes] | None = None,
    ) -> None:
        self.served = served
        self.total = total
        self.digest = digest
        self._rows = rows
        self._tokens = tokens
        self._read = read

    @classmethod
    def of(cls, images: Iterable[Image], total: Total, *, rejected: int = 0) -> Page:
        """Return a page of images that were read already."""
        rows = Rows(tuple(images), rejected)
        tokens = [_pack.encode(image) for image in rows.images] + [b""] * rejected
        digest = sha256(b"".join(tokens)).digest()
        return cls(len(rows.images) + rejected, total, rows=rows, tokens=tokens, digest=digest)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the rows that can be kept."""
        return self._all().images

    @property
    def rejected(self) -> int:
        """How many of the rows cannot be kept."""
        return self._all().rejected

    @property
    def tokens(self) -> list[bytes]:
        """A text for each row: equal texts are equal images, in whatever order the keys came."""
        if self._tokens is None:
            assert self._read is not None  # noqa: S101  (or the tokens were given)
            reader, raw = self._read
            self._tokens = reader.tokens_of(raw)
        return self._tokens

    def _all(self) -> Rows:
        if self._rows is None:
            assert self._read is not None  # noqa: S101  (or the rows were given)
            reader, raw = self._read
            self._rows = reader.rows_of(raw)
        return self._rows


def digest_of(pages: Iterable[Page]) -> bytes:
    """Return the digest of the rows of pages, in whatever order they came."""
    tokens = sorted(token for page in pages for token in page.tokens)
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
        rejected += page.rejected
        for image in page.images:
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
