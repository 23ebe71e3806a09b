"""The embedded server: inspected while it is at rest, then started for the other checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from syncer.config.postgres import HONOURED
from syncer.config.settings import Database
from syncer.core.errors import SyncerError
from syncer.doctor.checks import Check, Timing
from syncer.doctor.finding import Finding, failed, ok, size, skipped, warning
from syncer.doctor.machine import LITTLE_ROOM, Folder, look_at_folder
from syncer.embedded import EmbeddedPostgres, HomeRefused, inspect

ADDRESS: Final = ("SYNCER_DATABASE_URL", "SYNCER_STATE_DIR", "SYNCER_PG_BIN", *HONOURED)
"""The settings that say where the database is."""
_NO_ROOM: Final = 128 * 1024**2
"""Bytes: below this much free room PostgreSQL is about to stop."""


class EmbeddedServer:
    """The embedded server of some settings; it runs in ``tasks``, until those are cancelled."""

    def __init__(self, place: Database, tasks: TaskGroup) -> None:
        self._place = place
        self._tasks = tasks
        self._made = self._refused = False
        self._error: SyncerError | None = None
        self.dsn = ""

    def checks(self, timing: Timing) -> list[Check]:
        """Return its checks, which come before those of the database."""
        return [
            Check(
                name="embedded",
                probe=self.inspect,
                advice="set SYNCER_PG_BIN to PostgreSQL's programs, or SYNCER_DATABASE_URL to a "
                "database of yours",
                depends_on=ADDRESS,
                timeout=timing.check,
            ),
            Check(
                name="room",
                probe=self.room,
                advice="is the file system of SYNCER_STATE_DIR well?",
                depends_on=ADDRESS,
                timeout=timing.check,
            ),
        ]

    async def inspect(self) -> Sequence[Finding]:
        """Inspect what is there, without starting it."""
        try:
            found = await anyio.to_thread.run_sync(
                inspect, self._place.home, self._place.pg_bin, abandon_on_cancel=True
            )
        except HomeRefused as error:
            problem, _, advice = str(error).partition(": ")
            return [failed("embedded", problem, advice)]
        self._made = found.made
        self._refused = found.refused is not None
        seen = EmbeddedSeen(
            major=found.binaries.major,
            origin=found.binaries.origin,
            home=str(self._place.home),
            made=found.made,
            pid=found.running.pid if found.running else None,
            other_majors=found.other_majors,
            refused=found.refused,
        )
        return [judge_embedded(seen)]

    async def room(self) -> Sequence[Finding]:
        """Measure the room in its folder, or in the folder in which that will be made."""
        return [judge_room(await look_at_folder(self._place.home, nearest=True))]

    async def start(self) -> Finding | None:
        """Start or join it; where it has yet to be made, return that. Raises SyncerError.

        It runs in a task of its own: to give up a start takes longer than a check may.
        """
        if self._refused:
            return skipped("database", "not begun beside the inventory that was there")
        if not self._made:
            return skipped("database", "made by the first syncer sync")
        started = anyio.Event()
        self._tasks.start_soon(self._run, started)
        await started.wait()
        if self._error is not None:
            raise self._error
        return None

    async def _run(self, started: anyio.Event) -> None:
        try:
            async with EmbeddedPostgres(self._place.home, pg_bin=self._place.pg_bin) as postgres:
                self.dsn = postgres.dsn()
                started.set()
                await anyio.sleep_forever()
        except SyncerError as error:
            self._error = error
            started.set()


class EmbeddedSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded server: its programs, whether its data was ``made``, its pid where it runs.

    ``refused`` says why none may be made, and what to do; ``other_majors`` have data too.
    """

    major: int
    origin: str
    home: str
    made: bool
    pid: int | None
    other_majors: Sequence[int]
    refused: str | None = None


def judge_embedded(seen: EmbeddedSeen) -> Finding:
    """Judge the embedded server, as it was before the doctor used it."""
    message = f"PostgreSQL {seen.major} ({seen.origin}) under {seen.home}"
    if seen.refused:
        problem, _, advice = seen.refused.partition(": ")
        return failed("embedded", f"PostgreSQL {seen.major} ({seen.origin}): {problem}", advice)
    if seen.other_majors:
        others = " and ".join(map(str, seen.other_majors))
        return warning(
            "embedded",
            f"{message} is in use, and there is another inventory, of PostgreSQL {others}, which "
            "is not",
            f"move the folder away that is not wanted: data-{seen.major}, data-{others}",
        )
    if not seen.made:
        return ok("embedded", f"{message}: made by the first syncer sync")
    state = f"in use (pid {seen.pid})" if seen.pid else "at rest, it runs while a command uses it"
    return ok("embedded", f"{message}: {state}")


def judge_room(folder: Folder) -> Finding:
    """Judge the room that the embedded server has: PostgreSQL stops where there is none."""
    message = f"{size(folder.free)} free for the embedded server in {folder.path}"
    advice = "make room, or move it: SYNCER_STATE_DIR"
    if folder.free < _NO_ROOM:
        return failed("room", message, advice)
    if folder.free < LITTLE_ROOM:
        return warning("room", message, advice)
    return ok("room", message)
