"""The embedded PostgreSQL: find its programs, share one server among processes, stop it at the end.

::

    async with EmbeddedPostgres(state_dir / "pg") as pg:
        pool = await asyncpg.create_pool(pg.dsn())

=============  ====================================================================
``server``     who starts and stops the server, and the locks that decide it
``cluster``    one data directory: make it, start its server, find that, stop it
``home``       the folder of all that: ours alone, or not used
``user``       root cannot run PostgreSQL: which user runs it instead
``programs``   PostgreSQL's programs, copied where that user cannot reach them
``binaries``   where those programs are found
``majors``     which data directories there are, and when none may be begun
``moving``     taking an inventory into another major, or away
``dump``       a backup by pg_dump
=============  ====================================================================

Linux only: it needs ``flock`` and ``/proc``.
"""

from __future__ import annotations

from syncer.embedded.binaries import Binaries, find_binaries
from syncer.embedded.home import HomeRefused
from syncer.embedded.inspection import Inspection, inspect, running_url
from syncer.embedded.server import EmbeddedPostgres
from syncer.embedded.timing import Timing

__all__ = [
    "Binaries",
    "EmbeddedPostgres",
    "HomeRefused",
    "Inspection",
    "Timing",
    "find_binaries",
    "inspect",
    "running_url",
]
