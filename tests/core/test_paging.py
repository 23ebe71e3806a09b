"""Which pages remain, and whether what was read is a whole look."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from syncer.core.known import Look
from syncer.core.line import image as made
from syncer.core.model import Fault, Image, ZoneRef
from syncer.core.page import Offered, Page, Rows, SpooledRows
from syncer.core.paging import (
    MAX_WALKS,
    Candidates,
    Proof,
    Snapshot,
    Torn,
    Unchanged,
    Walk,
    ZoneRead,
)
from tests.support import looked, tracked

ZONE = ZoneRef("vm", "HKG-A")
LOOKED = looked("HKG-A")
Server = Callable[[int, int], Page]
orders = st.randoms(use_true_random=False)


def image(image_id: str, *, name: str = "n", extra: str | None = None) -> Image:
    return made(image_id, tracked(image_name=name, image_size="30"), extra)


def images(count: int) -> list[Image]:
    return [image(f"img-{number:03}") for number in range(count)]


def rows(served: Sequence[Image], total: int | None, rejected: int = 0) -> Page:
    return Page.of(served, total, rejected=rejected)


def listing(
    offered: Sequence[Image], *, counted: bool = True, cap: int = 10**6, total: int | None = None
) -> Server:
    """Return a server that pages through a fixed list."""
    count = (len(offered) if total is None else total) if counted else None

    def serve(page: int, page_size: int) -> Page:
        size = min(page_size, cap)
        return rows(offered[(page - 1) * size : page * size], count)

    return serve


def walk_through(walk: Walk, server: Server, order: random.Random | None = None) -> None:
    calls = 0
    while remaining := list(walk.remaining()):
        assert walk.remaining() == tuple(sorted(set(remaining)))
        if order is not None:
            order.shuffle(remaining)
        for number in remaining:
            calls += 1
            assert calls < 500, "the pages do not end"
            walk.take(number, server(number, walk.page_size))


def read(server: Server, page_size: int) -> tuple[Snapshot | None, ZoneRead]:
    reading = ZoneRead(page_size)
    while walk := reading.next_walk():
        walk_through(walk, server)
        if snapshot := reading.done(walk, LOOKED):
            assert isinstance(snapshot, Snapshot)
            return snapshot, reading
    return None, reading


def ids(listed: Sequence[Image]) -> set[str]:
    return {image.image_id for image in listed}


@given(st.integers(0, 60), st.integers(1, 20), st.booleans(), orders)
@settings(max_examples=40, deadline=None)
def test_an_honest_listing_assembles_in_any_order(
    count: int, page_size: int, counted: bool, order: random.Random
) -> None:
    """Any listing of distinct images is read whole, whatever order its pages are taken in."""
    offered = images(count)
    walk = Walk(page_size)
    walk_through(walk, listing(offered, counted=counted), order)
    snapshot = walk.finish(LOOKED)
    assert isinstance(snapshot, Snapshot)
    assert dict(snapshot.offered.images()) == {each.image_id: each for each in offered}
    assert snapshot.looked == LOOKED


@given(st.integers(0, 60), st.integers(1, 30), st.integers(1, 30), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_silent_cap_on_the_page_size_hides_nothing(
    count: int, page_size: int, cap: int, counted: bool
) -> None:
    """A server that serves at most ``cap`` rows a page is read whole, at the first attempt."""
    snapshot, reading = read(listing(images(count), counted=counted, cap=cap), page_size)
    assert snapshot is not None
    assert set(snapshot.offered.images()) == ids(images(count))
    assert (reading.walks, snapshot.looked.rereads) == (1, 0)
    assert snapshot.looked.pages == reading.pages


def test_only_as_many_pages_are_asked_for_as_there_are() -> None:
    """TotalCount plans the pages exactly; a full last page brings no extra call."""
    walk = Walk(10)
    assert walk.remaining() == (1,)
    walk.take(1, rows(images(10), 30))
    assert walk.remaining() == (2, 3)
    walk.take(3, rows(images(30)[20:], 30))
    assert walk.remaining() == (2,)
    walk.take(2, rows(images(20)[10:], 30))
    assert walk.remaining() == ()


def test_an_uncounted_listing_is_read_until_a_page_is_empty() -> None:
    """Without totalCount the pages are asked for one by one, the empty one included."""
    asked = []
    walk = Walk(10)
    while remaining := walk.remaining():
        assert len(remaining) == 1
        asked.append((remaining[0], walk.page_size))
        serve = listing(images(20), counted=False)
        walk.take(remaining[0], serve(remaining[0], walk.page_size))
    assert asked == [(1, 10), (2, 10), (3, 10)]
    assert isinstance(walk.finish(LOOKED), Snapshot)


def test_an_empty_zone_is_a_whole_look() -> None:
    """No rows and a total of 0, or no total at all, is a snapshot of nothing."""
    for total in (0, None):
        walk = Walk(10)
        walk.take(1, rows([], total))
        assert walk.remaining() == ()
        snapshot = walk.finish(LOOKED)
        assert isinstance(snapshot, Snapshot)
        assert dict(snapshot.offered.images()) == {}


def test_a_service_without_pages_is_read_in_one_call() -> None:
    """Where a service has no pages, the first answer is all of it."""
    walk = Walk(2, paged=False)
    walk.take(1, rows(images(5), 5))
    assert walk.remaining() == ()
    assert isinstance(walk.finish(LOOKED), Snapshot)


SETS = st.sets(st.sampled_from("abcd"))


@given(SETS, st.lists(SETS, min_size=3, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_list_without_a_count_needs_a_proof(
    stored: set[str], lists: list[set[str]], knows: bool
) -> None:
    """It is whole if it lists all that is stored, or the same ids as a reading before; else not.

    Where nobody says what is stored, only a second reading proves it. There are at most three.
    """
    reading = ZoneRead(10, paged=False)
    result: Any = None
    for number, listed in enumerate(lists):
        walk = reading.next_walk()
        assert walk is not None
        walk.take(1, rows([image(image_id) for image_id in sorted(listed)], None))
        assert reading.needs_stored(walk) == (number == 0 or not knows)
        if knows:
            reading.stored = stored
        result = reading.done(walk, LOOKED)
        proven = (knows and listed >= stored) or listed in lists[:number]
        assert isinstance(result, Snapshot) == proven
        if result is not None:
            assert result.offered.ids == listed
            assert reading.walks == number + 1
            return
    assert reading.next_walk() is None
    assert reading.incomplete(LOOKED).images.keys() == set().union(*lists)
    assert reading.incomplete(LOOKED).fault.code == "INCONSISTENT"


def test_a_list_without_a_count_that_reads_as_before_is_proven() -> None:
    """The rows of the last whole look, in whatever order, need no second reading."""
    first = Walk(10, paged=False)
    first.take(1, rows(images(3), None))
    snapshot = first.finish(LOOKED, Proof(stored=(), lists=()))
    assert isinstance(snapshot, Snapshot)
    for again, is_known in ((images(3), True), (images(3)[::-1], False)):
        walk = Walk(10, paged=False, before=snapshot.look)
        walk.take(1, rows(again, None))
        assert walk.shortcuts is not None
        assert walk.shortcuts.is_known == is_known
        assert isinstance(walk.finish(LOOKED), Unchanged)


def test_equal_rows_of_one_id_are_one_image() -> None:
    """The same id twice with equal content counts once, where totalCount counts it once too."""
    a, b, c = images(3)
    walk = Walk(2)
    walk.take(1, rows([a, b], 3))
    walk.take(2, rows([image(b.image_id), c], 3))
    snapshot = walk.finish(LOOKED)
    assert isinstance(snapshot, Snapshot)
    assert set(snapshot.offered.images()) == {a.image_id, b.image_id, c.image_id}


listings = st.tuples(st.integers(2, 50), st.integers(1, 10)).filter(lambda t: t[0] > t[1])


@given(listings, st.data())
@settings(max_examples=40, deadline=None)
def test_a_missing_page_is_never_a_whole_look(shape: tuple[int, int], data: st.DataObject) -> None:
    """While a planned page was not read there is no snapshot, whichever page it is."""
    count, page_size = shape
    server = listing(images(count))
    walk = Walk(page_size)
    walk.take(1, server(1, page_size))
    left_out = data.draw(st.sampled_from(walk.remaining()))
    for number in walk.remaining():
        if number != left_out:
            walk.take(number, server(number, page_size))
    assert walk.finish(LOOKED) == Torn(f"page {left_out} was not read")
    assert Walk(page_size).finish(LOOKED) == Torn("page 1 was not read")


@given(listings, st.data(), orders)
@settings(max_examples=70, deadline=None)
def test_a_page_that_lacks_rows_is_never_a_whole_look(
    shape: tuple[int, int], data: st.DataObject, order: random.Random
) -> None:
    """A later page that was served short or empty tears the walk; page 1 loses nothing either."""
    count, page_size = shape
    offered, honest = images(count), listing(images(count))
    pages = -(-count // page_size)
    short = data.draw(st.integers(1, pages))
    kept = data.draw(st.sets(st.integers(0, page_size - 1)))

    def serve(number: int, size: int) -> Page:
        page = honest(number, size)
        if number != short:
            return page
        return rows(
            [row for place, row in enumerate(page.rows.images()) if place in kept], page.total
        )

    full = len(honest(short, page_size).rows.images())
    assume(len([place for place in kept if place < full]) < full)
    walk = Walk(page_size)
    walk_through(walk, serve, order)
    result = walk.finish(LOOKED)
    if short > 1:
        assert isinstance(result, Torn)
    elif isinstance(result, Snapshot):
        assert set(result.offered.images()) == ids(offered)


@given(st.integers(3, 9), st.integers(2, 5), st.data())
@settings(max_examples=40, deadline=None)
def test_a_short_page_in_the_middle_shows_without_a_count_too(
    pages: int, page_size: int, data: st.DataObject
) -> None:
    """Without totalCount, rows after a page that was not full are no whole look."""
    offered = images(pages * page_size)
    honest = listing(offered, counted=False)
    short = data.draw(st.integers(2, pages - 1))
    lost = data.draw(st.integers(1, page_size - 1))

    def serve(number: int, size: int) -> Page:
        served = honest(number, size).rows.images()
        return rows(served[: len(served) - lost] if number == short else served, None)

    walk = Walk(page_size)
    walk_through(walk, serve)
    assert isinstance(walk.finish(LOOKED), Torn)


@given(listings, st.data(), orders)
@settings(max_examples=60, deadline=None)
def test_a_total_that_differs_on_any_page_tears_the_walk(
    shape: tuple[int, int], data: st.DataObject, order: random.Random
) -> None:
    """Totals must be the same on every page that was read, the last one included."""
    count, page_size = shape
    honest = listing(images(count))
    odd = data.draw(st.integers(1, -(-count // page_size)))
    odd_total = data.draw(st.sampled_from([count - 1, count + 1, -1, None, 10**9]))

    def serve(number: int, size: int) -> Page:
        page = honest(number, size)
        return rows(page.rows.images(), odd_total if number == odd else count)

    walk = Walk(page_size)
    walk_through(walk, serve, order)
    assert len({page.total for page in walk.pages.values()}) == 2 or len(walk.pages) == 1
    if len(walk.pages) > 1 or odd_total != page_size:
        assert isinstance(walk.finish(LOOKED), Torn)


@given(st.integers(2, 40), st.integers(1, 10), st.data(), st.booleans(), orders)
@settings(max_examples=60, deadline=None)
def test_a_repeated_id_is_never_counted_twice(
    count: int, page_size: int, data: st.DataObject, equal: bool, order: random.Random
) -> None:
    """One image in place of another is no whole look; of differing rows neither is kept."""
    offered = images(count)
    first, second = data.draw(
        st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)
    )
    twice = offered[first].image_id
    offered[second] = image(twice, name="n" if equal else "other")
    walk = Walk(page_size)
    walk_through(walk, listing(offered), order)
    assert isinstance(walk.finish(LOOKED), Torn)
    kept, rejected = walk.salvage()
    assert (twice in kept) is equal
    assert rejected == (0 if equal else 2)
    assert len(kept) == count - (1 if equal else 2)


def test_rows_that_differ_in_extra_alone_conflict() -> None:
    """Content is the tracked columns and the rest; a difference in either is a conflict."""
    walk = Walk(2)
    walk.take(1, rows([image("a"), image("a", extra='{"x":1}')], 1))
    assert isinstance(walk.finish(LOOKED), Torn)
    assert walk.salvage() == ({}, 2)


@given(listings, st.data(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_rejected_row_is_never_a_whole_look(
    shape: tuple[int, int], data: st.DataObject, counted_in: bool
) -> None:
    """A row that cannot be kept tears the walk, whether totalCount counts it or not."""
    count, page_size = shape
    odd = data.draw(st.integers(1, -(-count // page_size)))
    honest = listing(images(count), total=count + counted_in)

    def serve(number: int, size: int) -> Page:
        page = honest(number, size)
        return rows(page.rows.images(), page.total, rejected=number == odd)

    walk = Walk(page_size)
    walk_through(walk, serve)
    assert isinstance(walk.finish(LOOKED), Torn)


@pytest.mark.parametrize(
    ("served", "total"), [(3, -1), (3, 10_000_001), (3, 10**400), (0, 3), (3, 0), (3, 2), (0, -1)]
)
def test_a_total_that_cannot_be_true_is_not_planned_by(served: int, total: int) -> None:
    """A total that is invalid, absurd, or not what page 1 held, asks for no flood of pages."""
    walk = Walk(10)
    walk.take(1, rows(images(served), total))
    assert walk.remaining() == ()
    assert isinstance(walk.finish(LOOKED), Torn)


def test_a_server_that_ignores_the_page_number_is_found_out() -> None:
    """Without totalCount, a page that brings nothing new ends the walk, and tears it."""
    walk = Walk(3)
    walk_through(walk, lambda _number, _size: rows(images(3), None))
    assert sorted(walk.pages) == [1, 2]
    assert isinstance(walk.finish(LOOKED), Torn)


@given(
    st.integers(0, 25),
    st.integers(1, 6),
    st.lists(st.lists(st.tuples(st.integers(0, 99), st.booleans()), max_size=2), max_size=40),
    st.booleans(),
)
@settings(max_examples=70, deadline=None)
def test_a_list_that_moves_while_it_is_read_is_only_whole_if_its_count_agrees(
    count: int, page_size: int, moves: list[list[tuple[int, bool]]], reversing: bool
) -> None:
    """Images that come and go between pages: a snapshot's distinct ids equal every page's total."""
    offered, pending, born = images(count), iter(moves), 0
    served: list[Page] = []

    def serve(number: int, size: int) -> Page:
        nonlocal born
        for place, add in next(pending, []):
            if add:
                born += 1
                offered.insert(place % (len(offered) + 1), image(f"new-{born}"))
            elif offered:
                del offered[place % len(offered)]
        if reversing:
            offered.reverse()
        served.append(listing(offered)(number, size))
        return served[-1]

    reading = ZoneRead(page_size)
    while walk := reading.next_walk():
        served.clear()
        walk_through(walk, serve)
        if snapshot := reading.done(walk, LOOKED):
            assert isinstance(snapshot, Snapshot)
            assert {page.total for page in served} == {len(snapshot.offered.images())}
            assert set(snapshot.offered.images()) == {
                i.image_id for p in served for i in p.rows.images()
            }
            assert not any(page.rows.rejected for page in served)
            return
    assert reading.walks <= MAX_WALKS


def test_a_zone_that_stays_torn_is_read_three_times() -> None:
    """A torn zone is read again twice, then reported as incomplete with all that was seen."""
    calls = 0

    def serve(number: int, size: int) -> Page:
        nonlocal calls
        calls += 1
        return rows([image(f"call-{calls}")] * min(size, 1), 10 + calls)

    snapshot, reading = read(serve, 5)
    assert snapshot is None
    assert reading.walks == 3
    incomplete = reading.incomplete(LOOKED)
    assert incomplete.looked.rereads == 2
    assert incomplete.looked.pages == reading.pages == calls
    assert set(incomplete.images) == {f"call-{number}" for number in range(1, calls + 1)}
    assert incomplete.fault.code == "INCONSISTENT"
    assert "read 3 times" in incomplete.fault.message


def test_a_zone_that_settles_is_whole_at_a_re_read() -> None:
    """One torn reading costs one re-read, and the snapshot says so."""
    totals = iter([20, 21, 20, 20])
    honest = listing(images(20))
    snapshot, reading = read(lambda n, s: rows(honest(n, s).rows.images(), next(totals)), 10)
    assert snapshot is not None
    assert (reading.walks, snapshot.looked.rereads, snapshot.looked.pages) == (2, 1, 4)


def test_a_cap_that_shows_on_a_later_page_plans_the_pages_anew() -> None:
    """A short page in the middle is read as a cap: asked for again by the size really served."""

    def serve(number: int, size: int) -> Page:
        offered = images(30)[(number - 1) * size : number * size]
        return rows(offered if number == 1 else offered[:3], 30)

    snapshot, reading = read(serve, 10)
    assert snapshot is not None
    assert set(snapshot.offered.images()) == ids(images(30))
    assert reading.walks == 2


def test_ever_smaller_pages_come_to_an_end() -> None:
    """A server that serves one row fewer each time is given up after eight readings."""

    def serve(number: int, size: int) -> Page:
        return rows(images(1000)[: size if number == 1 else size - 1], 1000)

    snapshot, reading = read(serve, 400)
    assert snapshot is None
    assert reading.walks == MAX_WALKS == 8


def test_a_smaller_page_size_uses_up_no_re_read() -> None:
    """After two changes of size there are still two re-reads of a zone that moves."""
    seen: list[int] = []

    def serve(number: int, size: int) -> Page:
        if number == 1:
            seen.append(size)
        if size > 5:
            return rows(images(50)[: size if number == 1 else size // 2], 50)
        return rows(images(50)[:size], 50 + (number > 1))

    snapshot, _ = read(serve, 20)
    assert snapshot is None
    assert seen == [20, 10, 5, 5, 5]


def test_an_abandoned_walk_keeps_what_it_read() -> None:
    """A call that failed leaves the pages before it as an incomplete look, with the fault."""
    reading = ZoneRead(2)
    walk = reading.next_walk()
    assert walk is not None
    walk.take(1, rows(images(2), 4, rejected=0))
    reading.abandon(walk)
    fault = Fault(code="HTTP_500", message="failed")
    incomplete = reading.incomplete(LOOKED, fault)
    assert set(incomplete.images) == ids(images(2))
    assert incomplete.fault == fault
    assert (incomplete.looked.pages, incomplete.looked.rereads) == (1, 0)


def test_a_snapshot_comes_from_a_walk_only() -> None:
    """No other code can make a snapshot, so nothing else can lead to a removal."""
    look = Look(asked=1, total=0, images=0, pages=(), content=b"", hash="")
    with pytest.raises(TypeError, match=r"Walk\.finish"):
        Snapshot(object(), LOOKED, Offered([]), look)


def test_candidates_come_from_a_snapshot_only() -> None:
    """No other code can name images as unlisted."""
    with pytest.raises(TypeError, match=r"Snapshot\.unlisted"):
        Candidates(object(), ZONE, ("a",), emptied=False)


def test_candidates_are_what_a_whole_look_did_not_list() -> None:
    """Stored ids that were not listed come out sorted; an empty look is marked as such."""
    walk = Walk(10)
    walk.take(1, rows([image("b"), image("new")], 2))
    snapshot = walk.finish(LOOKED)
    assert isinstance(snapshot, Snapshot)
    candidates = snapshot.unlisted(["c", "b", "a"])
    assert (candidates.zone, candidates.image_ids, candidates.emptied) == (ZONE, ("a", "c"), False)
    empty = Walk(10)
    empty.take(1, rows([], 0))
    nothing = empty.finish(LOOKED)
    assert isinstance(nothing, Snapshot)
    assert nothing.unlisted(["a"]).emptied is True
    assert (candidates.controls, nothing.unlisted(["a"]).controls) == (("b", "new"), ())
    assert snapshot.unlisted(["b"]).controls == ()


def offered(kinds: Sequence[tuple[str | None, str | None]], spooled: bool = False) -> Offered:
    """Images of these types and statuses, ten to a page."""
    made_up = [
        made(f"img-{n:03}\\", tracked(image_type=image_type, image_status=status))
        for n, (image_type, status) in enumerate(kinds)
    ]
    pages = [rows(made_up[n : n + 10], None) for n in range(0, len(made_up), 10)]
    if spooled:
        for page in pages:
            held = page.rows
            assert isinstance(held, Rows)
            page._rows = SpooledRows(held, partial(copy.copy, held))
    return Offered(pages)


kinds = st.tuples(
    st.sampled_from(["PUBLIC_IMAGE", "CUSTOM_IMAGE", "a\tb", None]),
    st.sampled_from(["AVAILABLE", "CREATING", None]),
)


@given(st.lists(kinds, max_size=45), st.lists(kinds, unique=True), st.booleans(), st.integers())
def test_controls_are_the_best_of_what_was_listed(
    listed: list[Any], wanted: list[Any], spooled: bool, seed: int
) -> None:
    """Of the types that are wanted, in their order, and AVAILABLE, before all others."""
    types = list(dict.fromkeys(image_type for image_type, _ in wanted))
    images = offered(listed, spooled)
    picked = images.pick(4, seed=str(seed), image_types=types)
    assert len(set(picked)) == len(picked) == min(4, len(listed))
    by_id = dict(zip((f"img-{n:03}\\" for n in range(len(listed))), listed, strict=True))

    def rank(kind: tuple[str | None, str | None]) -> tuple[int, bool]:
        place = types.index(kind[0]) if kind[0] in types else len(types)
        return place, kind[1] != "AVAILABLE"

    ranks = [rank(by_id[image_id]) for image_id in picked]
    assert ranks == sorted(map(rank, listed))[: len(picked)]


def test_controls_vary_with_the_seed_and_cost_one_page() -> None:
    """Each image is the first choice of some seed; of a large zone few pages are read again."""
    images = offered([("PUBLIC_IMAGE", "AVAILABLE")] * 35)
    firsts = {images.pick(4, seed=str(seed))[0] for seed in range(400)}
    assert len(firsts) == 35
    reads: list[int] = []
    page = images._parts[0]
    assert isinstance(page, Rows)

    def read() -> Rows:
        reads.append(1)
        return page

    large = Offered([])
    large._parts = [SpooledRows(page, read) for _ in range(100)]
    large.pick(4, seed="1", image_types=["PUBLIC_IMAGE"])
    assert len(reads) in {1, 2}
