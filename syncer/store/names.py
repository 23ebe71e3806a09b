"""Names that are stored, for completing one that is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from syncer.store.connection import Server, Timing, reading_transaction, sql
from syncer.store.reading import stored_accounts

Names = list[tuple[str, str | None]]
"""Names, and what may be said beside each."""
_IN_PLACES: Final = frozenset({"zone", "image"})


async def starting_with(
    url: str | None,
    kind: str,
    prefix: str,
    *,
    accounts: Sequence[str],
    services: Sequence[str],
    timing: Timing,
) -> Names:
    """Return the names of a kind (account, zone, image, baseline, run) that begin so.

    Zones and images are those of the accounts and services (none: all). Raises SyncerError.
    """
    async with (
        Server(url, timing=timing).reading(name="syncer completion") as connection,
        reading_transaction(connection),
    ):
        if kind == "account":
            stored = await stored_accounts(connection)
            return [(name, None) for name in stored if name.startswith(prefix)]
        place = [list(accounts) or None, list(services) or None] if kind in _IN_PLACES else []
        rows = await connection.fetch(sql(f"complete/{kind}"), prefix, *place)
    return [(row["name"], row["text"]) for row in rows]
