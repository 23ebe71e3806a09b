"""Which removals may go on, and which are withheld, and by which rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.guard import (
    Candidate,
    Cleared,
    Judged,
    Limits,
    judge_run,
    judge_zone,
    kinds_in_question,
)
from tests.support import judged

DEFAULT = Limits()
OFF = Limits(zone_count=None, zone_percent=None, run_percent=None)


def zone(
    gone: int,
    of: int,
    *,
    name: str = "HKG-A",
    withheld: int = 0,
    emptied: bool | None = None,
    **values: Any,
) -> Judged:
    """Return a zone of ``of`` present images that no longer lists the first ``gone`` of them."""
    stored = [f"{name}-{number:04}" for number in range(of)]
    emptied = gone == of if emptied is None else emptied
    listed = [] if emptied else [*stored[gone:], "new"]
    return judged(name, listed, stored, withheld=stored[:withheld], **values)


def seen(look: Judged, **values: Any) -> Judged:
    """The same with other values of every candidate."""
    missed = tuple(msgspec.structs.replace(c, **values) for c in look.missed)
    return msgspec.structs.replace(look, missed=missed)


def cleared_ids(*zones: Judged, limits: Limits = DEFAULT) -> list[str]:
    return [i for each in judge_run(zones, limits).cleared for i in each.image_ids]


def withheld_ids(*zones: Judged, limits: Limits = DEFAULT) -> set[str]:
    """All that is withheld: before, by the zones' own rules, by the run's."""
    ids = {i for each in judge_run(zones, limits).withheld for i in each.image_ids}
    for each in zones:
        ids |= {c.image_id for c in each.latched}
        if judge_zone(each, limits):
            ids |= {c.image_id for c in each.fresh}
    return ids


def test_cleared_comes_from_the_guard_only() -> None:
    """No other code can let removals pass."""
    with pytest.raises(TypeError, match=r"guard\.judge_run"):
        Cleared(object(), zone(1, 2).candidates, (), approved=True)


@pytest.mark.parametrize(
    ("gone", "of", "passes"),
    [
        (60, 100, False),
        (1, 40, True),
        (0, 40, True),
        (11, 44, True),  # exactly 25 %
        (11, 43, False),
        (10, 12, True),  # not more than 10
        (11, 12, False),
        (10, 40, True),
        (26, 100, False),
        (25, 100, True),
        (250, 1000, True),
        (251, 1000, False),
    ],
)
def test_a_zone_is_withheld_above_both_limits(gone: int, of: int, passes: bool) -> None:
    """More than 10 and more than 25 % of a zone are withheld whole; exactly that much is not."""
    look = zone(gone, of)
    assert judge_zone(look, DEFAULT) == (None if passes else "many")
    assert len(cleared_ids(look)) == (gone if passes else 0)


@pytest.mark.parametrize(
    ("gone", "lately", "of", "passes"),
    [
        (10, 0, 40, True),
        (10, 1, 39, False),  # 11 of 40
        (1, 9, 31, True),  # 10
        (1, 10, 30, False),
        (5, 20, 80, True),  # 25 of 100
        (6, 20, 80, False),
        (0, 90, 10, True),
    ],
)
def test_what_was_removed_lately_counts_as_well(
    gone: int, lately: int, of: int, passes: bool
) -> None:
    """A few at a time are judged together: with the candidates, and with the zone's images."""
    assert judge_zone(zone(gone, of, removed_lately=lately), DEFAULT) == (
        None if passes else "many"
    )


@pytest.mark.parametrize("limits", [DEFAULT, OFF])
@pytest.mark.parametrize("of", [1, 3, 500])
def test_an_emptied_zone_is_withheld_however_small(of: int, limits: Limits) -> None:
    """A zone that had images and lists none keeps them all, whatever is switched off."""
    assert judge_zone(zone(of, of), limits) == "emptied"
    assert cleared_ids(zone(of, of), limits=limits) == []


@pytest.mark.parametrize(("of", "rule"), [(2, None), (3, "turned_over"), (10, "turned_over")])
def test_a_zone_that_was_turned_over_is_withheld(of: int, rule: str | None) -> None:
    """Another zone's images, or all under new ids: nothing that was listed is listed any more."""
    assert judge_zone(zone(of, of, emptied=False), DEFAULT) == rule
    assert judge_zone(zone(of, of, emptied=False), OFF) is None
    kept = zone(of - 1, of)
    assert judge_zone(kept, DEFAULT) is None


