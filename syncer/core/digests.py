"""The digests by which bytes are known again, and which hash makes them.

Pages are hashed with BLAKE3 where it is installed (the extra ``fast``), else with SHA-256, which
takes three times as long for a page. The name of the hash is kept beside what it made: digests of
another one say nothing. Rows are hashed with SHA-256, which is the faster one for so few bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec

try:
    from blake3 import blake3
except ImportError:  # no wheel for this machine, or not asked for
    blake3 = None  # type: ignore[assignment, misc]

HASHES: Final[dict[str, Callable[[bytes | memoryview], Any]]] = {
    "sha256": sha256,
    **({} if blake3 is None else {"blake3": blake3}),
}
"""The hashes for pages that there are, by name; the fastest comes last."""
HASH: Final = [*HASHES][-1]
"""The one that is used."""

ROW_BYTES: Final = 32


def of_page(data: bytes | memoryview) -> bytes:
    """Return the digest of the bytes of a page, or of as many."""
    digest: bytes = HASHES[HASH](data).digest()
    return digest


def of_rows(rows: Iterable[msgspec.Raw]) -> list[bytes]:
    """Return the digest of each row: ``ROW_BYTES`` long, by the same hash everywhere."""
    return [sha256(row).digest() for row in rows]
