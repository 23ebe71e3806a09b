"""What a run is to do, as values: a run reads no settings."""

from __future__ import annotations

import msgspec

from syncer.core.guard import Limits
from syncer.sync.selection import Selection
from syncer.zenlayer.credentials import Access


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is to do, for which account, and within which limits.

    ``run_timeout`` is in seconds: after it nothing more is asked for, and what was read is stored.
    With ``dry_run`` nothing is written, and no lock is taken.
    """

    account: str
    api: Access
    selection: Selection
    page_size: int = 1000
    run_timeout: float = 900.0
    guard: Limits = Limits()
    dry_run: bool = False
