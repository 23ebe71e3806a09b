"""Which removals may go on, and which are withheld."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.guard import Cleared, Judged, Limits, judge
from syncer.core.line import image as made
from syncer.core.model import Image, Looked, ZoneRef
from syncer.core.page import Page
from syncer.core.paging import Snapshot, Walk
from tests.support import tracked

DEFAULT = Limits()
OFF = Limits(zone_count=None, zone_percent=None, run_percent=None)


def image(image_id: str) -> Image:
    return made(image_id, tracked())


def zone(
    gone: int, of: int, *, name: str = "HKG-A", withheld: int = 0, emptied: bool | None = None
) -> Judged:
    """Return a zone of ``of`` present images that no longer lists the first ``gone`` of them."""
    stored = [f"{name}-{number:04}" for number in range(of)]
    emptied = gone == of if emptied is None else emptied
    listed = [] if emptied else [*stored[gone:], "new"]
    walk = Walk(100_000)
    walk.take(1, Page.of(map(image, listed), len(listed)))
    snapshot = walk.finish(
        Looked(zone=ZoneRef("vm", name), started_at=1.0, observed_at=1.0, listed=True)
    )
    assert isinstance(snapshot, Snapshot)
    return Judged(
        candidates=snapshot.unlisted(stored),
        present=of,
        withheld=frozenset(stored[:withheld]),
    )


def cleared_ids(*zones: Judged, limits: Limits = DEFAULT) -> list[str]:
    return [i for each in judge(zones, limits).cleared for i in each.image_ids]


def test_cleared_comes_from_the_guard_only() -> None:
    """No other code can let removals pass."""
    with pytest.raises(TypeError, match=r"guard\.judge"):
        Cleared(object(), zone(1, 2).candidates, approved=True)


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
    verdict = judge([zone(gone, of)], Limits(run_percent=None))
    assert sum(len(each.image_ids) for each in verdict.cleared) == (gone if passes else 0)
    assert sum(len(each.image_ids) for each in verdict.withheld) == (0 if passes else gone)


@pytest.mark.parametrize("of", [1, 3, 500])
def test_an_emptied_zone_is_withheld_however_small(of: int) -> None:
    """A zone that had images and lists none keeps them all."""
    assert cleared_ids(zone(of, of), limits=Limits(run_percent=None)) == []
    assert cleared_ids(zone(of, of, emptied=False), limits=OFF) != []


def test_a_run_is_withheld_above_half_of_all_it_scanned() -> None:
    """6 of 10 in each of 20 zones passes each zone's limit and trips the run's."""
    zones = [zone(6, 10, name=f"Z{number}") for number in range(20)]
    assert cleared_ids(zones[0]) != []
    verdict = judge(zones, DEFAULT)
    assert verdict.cleared == ()
    assert sum(len(each.image_ids) for each in verdict.withheld) == 120


@pytest.mark.parametrize(
    ("each", "zones", "passes"),
    [
        (5, 20, True),  # exactly 50 %
        (6, 20, False),
        (6, 1, True),  # 6 of 10, not more than 10
        (8, 1, True),
        (6, 2, False),  # 12 of 20
    ],
)
def test_the_limit_of_a_run(each: int, zones: int, passes: bool) -> None:
    """A run is withheld above 50 % and above 10, both together."""
    judged = [zone(each, 10, name=f"Z{number}") for number in range(zones)]
    assert len(cleared_ids(*judged)) == (each * zones if passes else 0)


def test_zones_that_lost_nothing_count_in_the_base_of_a_run() -> None:
    """The images of every zone that was scanned are the base of the run's percentage."""
    losing = [zone(6, 10, name=f"L{number}") for number in range(2)]
    assert cleared_ids(*losing) == []
    assert len(cleared_ids(*losing, zone(0, 10, name="K"))) == 12


def test_images_withheld_before_count_neither_above_nor_below() -> None:
    """What is withheld already is left out of a run's removals and of its base."""
    latched = zone(600, 1000, name="LATCHED", withheld=600)
    quiet = [zone(1, 10, name=f"Q{number}") for number in range(11)]
    assert len(cleared_ids(latched, *quiet)) == 11
    # 12 of the 20 images that are not withheld: more than half, although 1020 are stored.
    losing = [zone(6, 10, name=f"L{number}") for number in range(2)]
    assert cleared_ids(zone(1000, 1000, name="GONE", withheld=1000), *losing) == []


def test_a_latched_zone_lets_nothing_pass() -> None:
    """New candidates of a zone with withheld images join them, however few."""
    verdict = judge([zone(61, 1000, withheld=60)], DEFAULT)
    assert verdict.cleared == ()
    assert len(verdict.withheld[0].image_ids) == 61


def test_the_latch_holds_even_where_the_guard_was_switched_off() -> None:
    """Turning the limits off opens no latch: that takes an approval or a sighting."""
    assert cleared_ids(zone(2, 40, withheld=1), limits=OFF) == []


def test_one_zone_harms_no_other() -> None:
    """A zone that is withheld leaves the removals of the others alone."""
    verdict = judge([zone(60, 100, name="A"), zone(1, 400, name="B")], DEFAULT)
    assert [each.zone.zone_id for each in verdict.cleared] == ["B"]
    assert [each.zone.zone_id for each in verdict.withheld] == ["A"]


@pytest.mark.parametrize(
    "limits", [Limits(zone_count=0), Limits(zone_percent=0), Limits(run_percent=0)]
)
def test_a_limit_of_nought_withholds_any_removal(limits: Limits) -> None:
    """0 means that any removal waits for a person."""
    assert cleared_ids(zone(1, 1000), limits=limits) == []
    assert judge([zone(0, 1000)], limits).withheld == ()


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        (OFF, True),
        (Limits(zone_count=None, zone_percent=None), False),  # the run's is left
        (Limits(run_percent=None), False),  # the zone's is left
        (Limits(zone_count=None, run_percent=None), True),
        (Limits(zone_percent=None, run_percent=None), True),
        (Limits(zone_count=0, zone_percent=None, run_percent=None), False),
    ],
)
def test_off_switches_a_limit_off(limits: Limits, passes: bool) -> None:
    """``off`` for the zone's or the run's limit leaves the other one in force."""
    assert (len(cleared_ids(zone(60, 100), limits=limits)) == 60) is passes


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
)
@settings(max_examples=40, deadline=None)
def test_every_candidate_is_cleared_or_withheld(
    shapes: list[tuple[int, int, int, bool]], limits: Limits
) -> None:
    """None is lost, none is in both, and a zone withheld before has nothing cleared."""
    zones = [
        zone(
            gone,
            of,
            name=f"Z{number}",
            withheld=withheld if often else 0,
            emptied=None,
        )
        for number, (of, gone, withheld, often) in enumerate(shapes)
    ]
    verdict = judge(zones, limits)
    cleared = [i for each in verdict.cleared for i in each.image_ids]
    withheld = [i for each in verdict.withheld for i in each.image_ids]
    candidates = [i for each in zones for i in each.candidates.image_ids]
    assert sorted(cleared + withheld) == sorted(candidates)
    assert not set(cleared) & set(withheld)
    latched = {each.candidates.zone for each in zones if each.withheld}
    assert not latched & {each.zone for each in verdict.cleared}
    assert all(each.image_ids for each in verdict.cleared)
    assert all(each.image_ids for each in verdict.withheld)
