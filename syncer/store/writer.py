"""The transactions of a run: each done whole or not at all, and again where the database goes away.

What they write of a zone stands in ``zone``: functions that take a transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import anyio
import asyncpg
import structlog

from syncer.core.errors import ConfigError, DatabaseError
from syncer.core.guard import Judged, Kind, Limits, Verdict
from syncer.core.known import KeptRows
from syncer.core.model import ListedZone, ZoneRef
from syncer.core.normalise import same_json
from syncer.core.paging import Snapshot, Unchanged
from syncer.store import keys, looks, missing, planning, results, tables
from syncer.store.clock import Timeline
from syncer.store.connection import Connection, Server, acquired
from syncer.store.planning import StoredZone
from syncer.store.results import Written
from syncer.store.runs import Run, Step
from syncer.store.transaction import Transaction
from syncer.store.zone import record_look

T = TypeVar("T")
_log = structlog.get_logger()


class Writer:
    """Writes for one run; without a run (``--dry-run``) it reads and plans, and writes nothing.

    ``full`` compares all that is stored, whatever its digests say.
    """

    def __init__(
        self,
        server: Server,
        pool: asyncpg.Pool[Any],
        run: Run | None,
        account: str,
        *,
        timeline: Timeline,
        guard: Limits,
        parsers: Mapping[str, int],
        access_key_id: str | None = None,
        full: bool = False,
    ) -> None:
        self._server = server
        self._pool = pool
        self._run = run
        self._account = account
        self._timeline = timeline
        self._guard = guard
        self._parsers = parsers
        self._access_key_id = access_key_id
        self.key_digest: bytes | None = None
        """Of the credentials, where they are a key (None: not known)."""
        self._full = full
        self._new_to = 0  # zones that were read with another key, where it is to be said
        self._zones: dict[ZoneRef, StoredZone] = {}
        # What is stored of a large zone is held in digests while it is compared: one at a time.
        self._large = anyio.Lock()

    async def read_zones(self) -> Mapping[ZoneRef, StoredZone]:
        """Read which zones are known, and whether these credentials read them before."""

        async def read(connection: Connection) -> None:
            self._zones = await self._known(connection)
            if (key_id := self._access_key_id) is not None:
                write = self._run is not None
                self.key_digest = await keys.digest(connection, key_id=key_id, write=write)

        await self._do(read)
        zones = self._zones.values()
        self._new_to = planning.read_with_another_key(zones, self.key_digest)
        return self._zones

    async def _known(self, connection: Connection) -> dict[ZoneRef, StoredZone]:
        run_id = None if self._run is None else self._run.run_id
        return await planning.known_zones(connection, self._account, self._parsers, run_id=run_id)

    def _say_that_key_changed(self) -> None:
        """Say it at the first whole look: the next run takes it for said."""
        zones, self._new_to = self._new_to, 0
        if zones:
            _log.warning(
                "credentials.changed",
                account=self._account,
                zones=zones,
                advice="images that they do not list are removed after a second look only",
            )

    def zone(self, ref: ZoneRef) -> StoredZone:
        """Return a zone as it is stored."""
        return self._zones[ref]

    async def stored_ids(self, ref: ZoneRef) -> frozenset[str]:
        """Return the ids of a zone's images that are stored as present."""
        return await self._do(partial(planning.stored_ids, zone=self._zones[ref]))

    async def kept_rows(self, ref: ZoneRef) -> KeptRows | None:
        """Return what is kept of the rows of a zone's last whole look."""
        zone = self._zones[ref]
        if zone.before is None:
            return None
        return await self._do(partial(looks.kept_rows, zone_key=zone.key, before=zone.before))

    async def describe_zones(
        self, listed: Sequence[ListedZone], *, reading: Collection[ZoneRef] = ()
    ) -> dict[ZoneRef, StoredZone]:
        """Store zones that are new or described anew; return every zone that is known.

        Those of ``reading`` are as they were before: an approval that was given since waits
        for the next look.
        """
        changed = [
            zone
            for zone in listed
            if (old := self._zones.get(zone.ref)) is None
            or old.name != zone.name
            or not same_json(old.attributes, zone.attributes)
        ]

        async def describe(connection: Connection) -> dict[ZoneRef, StoredZone]:
            now = self._timeline.now()
            await tables.describe_zones(connection, self._account, changed, now)
            fresh = await self._known(connection)
            return fresh | {ref: self._zones[ref] for ref in reading}

        if self._run is not None and changed:
            self._zones = await self._do(describe)
        for zone in changed:
            self._zones.setdefault(zone.ref, StoredZone.unstored(zone))
        return self._zones

    async def record(self, outcome: results.Outcome) -> Written:
        """Record what came of reading a zone, with all that it changes."""
        if isinstance(outcome, Snapshot):
            self._say_that_key_changed()
        is_large = isinstance(outcome, Snapshot) and outcome.is_large
        async with self._large if is_large else nullcontext():
            return await self.commit(outcome.looked.zone, lambda tx: record_look(tx, outcome))

    async def record_unchanged(self, outcomes: Sequence[Unchanged]) -> list[Written]:
        """Record whole looks that read what is stored, in one transaction."""
        self._say_that_key_changed()
        seen = [(self._zones[o.looked.zone], o) for o in outcomes]
        if (run := self._run) is not None:
            with _naming(*(o.looked.zone for o in outcomes)):
                await run.commit(
                    self._pool,
                    partial(
                        tables.record_unchanged, run=run, seen=seen, key_digest=self.key_digest
                    ),
                    Step(seen[0][0].key, amends=False),
                )
        return [results.unchanged(self._zones[o.looked.zone], o) for o in outcomes]

    async def lost_kinds(self, judged: Sequence[Judged], kinds: Collection[Kind]) -> set[Kind]:
        """Return the kinds that have no image left in the zones that were judged."""
        if not kinds:
            return set()
        return await self._do(
            partial(
                missing.lost_kinds,
                run=self._run,
                judged=judged,
                zones=self._zones,
                kinds=list(kinds),
            )
        )

    async def record_verdict(self, verdict: Verdict) -> None:
        """Store what the guard said after the last zone: only then ids are asked for."""
        if (run := self._run) is None:
            return

        async def record(connection: Connection) -> None:
            now = self._timeline.now()
            await missing.record_verdict(connection, run, verdict, self._zones, now)

        await run.commit(self._pool, record)

    async def commit(
        self, ref: ZoneRef, write: Callable[[Transaction], Awaitable[T]], *, amends: bool = False
    ) -> T:
        """Write something of a zone in one transaction; ``amends``: after its look was recorded."""
        zone = self._zones[ref]
        with _naming(ref):
            return await self._do(
                lambda connection: write(
                    Transaction(
                        connection=connection,
                        run=self._run,
                        account=self._account,
                        zone=zone,
                        guard=self._guard,
                        key_digest=self.key_digest,
                        at=self._timeline.now(),
                        full=self._full,
                    )
                ),
                Step(zone.key, amends),
            )

    async def _do(self, work: Callable[[Connection], Awaitable[T]], step: Step | None = None) -> T:
        """Do the work of one transaction; without a run it only reads."""
        if self._run is not None:
            return await self._run.commit(self._pool, work, step)
        async with (
            acquired(self._pool, self._server) as connection,
            connection.transaction(readonly=True),
        ):
            return await work(connection)


@contextlib.contextmanager
def _naming(first: ZoneRef, *more: ZoneRef) -> Iterator[None]:
    """Let an error of the database say which zones its transaction was about."""
    try:
        yield
    except (DatabaseError, ConfigError) as error:
        others = f" and {len(more)} more" if more else ""
        message = f"{first.service}/{first.zone_id}{others}: {error}"
        raise type(error)(message) from error.__cause__
