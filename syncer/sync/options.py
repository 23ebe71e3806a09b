"""What a run is to do, as values: a run reads no settings."""

from __future__ import annotations

import msgspec

from syncer.core.guard import Limits
from syncer.sync.selection import Selection
from syncer.zenlayer.credentials import Access


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How a run shares its work out, and how long it waits. Times are in seconds."""

    writers: int = 2
    """Connections that write zones side by side: one waits for PostgreSQL while one compares."""
    backlog: int = 2
    """Zones that were read and wait for a writer. While there are as many, no further zone is
    begun: a slow database slows the crawl and does not fill memory."""
    batch: int = 64
    """Zones without a change that are recorded in one transaction, at most."""
    batch_wait: float = 1.0
    """How long the first of them waits for the others."""
    abort: float = 1.0
    """How long a run that is given up at once takes to record its end."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is to do, for which account, and within which limits.

    ``run_timeout`` is in seconds: after it nothing more is asked for, and what was read is stored.
    With ``dry_run`` nothing is written, and no lock is taken. ``beside``: the selection is of other
    accounts too, so that here it may match nothing.
    """

    account: str
    api: Access
    selection: Selection
    page_size: int = 1000
    run_timeout: float = 900.0
    guard: Limits = Limits()
    dry_run: bool = False
    beside: bool = False
    tuning: Tuning = Tuning()
