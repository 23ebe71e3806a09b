"""What the runs of several accounts come to together, and that each has a stop of its own."""

from __future__ import annotations

import anyio
import pytest

from syncer.core.errors import ConfigError, DatabaseGone, LockHeld, SyncerError
from syncer.core.model import STOPPED, Fault
from syncer.store.runs import Counts
from syncer.sync.accounts import Ended, exit_code, require_matches, run_all
from syncer.sync.report import Report
from syncer.sync.stop import Stop

STATUS = {0: "succeeded", 1: "failed", 3: "partial", 4: "succeeded"}


def ended(code: int, *, zones: int = 1, unmatched: tuple[str, ...] | None = ()) -> Ended:
    if code in {2, 5}:
        error = LockHeld("held") if code == 5 else ConfigError("faulty")
        return Ended(account="a", error=error)
    counts = Counts(zones=zones, withheld=code == 4)
    report = Report(account="a", run_id=1, status=STATUS[code], counts=counts, unmatched=unmatched)
    return Ended(account="a", report=report)


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        ((0, 0), 0),
        ((0, 4), 4),
        ((0, 3), 3),
        ((3, 4), 3),
        ((0, 1), 3),
        ((0, 5), 3),
        ((4, 5), 3),
        ((3, 1, 5), 3),
        ((1, 1), 1),
        ((1, 5), 5),
        ((5, 5), 5),
        ((0, 2), 2),
        ((1, 2, 5), 2),
        ((1,), 1),
        ((5,), 5),
        ((4,), 4),
    ],
)
def test_the_exit_code_of_all_together(codes: tuple[int, ...], together: int) -> None:
    """Where any account was read, that others failed or were held leaves the whole partial."""
    assert together == exit_code([ended(code) for code in codes])
    assert together == exit_code([ended(code) for code in reversed(codes)])


def test_an_account_in_which_nothing_is_selected_does_not_count() -> None:
    left_out = ended(0, zones=0, unmatched=("FRA-*",))
    assert 1 == exit_code([left_out, ended(1)])
    assert 0 == exit_code([left_out, ended(0)])


def test_a_glob_must_match_in_one_of_the_accounts() -> None:
    """In which does not matter; one whose zones could not be listed might have had it."""
    globs = ("A*", "B*")
    has_a, has_b, none = (ended(0, unmatched=names) for names in (("B*",), ("A*",), globs))
    require_matches([has_a, has_b], globs)
    require_matches([has_a, ended(1, unmatched=None)], globs)
    require_matches([none, ended(5)], globs)
    with pytest.raises(ConfigError, match=r"no zone matches B\*: see"):
        require_matches([has_a, none], globs)
    nothing = ended(0, zones=0)
    with pytest.raises(ConfigError, match="no zone is left: --not-zone leaves out all"):
        require_matches([nothing, nothing], globs)
    require_matches([nothing, ended(0)], globs)
    require_matches([nothing], ())


async def test_as_many_at_once_as_are_allowed_each_with_a_stop_of_its_own() -> None:
    """One that its deadline stops, or an error ends, does not end the others; a signal ends all."""
    at_work, most = set[str](), 0
    everybody = Stop()
    stops: dict[str, Stop] = {}

    async def run(name: str, stop: Stop, error: SyncerError | None = None) -> Report:
        nonlocal most
        stops[name] = stop
        at_work.add(name)
        most = max(most, len(at_work))
        await anyio.lowlevel.checkpoint()
        at_work.discard(name)
        if error is not None:
            raise error
        if name == "a":
            stop.now(Fault(code="RUN_TIMEOUT", message="over"))
        if name == "d":
            everybody.now(Fault(code=STOPPED, message="asked to stop"))
        return Report(account=name, run_id=1, status="succeeded")

    gone = DatabaseGone("gone")
    results = await run_all(
        {
            "a": lambda stop: run("a", stop),
            "b": lambda stop: run("b", stop, gone),
            "c": lambda stop: run("c", stop),
            "d": lambda stop: run("d", stop),
            "e": lambda stop: run("e", stop),
        },
        at_once=2,
        stop=everybody,
    )
    assert 2 == most
    assert ["a", "b", "c", "d", "e"] == [one.account for one in results]
    assert [None, gone, None, None, None] == [one.error for one in results]
    assert ["RUN_TIMEOUT", *[STOPPED] * 4] == [s.reason.code for s in stops.values() if s.reason]