def test_what_was_withheld_before_does_not_hide_that_a_zone_was_turned_over() -> None:
    """The last look listed four, and this one none of them."""
    look = zone(4, 8, emptied=False, listed_before=4, still_listed=0)
    assert judge_zone(look, DEFAULT) == "turned_over"


def test_a_zone_read_with_another_key_waits() -> None:
    """Nothing of it is cleared, nothing latched, and it does not count in the run's."""
    fresh = zone(6, 10, another_key=True)
    assert judge_zone(fresh, DEFAULT) == "another_key"
    verdict = judge_run([fresh, *(zone(0, 10, name=f"K{n}") for n in range(2))], DEFAULT)
    assert (verdict.cleared, verdict.withheld) == ((), ())
    assert verdict.passed[fresh.zone] == ()


def test_with_another_key_all_wait_and_none_count_in_the_runs() -> None:
    """Those that the guard let pass before wait too; another zone's few pass beside them."""
    waited = seen(zone(15, 50, name="A", another_key=True), judged=True, looks=5)
    other = zone(5, 10, name="B")
    for look in (waited, seen(waited, judged=False)):
        verdict = judge_run([look, other], DEFAULT)
        assert (verdict.withheld, verdict.passed[look.zone]) == ((), ())
        assert [each.zone for each in verdict.cleared] == [other.zone]
    assert len(cleared_ids(msgspec.structs.replace(waited, another_key=False))) == 15


@pytest.mark.parametrize(
    ("each", "zones", "passes"),
    [
        (2, 20, True),  # exactly 20 %
        (3, 20, False),
        (6, 1, True),  # one zone has rules of its own
        (5, 2, True),  # 10, not more than 10
        (6, 2, False),  # 12 of 20
    ],
)
def test_the_limit_of_a_run(each: int, zones: int, passes: bool) -> None:
    """A run of two zones or more is withheld above 20 % and above 10, both together."""
    looks = [zone(each, 10, name=f"Z{number}") for number in range(zones)]
    assert len(cleared_ids(*looks)) == (each * zones if passes else 0)
    withheld = judge_run(looks, DEFAULT).withheld
    assert {held.rule for held in withheld} == (set() if passes else {"run"})
    assert len(withheld_ids(*looks)) == (0 if passes else each * zones)


@pytest.mark.parametrize(("images", "passes"), [(105, True), (104, False)])
def test_the_limit_of_a_run_is_twenty_percent(images: int, passes: bool) -> None:
    """21 of 105 are not more than 20 %, of 104 they are."""
    looks = [zone(21, 84, name="A"), zone(0, images - 84, name="B")]
    assert len(cleared_ids(*looks)) == (21 if passes else 0)


def test_zones_that_lost_nothing_count_in_the_base_of_a_run() -> None:
    """The images of every zone that was scanned are the base of the run's percentage."""
    losing = [zone(6, 10, name=f"L{number}") for number in range(2)]
    assert cleared_ids(*losing) == []
    assert len(cleared_ids(*losing, zone(0, 40, name="K"))) == 12


def test_images_withheld_before_count_neither_above_nor_below() -> None:
    """What is withheld already is left out of a run's removals and of its base."""
    latched = zone(600, 1000, name="LATCHED", withheld=600)
    quiet = [zone(1, 10, name=f"Q{number}") for number in range(11)]
    assert len(cleared_ids(latched, *quiet)) == 11
    # 12 of the 20 images that are not withheld, although 1020 are stored.
    losing = [zone(6, 10, name=f"L{number}") for number in range(2)]
    assert cleared_ids(zone(1000, 1000, name="GONE", withheld=1000), *losing) == []


def with_types(look: Judged, *types: str | None) -> Judged:
    """The candidates in turn of these types."""
    missed = tuple(
        msgspec.structs.replace(candidate, image_type=types[number % len(types)])
        for number, candidate in enumerate(look.missed)
    )
    return msgspec.structs.replace(look, missed=missed)


