"""An image as one line of text: how it goes from a reply into a table, and what its digests are of.

The line is PostgreSQL's COPY text format of id, the first tracked columns and, where there is any,
``extra`` and then ``added``: equal lines are equal images, whatever order their keys came in, and
most are never taken apart.
Source: postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, final

from syncer.core.model import TRACKED, Image, Tracked
from syncer.core.normalise import size_key

DIGEST_BYTES: Final = 16
NULL: Final = "\\N"
_COLUMNS: Final = 1 + len(TRACKED)
_ADDED: Final = _COLUMNS + 1
_PADS: Final = (f"\t{NULL}\t{NULL}", f"\t{NULL}", "")
"""What a line lacks of ``extra`` and ``added``, by how many of the two it has."""
_SIZE: Final = 1 + TRACKED.index("image_size")
_TYPE: Final = 1 + TRACKED.index("image_type")
_STATUS: Final = 1 + TRACKED.index("image_status")
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_PLAIN: Final = {escape: char for char, escape in _ESCAPES.items()}
_SPECIAL: Final = re.compile(r"[\\\t\n\r]")
_ESCAPE: Final = re.compile(r"\\.")


def line_of(
    image_id: str,
    tracked: Sequence[str | None],
    extra: str | None = None,
    added: str | None = None,
) -> str:
    """Return the line of an image."""
    values = (image_id, *tracked)
    first = "\t".join([NULL if value is None else _escaped(value) for value in values])
    return first + tail_of(extra, added)


def tail_of(extra: str | None, added: str | None) -> str:
    """Return what follows the first columns in the line of an image."""
    if added is not None:
        return f"\t{NULL if extra is None else _escaped(extra)}\t{_escaped(added)}"
    return "" if extra is None else f"\t{_escaped(extra)}"


def lines_of(rows: Sequence[Sequence[str | None]]) -> list[str]:
    """Return the lines of rows of id and tracked values in which nothing needs an escape."""
    try:
        return list(map("\t".join, rows))  # type: ignore[arg-type]
    except TypeError:  # some are null
        return ["\t".join([NULL if value is None else value for value in row]) for row in rows]


def image_id_of(line: str) -> str:
    """Return the id of a line's image."""
    image_id = line.partition("\t")[0]
    return _unescaped(image_id) if "\\" in image_id else image_id


def type_and_status_of(line: str) -> tuple[str | None, str | None]:
    """Return the image type and the status of a line's image."""
    values = line.split("\t", max(_TYPE, _STATUS) + 1)
    image_type, status = values[_TYPE], values[_STATUS]
    return (
        None if image_type == NULL else _unescaped(image_type),
        None if status == NULL else _unescaped(status),
    )


def image_of(line: str) -> Image:
    """Return the image of a line."""
    values = line.split("\t")
    if "\\" in line:
        values = [None if v == NULL else _unescaped(v) for v in values]  # type: ignore[misc]
    extra = values[_COLUMNS] if len(values) > _COLUMNS else None
    added = values[_ADDED] if len(values) > _ADDED else None
    return _image(line, values[0], tuple(values[1:_COLUMNS]), extra, added)


def image(
    image_id: str, tracked: Tracked, extra: str | None = None, added: str | None = None
) -> Image:
    """Return an image with its digests."""
    line = line_of(image_id, tracked, extra, added)
    return _image(line, image_id, tracked, extra, added)


def _image(
    line: str, image_id: str, tracked: Tracked, extra: str | None, added: str | None
) -> Image:
    digest = digest_of(line)
    fingerprint, rest = digest[:DIGEST_BYTES], digest[DIGEST_BYTES:]
    return Image(image_id, tracked, extra, fingerprint, rest or None, added)


def digest_of(line: str) -> bytes:
    """Return the digest of id and tracked columns, then that of ``extra`` where there is any.

    Sizes that compare equal have equal digests. Where none was added later, the digest is that of
    the first columns alone.
    """
    values = line.split("\t")
    size = values[_SIZE]
    if size != NULL:
        values[_SIZE] = _escaped(size_key(_unescaped(size)) or "")
    tracked = [*values[:_COLUMNS], *values[_ADDED:]]
    digest = sha256("\t".join(tracked).encode()).digest()[:DIGEST_BYTES]
    if len(values) == _COLUMNS or values[_COLUMNS] == NULL:
        return digest
    return digest + sha256(values[_COLUMNS].encode()).digest()[:DIGEST_BYTES]


def digests_of(lines: Iterable[str], *, plain: bool) -> list[bytes]:
    """Return the digest of each line.

    ``plain`` lines have no ``extra`` and no ``added``, and each size is what it is compared by.
    """
    if plain:
        return [sha256(line.encode()).digest()[:DIGEST_BYTES] for line in lines]
    return [digest_of(line) for line in lines]


def split(digests: bytes | None, parts: int) -> frozenset[bytes]:
    """Take joined digests apart; each is ``parts`` times ``DIGEST_BYTES`` long."""
    held, size = digests or b"", parts * DIGEST_BYTES
    return frozenset(held[n : n + size] for n in range(0, len(held), size))


@final
class Block:
    """Some images as lines, with the digest of each."""

    __slots__ = ("digests", "lines")

    def __init__(self, lines: Sequence[str] = (), digests: Sequence[bytes] = ()) -> None:
        self.lines = lines
        self.digests = digests

    @classmethod
    def of(cls, images: Iterable[Image]) -> Block:
        """Return images as lines."""
        lines = [line_of(each.image_id, each.tracked, each.extra, each.added) for each in images]
        return cls(lines, digests_of(lines, plain=False))

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Image]:
        return map(image_of, self.lines)

    def __add__(self, other: Block) -> Block:
        return Block([*self.lines, *other.lines], [*self.digests, *other.digests])

    def ids(self) -> list[str]:
        """Return the ids of the images."""
        return [image_id_of(line) for line in self.lines]

    def pick(self, numbers: Iterable[int]) -> Block:
        """Return the images at these places."""
        places = list(numbers)
        return Block([self.lines[n] for n in places], [self.digests[n] for n in places])

    def sorted(self) -> Block:
        """Return the images in the order of their ids."""
        return self.pick(sorted(range(len(self)), key=self.lines.__getitem__))

    def extras(self) -> set[str]:
        """Return what stands in ``extra``, each text once."""
        if sum(map(len, self.digests)) == DIGEST_BYTES * len(self):
            return set()
        return {
            _unescaped(line.split("\t", _ADDED)[_COLUMNS])
            for line, digest in zip(self.lines, self.digests, strict=True)
            if len(digest) > DIGEST_BYTES
        }

    def rows(self, before: str, after: str, first: int) -> Iterator[str]:
        """Yield the images as rows for COPY.

        ``before`` is the text of the columns before the id. The tracked columns are followed by
        ``extra``, ``added``, both digests, the columns of ``after`` and a number, counted from
        ``first``.
        """
        for number, (line, digest) in enumerate(zip(self.lines, self.digests, strict=True), first):
            row = line + _PADS[line.count("\t") - _COLUMNS + 1]
            hexed = digest.hex()
            if len(digest) == DIGEST_BYTES:
                yield f"{before}\t{row}\t\\\\x{hexed}\t{NULL}\t{after}\t{number}\n"
            else:
                one, other = hexed[: 2 * DIGEST_BYTES], hexed[2 * DIGEST_BYTES :]
                yield f"{before}\t{row}\t\\\\x{one}\t\\\\x{other}\t{after}\t{number}\n"


def _escaped(value: str) -> str:
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], value)


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: _PLAIN[found[0]], value) if "\\" in value else value
