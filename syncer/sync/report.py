"""What came of a run: its counts, status and exit code, and its fields in the log."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from syncer.core.diff import Tally
from syncer.core.errors import ApiError
from syncer.core.hints import number
from syncer.core.model import STOPPED, Fault, Looked, ZoneRef
from syncer.store.planning import StoredZone
from syncer.store.results import Removed, Written
from syncer.store.runs import Counts

MANY_LOST: Final = 2
"""As many zones may be lost at once without more ado."""
MANY_LOST_PERCENT: Final = 25
"""And as many percent of those known."""


class Report(msgspec.Struct, kw_only=True):
    """What came of a run. ``status`` is as in ``runs``; ``fault`` is why it is not all done."""

    account: str
    run_id: int | None
    status: str = "running"
    counts: Counts = msgspec.field(default_factory=Counts)
    fault: Fault | None = None
    refused: bool = False
    """The API refused us: the next run would be refused too."""
    zones: list[Written] = msgspec.field(default_factory=list)
    planned: int = 0
    """How many zones were to be read."""
    stopped: Fault | None = None
    """Why the run was cut short."""
    known: set[ZoneRef] = msgspec.field(default_factory=set)
    """Zones that were known before the run and not gone."""
    refused_write: Fault | None = None
    """Why a transaction about a zone failed: what was read of that zone is not stored."""
    unmatched: tuple[str, ...] | None = None
    """Globs of the selection that match no zone (None: not known, as not all zones were listed)."""
    still_gone: tuple[str, ...] = ()
    """Ids of the selected zones, where all of them were gone before: then nothing was done."""
    unlisted: int = 0
    """Zones that are not listed and answered with images."""
    lost: list[ZoneRef] = msgspec.field(default_factory=list)
    """Zones that were listed before the run, and are gone now or not listed."""
    latched: int = 0
    """Removals that are still withheld in zones that are gone: their latch is closed too."""
    removals: list[Removed] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    clock_behind: float = 0.0
    """Seconds by which the database's clock was behind the newest stamp when the run began."""

    @property
    def exit_code(self) -> int:
        """Return the documented exit code of the run."""
        if self.status in {"failed", "running"}:
            return 1
        if self.status == "partial":
            return 3
        return 4 if self.counts.withheld or self.latched else 0

    @property
    def unread(self) -> int:
        """How many zones were to be read and were not begun."""
        return max(0, self.planned - len(self.zones))

    @property
    def zones_read(self) -> str:
        """How many zones were read whole, of how many: ``60 zones``, ``2 of 12 zones``."""
        counts = self.counts
        planned = counts.zones + self.unread
        read = counts.zones - counts.zones_failed - counts.zones_incomplete
        zones = number(planned, "zone")
        return zones if read == planned else f"{read:,} of {zones}"

    def add(self, looked: Looked, written: Written) -> None:
        """Add what became of a zone."""
        self.zones.append(written)
        gone = written.status == "gone"
        self.unlisted += looked.once_more and not gone and written.status != "failed"
        if gone or looked.once_more:
            self._lose(written.zone)

    def settle(self, removed: Removed) -> None:
        """Add what became of a zone's candidates for removal."""
        self.removals.append(removed)
        if removed.zone_gone:
            self._lose(removed.zone)

    def _lose(self, zone: StoredZone) -> None:
        if zone.listed and zone.ref in self.known and zone.ref not in self.lost:
            self.lost.append(zone.ref)

    @property
    def lost_many(self) -> Fault | None:
        """Why the run is not all done though every zone was asked, where many are lost at once."""
        lost, known = len(self.lost), len(self.known)
        if lost <= MANY_LOST or lost * 100 <= MANY_LOST_PERCENT * known:
            return None
        return Fault(
            code="ZONES_LOST",
            message=f"{lost} of {known} known zones are gone or no longer listed: check what "
            "the credentials may see (said once; the next run goes on with what is left)",
        )

    def fail(self, fault: Fault, *, refused: bool = False) -> None:
        """Note that the run was ended by a fault."""
        self.fault = fault
        self.refused = refused
        self.status = "failed"

    def conclude(self, *, calls: int, retries: int, stopped: Fault | None, seconds: float) -> None:
        """Count what was done and set the status; ``stopped`` is why the run was cut short."""
        self.seconds = seconds
        self.stopped = stopped
        self.counts = Counts(
            calls=calls, retries=retries, zones_unlisted=self.unlisted, zones_lost=len(self.lost)
        )
        statuses = self._count_zones() | self._count_removals()
        for status in statuses.values():
            name = f"zones_{status}"
            setattr(self.counts, name, getattr(self.counts, name) + 1)
        if self.status == "running":
            self.fault = (
                self.refused_write or self.fault or self._first_fault() or stopped or self.lost_many
            )
            self.status = self._status(stopped)
            if stopped is not None and self.fault is not None and self.fault.code == stopped.code:
                message = f"{self.fault.message}; {self.zones_read} were read"
                self.fault = msgspec.structs.replace(self.fault, message=message)

    def _count_zones(self) -> dict[ZoneRef, str]:
        """Count what was read; return the status of each zone."""
        counts = self.counts
        for written in self.zones:
            counts.zones += 1
            counts.pages += written.pages
            counts.images += written.images
            counts.rereads += written.rereads
            counts.rejected += written.rejected
            counts.appeared += written.tally.appeared
            counts.changed += written.tally.changed
            counts.returned += written.tally.returned
            if written.status == "gone":
                self.latched += written.zone.withheld
        return {written.zone.ref: written.status for written in self.zones}

    def _count_removals(self) -> dict[ZoneRef, str]:
        """Count what was removed and withheld; return the status of each zone that it changes."""
        counts, statuses = self.counts, dict[ZoneRef, str]()
        asked = {one.zone.ref for one in self.removals if one.rule is None and not one.zone_gone}
        withheld = {  # where some were asked for, the answers say what is left of those before
            (one.zone.ref, i)
            for one in self.zones
            for i in (one.newly if one.zone.ref in asked else one.withheld)
        }
        withheld |= {(one.zone.ref, i) for one in self.removals for i in one.withheld}
        counts.withheld = len(withheld)
        guarded = {ref for ref, _ in withheld}
        for removal in self.removals:
            counts.changed += removal.tally.changed
            counts.returned += removal.tally.returned
            counts.removed += len(removal.removed)
            if removal.zone_gone:
                self.latched += removal.zone.withheld
                statuses[removal.zone.ref] = "gone"
            elif removal.zone.ref in guarded:
                statuses[removal.zone.ref] = "guarded"
            elif removal.removed or removal.tally != Tally():
                statuses[removal.zone.ref] = "changed"
        return statuses

    def _status(self, stopped: Fault | None) -> str:
        if self.fault is None:
            return "succeeded"
        if self.refused_write is not None:
            return "failed"
        counts = self.counts
        read = counts.zones_unchanged + counts.zones_changed + counts.zones_guarded
        nothing = not read and not counts.images
        asked_to_stop = stopped is not None and stopped.code == STOPPED
        return "failed" if nothing and not asked_to_stop else "partial"

    def _first_fault(self) -> Fault | None:
        """Return why the run is not all done; a zone that is gone is no failure."""
        faults = [w.fault for w in self.zones if w.undone]
        faults += [removal.fault for removal in self.removals]
        return next((fault for fault in faults if fault is not None), None)

    def wide(self) -> dict[str, Any]:
        """Return the run as one flat record, as it is logged and printed."""
        return {
            "account": self.account,
            "run_id": self.run_id,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            **msgspec.structs.asdict(self.counts),
            **fault_fields(self.fault),
        }


def fault_of(error: ApiError) -> Fault:
    """Return an error of the API as it is stored and shown."""
    return Fault(code=error.code, message=error.message, request_id=error.request_id)


def fault_fields(fault: Fault | None) -> dict[str, Any]:
    """Return a fault as the fields of a log line."""
    if fault is None:
        return {}
    return {
        "error_code": fault.code,
        "error_message": fault.message,
        "request_id": fault.request_id,
    }


def zone_fields(written: Written) -> dict[str, Any]:
    """Return a zone as one flat record, as it is logged."""
    return {
        "service": written.zone.ref.service,
        "zone": written.zone.ref.zone_id,
        "status": written.status,
        "images": written.images,
        "pages": written.pages,
        "appeared": written.tally.appeared,
        "changed": written.tally.changed,
        "returned": written.tally.returned,
        "rejected": written.rejected,
        "rereads": written.rereads,
        **fault_fields(written.fault),
    }