@pytest.mark.parametrize("kind", ["CUSTOM_IMAGE", None])
def test_a_kind_of_which_none_is_left_is_withheld_in_every_zone(kind: str | None) -> None:
    """A key that may no longer see custom images: those, and no others."""
    zones = [with_types(zone(6, 100, name=f"Z{n}"), kind, kind, "PUBLIC_IMAGE") for n in range(3)]
    assert kinds_in_question(zones, DEFAULT) == {("vm", kind)}
    assert kinds_in_question(zones, OFF) == set()
    verdict = judge_run(zones, DEFAULT, lost={("vm", kind)})
    assert {(held.zone.zone_id, held.rule, len(held.image_ids)) for held in verdict.withheld} == {
        (f"Z{n}", "kind", 4) for n in range(3)
    }
    assert len(cleared_ids(*zones)) == 18, "where one is left, nothing is withheld"
    assert sum(len(each.image_ids) for each in verdict.cleared) == 6


def test_a_kind_is_of_one_service() -> None:
    """The custom images of another service are others: neither counted along nor withheld."""
    vm, zec = (
        with_types(zone(6, 100, name="A", service=service), "CUSTOM_IMAGE")
        for service in ("vm", "zec")
    )
    more = with_types(zone(6, 100, name="B"), "CUSTOM_IMAGE")
    assert kinds_in_question([vm, zec], DEFAULT) == set()
    assert kinds_in_question([vm, zec, more], DEFAULT) == {("vm", "CUSTOM_IMAGE")}
    verdict = judge_run([vm, zec, more], DEFAULT, lost={("vm", "CUSTOM_IMAGE")})
    assert {held.zone for held in verdict.withheld} == {vm.zone, more.zone}


def test_a_kind_is_in_question_above_ten() -> None:
    """Ten custom images may all go on one day."""
    assert kinds_in_question([with_types(zone(10, 100), "CUSTOM_IMAGE")], DEFAULT) == set()
    assert kinds_in_question([with_types(zone(11, 100), "CUSTOM_IMAGE")], DEFAULT) != set()


def test_a_latched_zone_lets_nothing_pass() -> None:
    """New candidates of a zone with withheld images join them, by the rule that holds those."""
    look = zone(61, 1000, withheld=60)
    assert judge_zone(look, DEFAULT) == "many"
    assert cleared_ids(look) == []
    assert len(withheld_ids(look)) == 61


def test_the_latch_holds_even_where_the_guard_was_switched_off() -> None:
    """Turning the limits off opens no latch: that takes an approval or a sighting."""
    assert cleared_ids(zone(2, 40, withheld=1), limits=OFF) == []


def test_one_zone_harms_no_other() -> None:
    """A zone that is withheld leaves the removals of the others alone."""
    looks = [zone(60, 100, name="A"), zone(1, 400, name="B")]
    assert [each.zone.zone_id for each in judge_run(looks, DEFAULT).cleared] == ["B"]
    assert len(withheld_ids(*looks)) == 60


@pytest.mark.parametrize(
    "limits",
    [
        Limits(zone_count=0),
        Limits(zone_percent=0),
        Limits(zone_count=0, zone_percent=None),
        Limits(zone_count=None, zone_percent=0),
        Limits(run_percent=0),
    ],
)
def test_a_limit_of_nought_withholds_any_removal(limits: Limits) -> None:
    """0 means that any removal waits for a person."""
    assert cleared_ids(zone(1, 1000), limits=limits) == []
    assert len(withheld_ids(zone(1, 1000), limits=limits)) == 1
    assert withheld_ids(zone(0, 1000), limits=limits) == set()


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        (OFF, True),
        (Limits(run_percent=None), False),  # the zone's is left
        (Limits(zone_count=None, run_percent=None), True),
        (Limits(zone_percent=None, run_percent=None), True),
        (Limits(zone_count=0, zone_percent=None, run_percent=None), False),
    ],
)
def test_off_switches_a_limit_off(limits: Limits, passes: bool) -> None:
    """``off`` for the zone's or the run's limit leaves the other one in force."""
    assert (len(cleared_ids(zone(60, 100), limits=limits)) == 60) is passes


def test_off_switches_the_runs_limit_off() -> None:
    """Two zones that lose half of their few images each: neither is withheld for the other."""
    looks = [zone(9, 18, name="A"), zone(9, 18, name="B")]
    assert cleared_ids(*looks) == []
    assert len(cleared_ids(*looks, limits=Limits(run_percent=None))) == 18


def test_the_runs_limit_is_left_where_the_zones_is_off() -> None:
    """Two zones that lose much are judged together."""
    limits = Limits(zone_count=None, zone_percent=None)
    assert cleared_ids(zone(60, 100), zone(0, 100, name="B"), limits=limits) == []


