"""The world: the same by seed, changed by its methods, written as it is."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.simulator import ABSENT, World
from syncer.simulator.rows import render_rows

PUBLIC = re.compile(r"img-[A-Za-z0-9]{25}")
CUSTOM = re.compile(r"img-[A-Za-z0-9]{8}")


def everything(world: World) -> object:
    return [(zone, world.images(zone)) for zone in world.zones()], world.zone_rows()


def test_equal_seeds_make_equal_worlds_and_others_differ() -> None:
    """A world depends on its arguments and on nothing else."""
    assert everything(World.generate(seed=3)) == everything(World.generate(seed=3))
    assert everything(World.generate(seed=3)) != everything(World.generate(seed=4))


def test_a_zone_does_not_depend_on_how_many_others_there_are() -> None:
    """More zones leave the first ones as they were."""
    few, many = World.generate(zones=2), World.generate(zones=90)
    assert few.images("HKG-A") == many.images("HKG-A")
    assert len(many.zones()) == len(set(many.zones())) == 90
    assert all(re.fullmatch(r"[A-Z]{3}-[A-Z]", zone) for zone in many.zones())


def test_sizes_are_exact_and_names_are_all_different() -> None:
    """A zone has as many images as asked for, beyond the natural catalogue too."""
    world = World.generate(zones=3, images=17, sizes={"FRA-A": 2345, "XYZ-Q": 0})
    assert [world.count(zone) for zone in world.zones()] == [2345, 17, 17, 0]
    rows = world.images("FRA-A").values()
    assert len(rows) == len({row["imageName"] for row in rows}) == 2345


def test_rows_look_like_the_apis() -> None:
    """Ids, types and sizes have the documented shapes; custom images are few, where allowed."""
    world = World.generate(zones=12, images=45)
    chinese = 0
    for zone in world.zones():
        custom = 0
        for image_id, row in world.images(zone).items():
            assert row["imageId"] == image_id
            assert list(row) == [
                "imageVersion",
                "imageId",
                "imageName",
                "imageDescription",
                "osType",
                "imageSize",
                "imageStatus",
                "category",
                "imageType",
            ]
            is_custom = row["imageType"] == "CUSTOM_IMAGE"
            custom += is_custom
            assert (CUSTOM if is_custom else PUBLIC).fullmatch(image_id)
            assert row["imageSize"].isdecimal()
            chinese += not row["imageName"].isascii()
        assert custom <= (0 if zone in ("SIN-E", "LAX-A") else 5)
    assert chinese


def test_the_same_public_image_has_its_own_id_in_each_zone() -> None:
    """Names are shared between zones, ids are not, and no two zones offer quite the same."""
    world = World.generate(zones=5)
    first, second = world.images("FRA-A"), world.images("HKG-A")
    assert not set(first) & set(second)
    names = [{row["imageName"] for row in zone.values()} for zone in (first, second)]
    assert len(names[0] & names[1]) > 10
    assert names[0] != names[1]


def test_documented_ids_are_used_where_they_are_known() -> None:
    """FRA-A has the ids of the documented example."""
    rows = World.generate(images=60).images("FRA-A")
    known = {
        "img-EVhEsCuXhCN0urZ7Vt77oOr6K",
        "img-MJHkbWzEl9anNobblDtpRTDPB",
        "img-3ELi56cECstEUqmcQzqIGdiuB",
    }
    assert known & set(rows)


def test_images_are_added_changed_removed_and_restored() -> None:
    """Each change is seen in the ground truth and in the page, which was rendered before."""
    world = World.generate(zones=1, images=3)
    assert len(json.loads(world.page("FRA-A", 1, 10))) == 3
    new = world.add_image("FRA-A", imageName="mine", extra={"deep": [1]})
    assert world.images("FRA-A")[new]["extra"] == {"deep": [1]}
    assert PUBLIC.fullmatch(new)
    world.change_image("FRA-A", new, imageSize=30, imageDescription=ABSENT)
    row = json.loads(world.page("FRA-A", 1, 10))[-1]
    assert row["imageSize"] == 30
    assert "imageDescription" not in row
    world.remove_image("FRA-A", new)
    assert new not in world.images("FRA-A")
    assert len(json.loads(world.page("FRA-A", 1, 10))) == world.count("FRA-A") == 3
    world.restore_image("FRA-A", new)
    assert world.images("FRA-A")[new] == row
    with pytest.raises(LookupError, match="no image img-none"):
        world.remove_image("FRA-A", "img-none")
    with pytest.raises(LookupError, match="no zone NOPE"):
        world.images("NOPE")


def test_what_is_read_is_a_copy() -> None:
    """Whoever changes what he read changes no world, nor does a later change of what was given."""
    world = World.generate(zones=1, images=2)
    given: list[object] = [1]
    new = world.add_image("FRA-A", tags=given)
    changed = {"deep": 1}
    world.change_image("FRA-A", new, extra=changed)
    given.append(2)
    changed["deep"] = 2
    next(iter(world.images("FRA-A").values()))["imageName"] = "altered"
    assert "altered" not in str(world.images("FRA-A"))
    assert world.images("FRA-A")[new]["tags"] == [1]
    assert world.images("FRA-A")[new]["extra"] == {"deep": 1}


def test_zones_come_and_go() -> None:
    """A removed zone is not there until it is restored, with its images."""
    world = World.generate(zones=2)
    before = world.images("HKG-A")
    world.remove_zone("HKG-A")
    assert world.zones() == ["FRA-A"]
    assert not world.exists("HKG-A")
    with pytest.raises(ValueError, match="restore it"):
        world.add_zone("HKG-A")
    world.restore_zone("HKG-A")
    assert world.images("HKG-A") == before
    assert world.add_zone(images=2) == "SIN-E"
    assert world.count("SIN-E") == 2


def test_drift_does_what_it_says() -> None:
    """What drift returns is the whole difference between before and after."""
    world = World.generate(zones=6, images=30)
    before = {zone: world.images(zone) for zone in world.zones()}
    done = world.drift(7, appear=5, change=20, remove=10)
    after = {zone: world.images(zone) for zone in world.zones()}
    appeared = {(z, i) for z in after for i in after[z].keys() - before[z].keys()}
    removed = {(z, i) for z in after for i in before[z].keys() - after[z].keys()}
    changed = {
        (z, i)
        for z in after
        for i in before[z].keys() & after[z].keys()
        if before[z][i] != after[z][i]
    }
    assert appeared == set(done.appeared)
    assert removed == set(done.removed)
    assert changed == {(zone, image_id) for zone, image_id, _ in done.changed}
    assert (len(appeared), len(changed), len(removed)) == (5, 20, 10)
    for zone, image_id, fields in done.changed:
        assert after[zone][image_id] == {**before[zone][image_id], **fields}


def test_drift_is_the_same_by_seed_and_refuses_the_impossible() -> None:
    """Equal seeds drift equally, and nothing is changed when there is too little to change."""
    one, two = World.generate(), World.generate()
    assert one.drift(5) == two.drift(5)
    assert everything(one) == everything(two)
    with pytest.raises(ValueError, match="cannot change 3 and remove 2 of 4 images"):
        World.generate(zones=1, images=4).drift()


def test_untouched_and_touched_zones_are_written_alike() -> None:
    """The fast way of writing a page gives the same bytes as the careful one."""
    world = World.generate(zones=8, images=300)
    for zone in world.zones():
        rows = world.rows(zone)
        assert world.page(zone, 1, 1000) == render_rows(rows)


def test_a_change_leaves_the_bytes_of_other_pages_alone() -> None:
    """Pages are byte-stable but for the one that changed."""
    world = World.generate(zones=1, images=30)
    before = [world.page("FRA-A", number, 10) for number in (1, 2, 3)]
    world.change_image("FRA-A", list(world.images("FRA-A"))[12], imageName="数据")
    after = [world.page("FRA-A", number, 10) for number in (1, 2, 3)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_prerendered_pages_are_those_made_one_by_one() -> None:
    """Rendering beforehand changes no byte and no ground truth."""
    one, two = World.generate(zones=3, images=25), World.generate(zones=3, images=25)
    assert one.prerender(10) > 0
    for zone in two.zones():
        for number in (1, 2, 3, 4):
            assert one.page(zone, number, 10) == two.page(zone, number, 10)
        assert one.images(zone) == two.images(zone)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(row=JSON)
def test_anything_json_can_say_is_served_as_it_is(row: object) -> None:
    """Rows need not be objects nor hold what is documented, and come back equal."""
    world = World.generate(zones=1, images=1)
    key = world.add_row("FRA-A", row)
    assert world.images("FRA-A")[key] == row
    assert json.loads(world.page("FRA-A", 1, 10))[1] == row


def test_lone_surrogates_nul_and_nan_are_served() -> None:
    """What strict JSON libraries refuse to write is written too."""
    world = World.generate(zones=1, images=0)
    world.add_row("FRA-A", {"imageId": "img-\ud800", "n": 10**30, "z": "\x00", "f": float("nan")})
    assert world.page("FRA-A", 1, 10) == (
        b'[{"imageId":"img-\\ud800","n":1' + b"0" * 30 + b',"z":"\\u0000","f":NaN}]'
    )
