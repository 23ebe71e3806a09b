"""What a run comes to: its counts, its status, its exit code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from syncer.core.diff import Tally
from syncer.core.model import STOPPED, Fault, ZoneRef
from syncer.store.planning import StoredZone
from syncer.store.results import Removed, Written
from syncer.sync.report import Report
from tests.support import looked

FAULT = Fault(code="NOT_TODAY", message="the API refused the request: NOT_TODAY")
SIGNAL = Fault(code=STOPPED, message="the run was asked to stop (SIGTERM)")
TIMEOUT = Fault(code="RUN_TIMEOUT", message="the run's time of 1 s was over")


def zone(name: str, *, withheld: int = 0) -> StoredZone:
    return StoredZone(
        key=1,
        ref=ZoneRef("vm", name),
        name=None,
        attributes="{}",
        gone=False,
        present=20,
        withheld=withheld,
        last_complete_at=None,
    )


def written(name: str, status: str, **fields: Any) -> Written:
    return Written(zone=zone(name), status=status, **fields)


def concluded(
    *zones: Written,
    removals: tuple[Removed, ...] = (),
    fault: Fault | None = None,
    stopped: Fault | None = None,
) -> Report:
    report = Report(account="default", run_id=1, fault=fault)
    report.zones.extend(zones)
    report.removals.extend(removals)
    report.conclude(calls=3, retries=1, stopped=stopped, seconds=1.5)
    return report


READ = written("A", "unchanged", images=20)
UNREAD = written("B", "failed", fault=FAULT)
CASES = {
    "all read": (concluded(READ), "succeeded", 0),
    "nothing to read": (concluded(), "succeeded", 0),
    "one zone failed": (concluded(READ, UNREAD), "partial", 3),
    "no zone was read": (concluded(UNREAD), "failed", 1),
    "no list of zones": (concluded(fault=FAULT), "failed", 1),
    "a zone was read in part": (
        concluded(written("A", "incomplete", images=7, fault=FAULT)),
        "partial",
        3,
    ),
    "a zone is gone": (concluded(READ, written("B", "gone", fault=FAULT)), "succeeded", 0),
    "an answer by id failed": (
        concluded(READ, removals=(Removed(zone=zone("A"), unanswered=2, fault=FAULT),)),
        "partial",
        3,
    ),
    "asked to stop at once": (concluded(stopped=SIGNAL), "partial", 3),
    "out of time at once": (concluded(stopped=TIMEOUT), "failed", 1),
    "out of time": (concluded(READ, stopped=TIMEOUT), "partial", 3),
    "withheld": (
        concluded(READ, removals=(Removed(zone=zone("A"), withheld=("img-1", "img-2")),)),
        "succeeded",
        4,
    ),
    "withheld in a zone that is gone": (
        concluded(Written(zone=zone("A", withheld=3), status="gone")),
        "succeeded",
        4,
    ),
    "withheld in a zone that went when it was asked by id": (
        concluded(
            written("A", "unchanged", images=18),
            removals=(Removed(zone=zone("A", withheld=2), zone_gone=True),),
        ),
        "succeeded",
        4,
    ),
    "withheld, and one zone failed": (
        concluded(READ, UNREAD, removals=(Removed(zone=zone("A"), withheld=("img-1",)),)),
        "partial",
        3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_exit_code_says_what_the_run_came_to(case: str) -> None:
    """0 all done, 1 nothing read, 3 not all done, 4 all done but removals are withheld."""
    report, status, exit_code = CASES[case]
    assert (status, exit_code) == (report.status, report.exit_code)


def test_a_refusal_fails_the_run_whatever_was_read() -> None:
    """The fault of a run that was ended stays, and is not judged by what its zones came to."""
    report = Report(account="default", run_id=1)
    report.zones.append(READ)
    report.fail(FAULT, refused=True)
    report.conclude(calls=1, retries=0, stopped=SIGNAL, seconds=1.0)
    assert ("failed", 1, FAULT) == (report.status, report.exit_code, report.fault)
    assert report.refused


def test_a_run_that_was_stopped_says_what_was_read() -> None:
    """Also where zones were not even begun: the reason is all that its row keeps of them."""
    report = Report(account="default", run_id=1, planned=12)
    report.zones += [READ, UNREAD]
    report.conclude(calls=1, retries=0, stopped=SIGNAL, seconds=1.0)
    stopped = Report(account="default", run_id=1, planned=12)
    stopped.zones += [READ, msgspec.structs.replace(UNREAD, fault=SIGNAL)]
    stopped.conclude(calls=1, retries=0, stopped=SIGNAL, seconds=1.0)
    assert stopped.fault is not None
    said = "the run was asked to stop (SIGTERM); 1 of 12 zones were read"
    assert (said, FAULT) == (stopped.fault.message, report.fault), "a fault of its own stays"


def test_one_zone_is_one_zone() -> None:
    """Not "1 zones"."""
    assert ("1 zone", "1 of 2 zones") == (
        concluded(READ).zones_read,
        concluded(READ, UNREAD).zones_read,
    )


def test_a_run_that_has_not_ended_is_no_success() -> None:
    """Whoever reads the exit code of a report that was never concluded sees a failure."""
    assert 1 == Report(account="default", run_id=1).exit_code


def test_zones_count_by_what_became_of_them_in_the_end() -> None:
    """A zone whose removals were settled afterwards is changed, guarded or gone, not unchanged."""
    report = concluded(
        written("A", "unchanged", images=20, pages=2),
        written("B", "unchanged", images=20, pages=1, rereads=1),
        written("C", "changed", images=9, tally=Tally(appeared=2, changed=3, returned=1)),
        written("D", "unchanged", images=5),
        written("E", "incomplete", images=4, rejected=2, fault=FAULT),
        removals=(
            Removed(zone=zone("A"), removed=("img-1", "img-2")),
            Removed(zone=zone("B"), withheld=("img-3",)),
            Removed(zone=zone("D"), zone_gone=True),
            Removed(zone=zone("C"), tally=Tally(returned=1)),
        ),
    )
    counts = report.wide()
    names = ("unchanged", "changed", "guarded", "gone", "incomplete", "failed")
    assert [0, 2, 1, 1, 1, 0] == [counts[f"zones_{name}"] for name in names]
    kinds = ("appeared", "changed", "removed", "returned", "withheld", "rejected", "rereads")
    assert [2, 3, 2, 2, 1, 2, 1] == [counts[kind] for kind in kinds]
    assert (5, 58, 3) == (counts["zones"], counts["images"], counts["pages"])
    assert (3, 1, 1.5) == (counts["calls"], counts["retries"], counts["seconds"])
    assert ("NOT_TODAY", FAULT.message) == (counts["error_code"], counts["error_message"])


@pytest.mark.parametrize(
    ("lost", "known", "many"),
    [
        (2, 2, False),  # not more than two
        (3, 3, True),
        (3, 12, False),  # exactly 25 %
        (3, 11, True),
        (13, 52, False),
        (14, 52, True),
    ],
)
def test_many_zones_that_are_lost_are_not_all_done(lost: int, known: int, many: bool) -> None:
    """More than two and more than a quarter of those known: one by its look, the rest by id."""
    zones = [zone(f"Z{number}") for number in range(known)]
    report = Report(account="default", run_id=1, known={each.ref for each in zones})
    report.add(looked("Z0"), Written(zone=zones[0], status="gone"))
    for each in zones[1:lost]:
        report.add(looked(each.ref.zone_id), Written(zone=each, status="unchanged", images=1))
        report.settle(Removed(zone=each, zone_gone=True))
    for other in (zone("NEW"), msgspec.structs.replace(zone(f"Z{known - 1}"), listed=False)):
        report.add(looked(other.ref.zone_id), Written(zone=other, status="gone"))
    report.conclude(calls=1, retries=0, stopped=None, seconds=1.0)
    assert lost == report.counts.zones_lost
    assert (3 if many else 0) == report.exit_code