@pytest.mark.parametrize(
    ("approved", "looks", "of_looks", "passes", "approval"),
    [
        (60, 1, 1, 60, "applied"),
        (59, 1, 1, 0, "exceeded"),
        (60, 1, 2, 0, "waits"),
        (1, 1, 2, 0, "waits"),
        (60, 2, 2, 60, "applied"),
    ],
)
def test_an_approval_lifts_the_guard_for_all_or_none(
    approved: int, looks: int, of_looks: int, passes: int, approval: str
) -> None:
    """All if they are few enough; those that were not missed often enough do not count."""
    look = zone(60, 60, withheld=30, approved=approved, removal_looks=of_looks)
    missed = tuple(msgspec.structs.replace(c, looks=looks) for c in look.missed)
    look = msgspec.structs.replace(look, missed=missed)
    assert look.approval == approval
    limits = Limits(removal_looks=of_looks)
    assert len(cleared_ids(look, limits=limits)) == passes
    assert all(each.approved for each in judge_run([look], limits).cleared)


def test_what_a_run_withheld_is_approved_one_by_one() -> None:
    """Only those images pass; what is withheld beside them stays, and what is new joins it."""
    look = zone(20, 100, withheld=15)
    missed = tuple(
        Candidate(
            image_id=c.image_id, image_type=None, withheld=c.withheld, rule="run", approved=n < 12
        )
        for n, c in enumerate(look.missed)
    )
    look = msgspec.structs.replace(look, missed=missed)
    assert judge_zone(look, DEFAULT) == "run"
    assert cleared_ids(look) == [c.image_id for c in missed[:12]]


def test_an_approval_that_waits_is_no_verdict() -> None:
    """60 of 100 are missed for the first time of two; ten are approved: judged as ever."""
    limits = Limits(removal_looks=2)
    first = zone(60, 100, approved=10, removal_looks=2)
    assert ("waits", "many") == (first.approval, judge_zone(first, limits))
    assert judge_run([first], limits).passed[first.zone] == ()


def test_an_approval_lets_nothing_pass_that_is_not_due() -> None:
    """Ten are due and approved; fifty that were missed for the first time are judged alone."""
    limits = Limits(removal_looks=2)
    look = zone(60, 100, withheld=10, approved=10, removal_looks=2)
    missed = tuple(
        msgspec.structs.replace(c, looks=2 if c.withheld else 1, judged=c.withheld)
        for c in look.missed
    )
    look = msgspec.structs.replace(look, missed=missed)
    assert ("applied", "many") == (look.approval, judge_zone(look, limits))
    assert cleared_ids(look, limits=limits) == [c.image_id for c in missed if c.withheld]
    assert judge_run([look], limits).passed[look.zone] == ()
    few = msgspec.structs.replace(look, missed=missed[:15])
    assert judge_zone(few, limits) is None, "the latch is open for who joins now"
    assert len(judge_run([few], limits).passed[look.zone]) == 5


def test_what_only_an_approval_let_pass_is_judged_where_it_applies_no_more() -> None:
    """60 were approved and got no answer; the next approval is for 10: they are withheld."""
    approved = zone(60, 100, approved=60)
    verdict = judge_run([approved], DEFAULT)
    assert (60, ()) == (len(verdict.cleared[0].image_ids), verdict.passed[approved.zone])
    later = msgspec.structs.replace(seen(approved, looks=2), approved=10)
    assert ("exceeded", "many") == (later.approval, judge_zone(later, DEFAULT))


def test_what_is_approved_in_one_zone_does_not_count_in_the_runs() -> None:
    """Six of ten in two zones each: where one is approved, the other's alone are few."""
    looks = [zone(6, 10, name="A", approved=6), zone(6, 10, name="B")]
    assert len(cleared_ids(*looks)) == 12
    assert judge_run(looks, DEFAULT).withheld == ()
    verdict = judge_run([*looks, zone(6, 10, name="C")], DEFAULT, lost={("vm", "PUBLIC_IMAGE")})
    assert [each.zone for each in verdict.cleared] == [looks[0].zone], "every rule is lifted there"
    assert [len(held.image_ids) for held in verdict.withheld] == [6, 6]


candidates = st.lists(
    st.tuples(st.integers(1, 3), st.booleans(), st.booleans(), st.booleans()), max_size=30
)


