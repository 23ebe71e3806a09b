"""Names that are stored, for completing one that is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from syncer.core.libpq import Address
from syncer.store.connection import Server, Timing, reading_transaction, sql
from syncer.store.reading import stored_accounts

Names = list[tuple[str, str | None]]
"""Names, and what may be said beside each."""
_IN_PLACES: Final = frozenset({"zone", "image"})


async def starting_with(
    place: Address | str | None,
    kind: str,
    prefix: str,
    *,
    accounts: Sequence[str],
    services: Sequence[str],
    timing: Timing,
) -> Names:
    """Return the names of a kind (account, zone, image, baseline, run) that begin so.

    ``place`` is where the server is (None: nowhere). Zones and images are those of the accounts and
    services (none: all). Raises SyncerError.
    """
    if place is None:
        return []
    async with (
        Server(place, timing=timing).reading(name="syncer completion") as connection,
        reading_transaction(connection),
    ):
        if kind == "account":
            stored = await stored_accounts(connection)
            return [(name, None) for name in stored if name.startswith(prefix)]
        within = [list(accounts) or None, list(services) or None] if kind in _IN_PLACES else []
        rows = await connection.fetch(sql(f"complete/{kind}"), prefix, *within)
    return [(row["name"], row["text"]) for row in rows]
