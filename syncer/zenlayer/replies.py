"""From the bytes of a reply to zones or a page of images, the short way where that is safe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from syncer.core.errors import SyncError
from syncer.core.model import ListedZone
from syncer.core.page import Known, Page
from syncer.zenlayer import wire
from syncer.zenlayer.sources import Source


def read_zones(
    source: Source, *, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[list[ListedZone], int]:
    """Return the zones of a DescribeZones reply, and its rows without an id. Raises SyncError."""
    reply = wire.read(status=status, headers=headers, body=body)
    with _told(reply):
        return source.read_zones(reply.response)


def read_page(
    source: Source,
    known: Known | None,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> Page:
    """Return the page of a DescribeImages reply; ``known`` is what it once held.

    Raises SyncError. Most of a reply are its rows: set aside, they are looked at once, and only
    for their digest where they are the known ones. Whatever is amiss is decided the long way.
    """
    if apart := wire.set_aside(body, source.rows):
        rest, rows = apart
        with contextlib.suppress(SyncError):
            reply = wire.read(status=status, headers=headers, body=rest)
            if page := source.read_images_apart(reply.response, wire.MARK, rows, known):
                return page
    reply = wire.read(status=status, headers=headers, body=body)
    with _told(reply):
        return source.read_images(reply.response, known)


@contextlib.contextmanager
def _told(reply: wire.Reply) -> Iterator[None]:
    """Name the request in an error about what its reply holds."""
    try:
        yield
    except SyncError as error:
        error.request_id = error.request_id or reply.request_id
        raise
