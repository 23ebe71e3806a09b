"""The embedded PostgreSQL: find binaries, start one server for all who want it, stop it after them.

    async with EmbeddedPostgres(state_dir / "pg") as pg:
        pool = await asyncpg.create_pool(pg.dsn())

Read ``server`` for who starts and stops, ``cluster`` for how, ``launcher`` for which user it runs
as, ``binaries`` for where the programs come from. Linux only: it needs ``flock`` and ``/proc``.
"""

from __future__ import annotations

from syncer.embedded.binaries import Binaries, find_binaries
from syncer.embedded.inspection import Inspection, inspect
from syncer.embedded.server import EmbeddedPostgres

__all__ = ["Binaries", "EmbeddedPostgres", "Inspection", "find_binaries", "inspect"]
