"""Deleting what is older than is to be kept, in short transactions that harm no run beside them.

Age is counted from the last look that read a zone, not from now: where syncer was switched off, or
a zone is gone or fails, nothing grows old. Every answer about the kept time stays what it was, to
the microsecond; before it everything is unknown, never absent (``retention.kept_from``, set before
anything is deleted). Only rows that no run reads or writes are touched, so no lock of a run is
needed; what was begun may be ended at any time, and is finished by the next prune.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from syncer.core.errors import ConfigError, LockHeld, TransactionFailed
from syncer.store.connection import Server, in_time, limit_lock_waits, sql
from syncer.store.lock import hold_prune
from syncer.store.reading import stored_accounts

THIN_AFTER: Final = timedelta(days=30)
"""Age from which scans are thinned: until then each is there for those who watch the crawling."""
BATCH: Final = 5000
"""Rows that one transaction looks at: its locks are held for tenths of a second."""
Cursor = tuple[object, ...]
_CLOCK_BEHIND: Final = timedelta(minutes=1)
"""What is stored may be dated as much later than the clock, and is pruned all the same."""
_START: Final[Cursor] = ("", datetime.fromtimestamp(0, UTC))
"""Before every version: no id is empty."""
_log = structlog.get_logger()


class Pruned(msgspec.Struct, kw_only=True):
    """How many rows were deleted, or would be; ``stopped`` before all were looked at."""

    versions: int = 0
    scans: int = 0
    thinned: int = 0
    runs: int = 0
    stopped: bool = False

    def __add__(self, other: Pruned) -> Pruned:
        """Return both together."""
        return Pruned(
            versions=self.versions + other.versions,
            scans=self.scans + other.scans,
            thinned=self.thinned + other.thinned,
            runs=self.runs + other.runs,
            stopped=self.stopped or other.stopped,
        )


async def prune(
    server: Server,
    *,
    keep: timedelta,
    account: str | None = None,
    must_be_stored: bool = True,
    thin_after: timedelta = THIN_AFTER,
    dry_run: bool = False,
    vacuum: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    batch: int = BATCH,
) -> Pruned:
    """Delete what is older than ``keep``, of one account or (None) of all.

    That nothing is stored of the account is an error if it ``must_be_stored``.
    Stretches of scans that found nothing new are thinned where they are older than ``thin_after``.
    ``dry_run`` counts and writes nothing. ``vacuum`` is for a database without autovacuum (only
    its owner may). ``stopped`` is asked between transactions of at most ``batch`` rows. Raises
    LockHeld where another prune of the account is at work, ConfigError, DatabaseError.
    """
    pruned = Pruned()
    async with server.session(name="syncer prune") as connection:
        task = partial(
            _AccountPrune,
            server=server,
            connection=connection,
            batch=batch,
            dry_run=dry_run,
            stopped=stopped,
            pruned=pruned,
        )
        with in_time(server.where, server.timing.prune):
            names = await _accounts(connection, account, must_be_stored=must_be_stored)
        for name in names:
            await task(account=name).work(keep, thin_after)
            if pruned.stopped:
                return pruned
        if vacuum and not dry_run and any(msgspec.structs.astuple(pruned)):
            with in_time(server.where, server.timing.vacuum):
                await connection.execute(sql("prune/vacuum"))
    return pruned


async def _accounts(
    connection: asyncpg.Connection[Any], account: str | None, *, must_be_stored: bool
) -> list[str]:
    known = await stored_accounts(connection)
    if account is None or not known:
        return known
    if account in known:
        return [account]
    if not must_be_stored:
        return []
    raise ConfigError(f"nothing is stored of account {account!r}: known are {', '.join(known)}")


class _AccountPrune(msgspec.Struct, frozen=True, kw_only=True):
    """Prunes one account; the rows that are deleted are added to ``pruned``."""

    server: Server
    connection: asyncpg.Connection[Any]
    account: str
    batch: int
    dry_run: bool
    stopped: Callable[[], bool]
    pruned: Pruned

    def _limit(self) -> AbstractContextManager[None]:
        return in_time(self.server.where, self.server.timing.prune)

    async def work(self, keep: timedelta, thin_after: timedelta) -> None:
        """Do all steps; each leaves every answer about the kept time as it was. Raises LockHeld."""
        began = time.monotonic()
        account, before = self.account, msgspec.structs.asdict(self.pruned)
        if not self.dry_run:
            with self._limit():
                await self._hold()
        with self._limit():
            bounds = await self.connection.fetchrow(sql("prune/bounds"), account, keep, thin_after)
            assert bounds is not None  # noqa: S101  (an account is known by its runs)
            newest, old_before, thin_to = bounds
            rows = await self.connection.fetch(sql("prune/zones"), account, keep)
            keys, kept_from, first_runs = ([row[n] for row in rows] for n in range(3))
            if not self.dry_run:
                await self.connection.execute(sql("prune/mark"), keys, kept_from)
                if oldest := [kept for kept in kept_from if kept is not None]:
                    await self.connection.execute(sql("prune/feed"), account, max(oldest))
        pruned = self.pruned
        for key, kept, first_run, _ in rows:
            if kept is not None:
                pruned.versions += await self._sweep("prune/versions", key, kept, after=_START)
                pruned.scans += await self._sweep("prune/scans", key, first_run)
        zones = (keys, kept_from, first_runs)
        pruned.runs += await self._sweep("prune/runs", account, old_before, newest, *zones)
        # Last, so that a dry run counts the same runs: their scans are still there.
        for key, _, first_run, thinned_to in rows:
            cursor = (max(thinned_to, first_run - 1),)
            pruned.thinned += await self._sweep("prune/thin", key, thin_to, after=cursor)
        after = msgspec.structs.asdict(pruned)
        _log.info(
            "history.pruned",
            account=account,
            dry_run=self.dry_run,
            stopped=after.pop("stopped"),
            seconds=round(time.monotonic() - began, 3),
            **{name: count - before[name] for name, count in after.items()},
        )

    async def _hold(self) -> None:
        """Be the only prune of the account for as long as the session lasts.

        Raises LockHeld, or TransactionFailed while what is stored is dated in the future: nothing
        that was just seen may count as old.
        """
        async with self.connection.transaction():
            await limit_lock_waits(self.connection, self.server.timing)
            behind = await self.connection.fetchval(sql("prune/clock_behind"), self.account)
            if behind is not None and behind > _CLOCK_BEHIND:
                raise TransactionFailed(
                    f"the clock of the database at {self.server.where} is "
                    f"{behind.total_seconds():.0f} s behind what is stored of account "
                    f"{self.account!r}: set it right, or, if it is right now, see "
                    "'syncer db repair-clock'"
                )
            if not await hold_prune(self.connection, self.account):
                raise LockHeld(
                    f"another prune of account {self.account!r} is at work; try again later"
                )

    async def _sweep(
        self, statement: str, what: object, bound: object, *more: object, after: Cursor = (0,)
    ) -> int:
        """Do a statement batch by batch, each in a transaction; return how many rows it deleted."""
        rows = 0
        while not self.pruned.stopped:
            if self.stopped():
                self.pruned.stopped = True
                break
            with self._limit():
                async with self.connection.transaction():
                    await limit_lock_waits(self.connection, self.server.timing)
                    row = await self.connection.fetchrow(
                        sql(statement), what, bound, self.batch, self.dry_run, *after, *more
                    )
            assert row is not None  # noqa: S101  (each returns its count and where to go on)
            rows += row[0]
            after = tuple(row)[1:]
            if after[0] is None:
                break
        return rows
