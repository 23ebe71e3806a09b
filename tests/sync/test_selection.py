"""Which zones a run reads: those that are listed, and known ones that are not, once more."""

from __future__ import annotations

import pytest

from syncer.core.model import ZoneRef
from syncer.store.planning import StoredZone
from syncer.sync.selection import Selection, plan

ALL = Selection(services=("vm",))
REF = ZoneRef("vm", "FRA-A")


def zone(ref: ZoneRef = REF, *, gone: bool = False, asked: bool = False) -> StoredZone:
    return StoredZone(
        key=1,
        ref=ref,
        name=None,
        attributes="{}",
        gone=gone,
        present=20,
        withheld=0,
        last_complete_at=None,
        asked_when_gone=asked,
    )


@pytest.mark.parametrize(
    ("known", "listed", "reliable", "read"),
    [
        (None, True, True, True),
        (None, True, False, True),
        (zone(), True, True, True),
        (zone(), False, True, True),
        (zone(), False, False, True),
        (zone(gone=True, asked=True), True, True, True),
        (zone(gone=True, asked=True), False, True, False),
        (zone(gone=True, asked=True), False, False, False),
        # Marked gone by an older version, which did not ask.
        (zone(gone=True), False, True, True),
        (zone(gone=True), False, False, False),
        (zone(gone=True), True, True, True),
    ],
)
def test_a_zone_is_read_while_it_is_listed_and_until_it_is_gone(
    *, known: StoredZone | None, listed: bool, reliable: bool, read: bool
) -> None:
    """One that is gone is not asked again; no zone is gone for a list that is not reliable."""
    targets = plan(
        {REF} if listed else set(),
        {} if known is None else {REF: known},
        ALL,
        set() if reliable else {"vm"},
    )
    assert [REF] * read == [target.ref for target in targets]


def test_what_is_not_selected_is_not_read() -> None:
    """Neither a zone of another name, nor one of another service."""
    known = {
        ref: zone(ref)
        for ref in (REF, ZoneRef("vm", "FRA-B"), ZoneRef("vm", "HKG-A"), ZoneRef("zec", "FRA-A"))
    }
    selected = plan({REF}, known, Selection(services=("vm",), zones=("FRA-*",)), set())
    assert ["FRA-A", "FRA-B"] == [target.ref.zone_id for target in selected]
    assert {"vm"} == {target.ref.service for target in selected}
