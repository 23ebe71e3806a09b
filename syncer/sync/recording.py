"""Recording what was read: a transaction that fails costs its own zone, and the others go on.

Where the database itself is at fault (it is away, full, read-only) the first failure ends the run;
so does one that is followed by others without a success between them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from syncer.core.errors import ServerUnable, StatementRefused, TransactionFailed
from syncer.core.model import Failed, Fault, Looked, ZoneRef
from syncer.core.paging import Unchanged
from syncer.secrets import redacted
from syncer.store.results import Outcome, Removed, Written
from syncer.store.transaction import Transaction
from syncer.store.writer import Writer
from syncer.sync.report import Report

_MOST_IN_A_ROW: Final = 3
"""As many zones in a row are no chance: something is wrong with more than these zones."""
_LONGEST: Final = 500
"""Characters of a message that are stored."""


class Recorder:
    """Writes for one run, and notes in its report which transactions failed."""

    def __init__(self, writer: Writer, report: Report) -> None:
        self._writer = writer
        self._report = report
        self._in_a_row = 0

    async def record(self, outcome: Outcome) -> Written:
        """Record what came of reading a zone. Raises DatabaseError as said above."""
        try:
            written = await self._writer.record(outcome)
        except (TransactionFailed, StatementRefused) as error:
            fault = self._fault_of(error)
            if isinstance(error, StatementRefused) and not isinstance(outcome, Failed):
                return await self._record_failed(outcome.looked, fault)
            return self._failed(outcome.looked, fault)
        self._in_a_row = 0
        return written

    async def record_unchanged(self, outcomes: Sequence[Unchanged]) -> list[Written]:
        """Record whole looks that read what is stored: together, or else each alone."""
        try:
            written = await self._writer.record_unchanged(outcomes)
        except (TransactionFailed, StatementRefused) as error:
            if len(outcomes) > 1 and not isinstance(error, ServerUnable):
                return [one for each in outcomes for one in await self.record_unchanged([each])]
            return [self._failed(outcomes[0].looked, self._fault_of(error))]
        self._in_a_row = 0
        return written

    async def settle(
        self, zone: ZoneRef, write: Callable[[Transaction], Awaitable[Removed]], candidates: int
    ) -> Removed:
        """Write what came of a zone's candidates for removal; else all of them wait."""
        try:
            removed = await self._writer.commit(zone, write, amends=True)
        except (TransactionFailed, StatementRefused) as error:
            fault = self._fault_of(error)
            return Removed(zone=self._writer.zone(zone), unanswered=candidates, fault=fault)
        self._in_a_row = 0
        return removed

    async def _record_failed(self, looked: Looked, fault: Fault) -> Written:
        """Record at least that the zone failed."""
        try:
            return await self._writer.record(Failed(looked=looked, fault=fault))
        except (TransactionFailed, StatementRefused):
            return self._failed(looked, fault)

    def _failed(self, looked: Looked, fault: Fault) -> Written:
        zone = self._writer.zone(looked.zone)
        return Written(
            zone=zone, status="failed", pages=looked.pages, rereads=looked.rereads, fault=fault
        )

    def _fault_of(self, error: TransactionFailed | StatementRefused) -> Fault:
        """Return the fault of one zone, or raise where it is one of more than that."""
        self._in_a_row += 1
        if isinstance(error, ServerUnable) or self._in_a_row >= _MOST_IN_A_ROW:
            raise error
        fault = Fault(code="TRANSACTION_FAILED", message=redacted(str(error))[:_LONGEST])
        self._report.refused_write = self._report.refused_write or fault
        return fault