@given(
    candidates,
    st.integers(0, 30),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 31)),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_an_approval_lets_no_more_pass_than_it_says(
    shapes: list[tuple[int, bool, bool, bool]],
    left: int,
    removal_looks: int,
    approved: int | None,
    another_key: bool,
) -> None:
    """All that is due if that is few enough, else just what would pass without the approval."""
    look = zone(
        len(shapes),
        len(shapes) + left,
        approved=approved,
        removal_looks=removal_looks,
        another_key=another_key,
    )
    missed = tuple(
        msgspec.structs.replace(
            c, looks=looks, judged=judged or withheld, withheld=withheld, approved=withheld and one
        )
        for c, (looks, judged, withheld, one) in zip(look.missed, shapes, strict=True)
    )
    look = msgspec.structs.replace(look, missed=missed)
    limits = Limits(removal_looks=removal_looks)
    without = msgspec.structs.replace(look, approved=None)
    due = {c.image_id for c in missed if c.looks >= removal_looks}
    cleared, usual = {*cleared_ids(look, limits=limits)}, {*cleared_ids(without, limits=limits)}
    if another_key:
        assert cleared == set()
        assert look.approval in {None, "waits" if missed else "not_needed"}
    elif approved is not None and 0 < len(due) <= approved:
        assert cleared == due
    else:
        assert cleared == usual
        assert judge_zone(look, limits) == judge_zone(without, limits)
    assert cleared <= due
    lifted = cleared - usual
    assert not lifted & {*judge_run([look], limits).passed[look.zone]}
    held = {c.image_id for c in missed if c.withheld and not c.approved}
    assert not usual & held


def test_those_that_wait_are_judged_with_new_ones_and_not_by_themselves() -> None:
    """Eight wait and three go: eleven of forty. Without a new one the verdict stands."""
    look = zone(11, 40)
    missed = tuple(msgspec.structs.replace(c, judged=n < 8) for n, c in enumerate(look.missed))
    assert judge_zone(msgspec.structs.replace(look, missed=missed), DEFAULT) == "many"
    assert judge_zone(msgspec.structs.replace(look, missed=missed[:8]), DEFAULT) is None
    assert judge_zone(seen(look, judged=True), DEFAULT) is None
    assert len(cleared_ids(seen(look, judged=True))) == 11


@pytest.mark.parametrize("looks", [1, 2])
def test_candidates_wait_for_as_many_looks_as_are_asked_for(looks: int) -> None:
    """Judged at the first that misses them, asked for at the last."""
    look = zone(3, 100, removal_looks=looks)
    verdict = judge_run([look], Limits(removal_looks=looks))
    assert len(verdict.passed[look.zone]) == 3
    assert sum(len(each.image_ids) for each in verdict.cleared) == (3 if looks == 1 else 0)


thresholds = st.none() | st.integers(0, 100)


@given(
    st.lists(
        st.integers(0, 40).flatmap(
            lambda of: st.tuples(st.just(of), st.integers(0, of)).flatmap(
                lambda pair: st.tuples(
                    st.just(pair[0]), st.just(pair[1]), st.integers(0, pair[1]), st.booleans()
                )
            )
        ),
        max_size=6,
    ),
    st.builds(Limits, zone_count=thresholds, zone_percent=thresholds, run_percent=thresholds),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_candidate_is_cleared_or_withheld(
    shapes: list[tuple[int, int, int, bool]], limits: Limits, lost: bool
) -> None:
    """None is lost, none is in both, and a zone withheld before has nothing cleared."""
    zones = [
        zone(gone, of, name=f"Z{number}", withheld=withheld if often else 0)
        for number, (of, gone, withheld, often) in enumerate(shapes)
    ]
    verdict = judge_run(zones, limits, lost=[("vm", "PUBLIC_IMAGE")] if lost else [])
    cleared = [i for each in verdict.cleared for i in each.image_ids]
    passed = [i for ids in verdict.passed.values() for i in ids]
    candidates = [i for each in zones for i in each.candidates.image_ids]
    withheld = {i for each in verdict.withheld for i in each.image_ids}
    withheld |= withheld_ids(*zones, limits=limits)
    assert sorted([*passed, *withheld]) == sorted(candidates)
    assert sorted(cleared) == sorted(passed), "each was missed often enough"
    latched = {each.zone for each in zones if each.latched}
    assert not latched & {each.zone for each in verdict.cleared}
    assert all(each.image_ids for each in verdict.cleared)
    assert all(each.image_ids for each in verdict.withheld)
