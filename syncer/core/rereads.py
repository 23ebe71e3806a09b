"""A zone that was not read consistently is read again: while that can help, at most so often."""

from __future__ import annotations

from typing import Final

import msgspec

from syncer.core.model import Fault, Image, Incomplete, Looked
from syncer.core.page import Put
from syncer.core.paging import Look, Snapshot, Torn, Unchanged, Walk

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
