"""What a transaction about one zone knows of it, and of the run."""

from __future__ import annotations

from datetime import datetime

import msgspec

from syncer.core.guard import Limits
from syncer.store.connection import Connection
from syncer.store.planning import StoredZone
from syncer.store.runs import Run


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction about one zone; without a ``run`` (a dry run) it may only read.

    ``at`` is the stamp of all that it writes, ``key_digest`` of the credentials of the run.
    ``full`` compares all that is stored, whatever its digests say.
    """

    connection: Connection
    run: Run | None
    account: str
    zone: StoredZone
    at: datetime
    guard: Limits
    key_digest: bytes | None
    full: bool
