"""The embedded server: looked at as it lies, then used while the doctor looks into it."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from syncer.config.settings import Database
from syncer.core.errors import SyncerError
from syncer.doctor import judge_machine as machine
from syncer.doctor.checks import Check
from syncer.doctor.finding import Finding, skipped
from syncer.doctor.machine import folder
from syncer.embedded import EmbeddedPostgres, inspect


class Embedded:
    """The embedded server of some settings. ``keepers`` are the tasks that end when all is told."""

    def __init__(self, place: Database, keepers: TaskGroup) -> None:
        self._place = place
        self._keepers = keepers
        self._made = False
        self._fault: SyncerError | None = None
        self.dsn = ""

    def checks(self, doubt: str | None) -> list[Check]:
        """Return its checks, which come before any look into the database."""
        return [
            Check(
                name="embedded",
                look=self.state,
                advice="set SYNCER_PG_BIN to PostgreSQL's programs, or SYNCER_DATABASE_URL to a "
                "database of yours",
                doubt=doubt,
            ),
            Check(
                name="room",
                look=self.room,
                advice="is the file system of SYNCER_STATE_DIR well?",
                doubt=doubt,
            ),
        ]

    async def state(self) -> Sequence[Finding]:
        """See what is there, without starting it."""
        found = await anyio.to_thread.run_sync(
            inspect, self._place.home, self._place.pg_bin, abandon_on_cancel=True
        )
        self._made = found.made
        seen = machine.EmbeddedSeen(
            major=found.binaries.major,
            origin=found.binaries.origin,
            home=str(self._place.home),
            made=found.made,
            pid=found.running.pid if found.running else None,
            other_majors=found.other_majors,
        )
        return [machine.embedded(seen)]

    async def room(self) -> Sequence[Finding]:
        """See how much room its folder has, or the folder in which it will be made."""
        return [machine.room(await folder(self._place.home, nearest=True))]

    async def start(self) -> Finding | None:
        """Start or join it, unless it has yet to be made; then return that. Raises as that does.

        A task of its own keeps it: to give up a start takes longer than a check may.
        """
        if not self._made:
            return skipped("database", "made by the first syncer sync")
        ready = anyio.Event()
        self._keepers.start_soon(self._keep, ready)
        await ready.wait()
        if self._fault is not None:
            raise self._fault
        return None

    async def _keep(self, ready: anyio.Event) -> None:
        try:
            async with EmbeddedPostgres(self._place.home, pg_bin=self._place.pg_bin) as postgres:
                self.dsn = postgres.dsn()
                ready.set()
                await anyio.sleep_forever()
        except SyncerError as error:
            self._fault = error
            ready.set()
