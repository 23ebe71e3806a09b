"""What a zone is known to have read may save work; it may never hide a change.

Whole replies go through the real reader, with what the look before left behind: digests of pages,
of the rows together, of each row; the pages held in memory or spooled.
"""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from syncer.core import known
from syncer.core.known import KeptRows, KnownRows, Look
from syncer.core.model import Image
from syncer.core.page import KnownPage, Page, Rows, first_names
from syncer.core.paging import Snapshot, Torn, Unchanged, Walk
from syncer.sync.spool import Spool
from syncer.zenlayer import shortcuts
from syncer.zenlayer.rows import read_rows
from syncer.zenlayer.shortcuts import read_documented, read_page
from syncer.zenlayer.sources import Source
from syncer.zenlayer.sources.vm import VM
from tests.support import call_large, looked, open_files

LOOKED = looked("HKG-A")
NAMES = list(VM.fields.values())
IDS = [f"img-{number}" for number in range(6)]
Row = dict[str, Any]
SHARED = [HealthCheck.function_scoped_fixture]  # what is large stays so for all examples

# Values that are one in this or that way of looking: 30 and "30", null and absent, text and its
# escapes, an empty list and none.
TEXTS = ["", " ", "30", "30.0", "3e1", "null", "true", "\u00e9", "e\u0301", "\x00", "\ufffd", "[]"]
ODD = [30, 30.0, 30.5, True, False, 0, -0.0, 10**19, [], {}, [30, "30"], {"a": None}, {"b": {}}]
texts = st.sampled_from([None, *TEXTS])
names = st.sampled_from(NAMES)
documented = st.dictionaries(names, texts, max_size=3)
undocumented = st.dictionaries(
    names | st.sampled_from(["note", "field_0", "imageid"]),
    st.sampled_from([None, *TEXTS, *ODD]),
    max_size=3,
)


@st.composite
def listings(draw: st.DrawFn) -> list[Row]:
    """Rows with an id each, all as documented or not."""
    kind = draw(st.sampled_from([documented, documented | undocumented, undocumented]))
    drawn: list[Row] = draw(st.lists(kind, max_size=len(IDS)))
    return [{"imageId": image_id, **row} for image_id, row in zip(IDS, drawn, strict=False)]


@st.composite
def edited(draw: st.DrawFn, rows: Sequence[Row]) -> list[Row]:
    """The rows after a few edits; what was there before is likely to be there still."""
    now = [dict(row) for row in rows]
    for _ in range(draw(st.integers(0, 3))):
        what = draw(st.sampled_from(["set", "set", "drop", "add", "remove", "twice", "order"]))
        row = draw(st.sampled_from(now)) if now else None
        if what == "add" or row is None:
            image_id = draw(st.sampled_from([*IDS, "new", "", None, 7]))
            now.append({"imageId": image_id, **draw(documented | undocumented)})
        elif what == "set":
            row |= draw(documented | undocumented)
        elif what == "drop" and len(row) > 1:
            del row[draw(st.sampled_from(sorted(row.keys() - {"imageId"})))]
        elif what == "remove":
            now.remove(row)
        elif what == "twice":
            now.append({**row, **draw(st.just(Row()) | documented)})
        else:
            now = draw(st.permutations(now))
    if draw(st.sampled_from([False] * 7 + [True])):  # no image at all
        now.append(draw(st.sampled_from([None, 7, "img-0", [], {}, [{"imageId": "img-0"}]])))
    return now


class Written:
    """How a zone is put into pages, and each page into bytes: seed 0 spells equal rows equally."""

    def __init__(self, size: int, seed: int, *, counted: bool = True) -> None:
        self.size = size
        self.counted = counted
        self.is_even = not seed
        self._random = random.Random(seed) if seed else None  # noqa: S311

    def replies(self, rows: Sequence[Row], total: int) -> Iterator[bytes]:
        for start in range(0, max(len(rows), 1) + (not self.counted) * self.size, self.size):
            yield self.reply(rows[start : start + self.size], total)

    def reply(self, rows: Sequence[Any], total: int) -> bytes:
        response = {"requestId": "T1", "dataSet": rows, "totalCount": total}
        if not self.counted:
            del response["totalCount"]
        if (chance := self._random) is None:
            return json.dumps({"response": response}).encode()
        response["dataSet"] = [
            dict(chance.sample(list(row.items()), len(row))) if isinstance(row, dict) else row
            for row in rows
        ]
        return json.dumps(
            {"response": dict(chance.sample(list(response.items()), len(response)))},
            ensure_ascii=chance.random() < 0.5,
            indent=chance.choice([None, 1]),
        ).encode()


written = st.builds(
    Written,
    st.integers(1, 4),
    st.sampled_from([0, 0, 1, 2, 3]),
    counted=st.sampled_from([True, True, False]),
)


def read(body: bytes, known: KnownPage | None) -> Page:
    return read_page(VM, known, status=200, headers={}, body=body)


def look(
    rows: Sequence[Row],
    how: Written,
    before: Look | None = None,
    known: KeptRows | None = None,
    *,
    total: int | None = None,
) -> Snapshot | Unchanged | Torn:
    """Read a zone with what the look before left behind."""
    walk = Walk(how.size, before=before, spooler=Spool().put)
    bodies = list(how.replies(rows, len(rows) if total is None else total))
    while remaining := walk.remaining():
        for number in reversed(remaining):
            body = bodies[number - 1] if number <= len(bodies) else how.reply([], total or 0)
            walk.take(number, read(body, walk.known(number)))
    if (shortcuts := walk.shortcuts) is not None and shortcuts.needs_rows:
        assert known is not None
        shortcuts.rows = stored(known)
    return walk.finish(LOOKED)


def stored(kept: KeptRows) -> KeptRows:
    """What is read of rows that were kept."""
    return KeptRows.unpacked(kept.base.packed(), kept.packed(), len(kept.rows().ids))


def whole(rows: Sequence[Row], how: Written, *, one_by_one: bool) -> tuple[Look, KeptRows | None]:
    """What a first look leaves behind, or (``one_by_one``) a look that found a change."""
    first = look(rows, how)
    assert isinstance(first, Snapshot)
    assert first.rows is None
    if not one_by_one:
        return first.look, None
    changed = msgspec.structs.replace(first.look, content=None, pages=())
    second = look(rows, how, changed)
    assert isinstance(second, Snapshot)
    known = second.rows
    return msgspec.structs.replace(second.look, has_rows=known is not None), known


def truth(rows: Sequence[Row]) -> dict[str, list[Image]]:
    """What the rows say, each read alone and the plain way."""
    found: dict[str, list[Image]] = {}
    for row in rows:
        for image in read_rows(VM, json.dumps([row]).encode()).images():
            found.setdefault(image.image_id, []).append(image)
    return found


def digests(look: Snapshot) -> frozenset[bytes]:
    """What is stored of a look's images, in digests."""
    return frozenset(digest for block in look.offered.blocks() for digest in block.digests)


def one_each(rows: Sequence[Row]) -> dict[str, Image]:
    return {image_id: images[0] for image_id, images in truth(rows).items()}


def content(image: Image) -> tuple[bytes, bytes | None]:
    """What makes it another image: a size of 30.0 is one of 30."""
    return image.fingerprint, image.extra_digest


def contents(images: dict[str, Image]) -> dict[str, tuple[bytes, bytes | None]]:
    return {image_id: content(image) for image_id, image in images.items()}


@pytest.fixture(params=["in memory", "spooled"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether zones of more than two images are large, and compared two images at a time."""
    spooled: bool = request.param == "spooled"
    if spooled:
        call_large(2, monkeypatch)
    return spooled


@given(data=st.data(), rows=listings(), then=written, now=written)
@settings(max_examples=100, deadline=None, suppress_health_check=SHARED)
def test_no_digest_ever_hides_a_change(
    data: st.DataObject, rows: list[Row], then: Written, now: Written, large: bool
) -> None:
    """What is stored, with the parts that are compared laid over it, is what is there now.

    Whatever was edited, reordered, repeated or moved between pages: a whole look is Unchanged only
    where every image is what it was, and no row that cannot be kept goes unnoticed.
    """
    first = look(rows, then)
    assert isinstance(first, Snapshot)
    stored = one_each(rows)
    assert stored == first.offered.images()
    before, known_rows = whole(rows, then, one_by_one=data.draw(st.booleans()))
    after = data.draw(edited(rows))
    if data.draw(st.booleans()):
        now.size, now.counted = then.size, then.counted
    total = data.draw(st.sampled_from([len(after), len(truth(after))]))
    if now.counted:  # who counts fewer rows than there are is not asked for the others
        after = after[: -(-total // now.size) * now.size or None]

    second = look(after, now, before, known_rows, total=total)

    event(type(second).__name__)
    there = truth(after)
    is_whole = sum(map(len, there.values())) == len(after) and all(
        content(image) == content(images[0]) for images in there.values() for image in images
    )
    if isinstance(second, Unchanged):
        assert contents(one_each(after)) == contents(stored)
        assert second.images == len(stored)
        assert is_whole
    elif isinstance(second, Snapshot):
        assert is_whole
        laid_over = {i: image for i, image in stored.items() if i in second.ids}
        if second.compared is not None:
            event("compared")
            read_anew = {image.image_id: image for image in second.compared.fresh.images()}
            assert contents(one_each(after)) == contents(laid_over | read_anew)
            assert stored.keys() - there.keys() == second.compared.missing
            assert not second.compared.is_same
        if (kept := second.rows) is not None and now.is_even:
            again = msgspec.structs.replace(second.look, has_rows=True)
            assert isinstance(look(after, now, again, kept, total=total), Unchanged)
            again = msgspec.structs.replace(again, pages=(), content=None)
            assert isinstance(look(after, now, again, kept, total=total), Unchanged)
        known = digests(first)
        blocks = list(second.offered.blocks(known))
        for block in blocks:
            laid_over |= {image.image_id: image for image in block}
        assert contents(one_each(after)) == contents(laid_over)
        assert sum(map(len, blocks)) == len({i for block in blocks for i in block.ids()})
        assert there.keys() == second.ids == second.offered.ids == second.offered.images().keys()


@given(data=st.data(), rows=listings(), share=st.sampled_from([0.5, 9.0, 9.0]))
@settings(max_examples=100, deadline=None)
def test_no_change_is_hidden_however_many_came_before(
    data: st.DataObject, rows: list[Row], share: float
) -> None:
    """Rows are kept once, then by what differs from them, then anew: they are those of the look."""
    how = Written(3, 0)
    before, kept = whole(rows, how, one_by_one=True)
    stored = one_each(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "_MOST_AMENDED", share)
        for _ in range(data.draw(st.integers(2, 8))):
            after = data.draw(edited(rows))
            total = len(truth(after))
            after = after[: -(-total // how.size) * how.size or None]  # others are not asked for
            found = look(after, how, before, kept, total=total)
            if isinstance(found, Torn):
                continue
            rows, there = after, one_each(after)
            if isinstance(found, Unchanged):
                assert contents(there) == contents(stored)
                before = found.look
                continue
            assert there.keys() == found.ids
            if found.compared is not None:
                event("amended" if kept and kept.packed() else "compared")
                fresh = {image.image_id: image for image in found.compared.fresh.images()}
                assert stored.keys() - there.keys() == found.compared.missing
                laid_over = {i: image for i, image in stored.items() if i in there} | fresh
                assert contents(there) == contents(laid_over)
            kept, stored = found.rows, there
            before = msgspec.structs.replace(found.look, has_rows=kept is not None)


def rows_of(numbers: Sequence[int]) -> KnownRows:
    """Rows as they are known: a digest, and an id that another row may have too."""
    return KnownRows(
        [sha256(b"%d" % number).digest() for number in numbers],
        [f"img-{number % 20}" for number in numbers],
    )


known_rows = st.lists(st.integers(0, 30), unique=True, max_size=20).map(rows_of)


@given(looks=st.lists(known_rows, min_size=2, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_kept_of_rows_is_what_the_last_look_had(looks: list[KnownRows]) -> None:
    """However many looks ago most of it was written; it is written anew where much differs."""
    kept = KeptRows(looks[0])
    for now in looks[1:]:
        kept = stored(kept).followed_by(now)
        had = kept.rows()
        assert dict(zip(now.digests, now.ids, strict=True)) == dict(
            zip(had.digests, had.ids, strict=True)
        )
        assert had == stored(kept).rows()
        differs = len(kept.gone) + len(kept.added.ids)
        assert kept.is_stored == (kept.base is not now)
        assert not kept.is_stored or differs <= len(now.ids) / 8


def test_a_change_keeps_what_changed_and_rows_stay_where_they_stood() -> None:
    """Of a thousand images one change is fifty bytes; after many, all is written again."""
    numbers = list(range(1000))
    kept = KeptRows(rows_of(numbers))
    assert kept.packed() is None
    for changes in range(1, 64):
        numbers[8 * changes] += 1000
        now = rows_of(numbers)
        kept = stored(kept).followed_by(now)
        assert now == kept.rows()
        if changes <= 62:
            assert kept.is_stored
            assert len(kept.packed() or b"") <= 50 * changes
    assert kept == KeptRows(rows_of(numbers))


@given(data=st.data(), rows=listings(), then=written, now=written)
@settings(max_examples=100, deadline=None, suppress_health_check=SHARED)
def test_order_and_spelling_alone_are_no_change(
    data: st.DataObject, rows: list[Row], then: Written, now: Written, large: bool
) -> None:
    """The same rows in another order, spelt in another way, are not compared.

    Rows may move to other pages where all are as documented or none is: a page is read as one.
    Where only some rows are spelt anew, these are, and they are what is stored.
    """
    moving = not rows or documented_alike(*rows)
    before, known = whole(rows, then, one_by_one=data.draw(st.booleans()))
    content = look(rows, then)
    assert isinstance(content, Snapshot)
    before = msgspec.structs.replace(before, content=content.look.content)
    now.size, now.counted = then.size, then.counted
    after = data.draw(st.permutations(rows)) if moving else rows

    second = look(after, now, before, known)

    if isinstance(second, Snapshot):
        assert second.compared is not None
        assert not second.compared.missing
        fresh = {image.image_id: image for image in second.compared.fresh.images()}
        assert contents(fresh).items() <= contents(one_each(rows)).items()
        return
    assert isinstance(second, Unchanged)
    assert second.images == len(rows)


def reading(rows: Sequence[Row], before: Look, known: KeptRows | None) -> list[str]:
    """The ids of the rows that are read when a zone lists these."""
    seen: list[str] = []
    plain = shortcuts._read_rows

    def spy(source: Source, raw: bytes | memoryview) -> Rows:
        found = plain(source, raw)
        seen.extend(found.ids)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortcuts, "_read_rows", spy)
        assert isinstance(look(rows, Written(3, 0), before, known), Snapshot | Unchanged)
    return seen


def test_only_rows_that_are_new_are_read() -> None:
    """None where the order alone is another, where one went, or one came back to its place."""
    rows = [{"imageId": f"img-{n}", "imageName": "\u00e9"} for n in range(7)]
    before, known = whole(rows, Written(3, 0), one_by_one=True)
    other = {"imageId": "img-2", "imageName": "other"}
    assert [] == reading(rows, before, known)
    assert [] == reading(rows[::-1], before, known)
    assert [] == reading([*rows[1:], rows[0]], before, known)
    assert [] == reading(rows[:-1], before, known)
    assert [] == reading(rows[1:], before, known)
    assert ["img-2"] == reading([*rows[:2], other, *rows[3:]], before, known)
    assert ["img-2"] == reading([other, *rows[3:], *rows[:2]], before, known)
    assert ["new"] == reading([{"imageId": "new"}, *rows], before, known)
    assert 7 == len(reading([{**row, "imageName": "all"} for row in rows], before, known))


def test_what_is_kept_is_of_every_row(large: bool) -> None:
    """The digest in any order sees a change of each; single ones are kept of one row an image."""
    rows: list[Row] = [{"imageId": f"img-{n}", "imageName": "text"} for n in range(7)]
    first = look(rows, Written(3, 0))
    assert isinstance(first, Snapshot)
    reordered = look(rows[::-1], Written(3, 0), first.look)
    assert isinstance(reordered, Unchanged)
    assert isinstance(look(rows[3:] + rows[:3], Written(3, 0), reordered.look), Unchanged)
    for n in range(7):
        after = [*rows[:n], {"imageId": f"img-{n}", "imageName": "other"}, *rows[n + 1 :]]
        assert isinstance(look(after[::-1], Written(3, 0), reordered.look), Snapshot)
    twice = [*rows, {"imageName": "text", "imageId": "img-0"}]
    changed = msgspec.structs.replace(first.look, pages=(), content=None)
    second = look(twice, Written(3, 0), changed, total=7)
    assert isinstance(second, Snapshot)
    assert second.rows is None


def test_what_went_follows_from_the_rows_that_did_not_come() -> None:
    """An image whose row is another now is not missing; a row that cannot be kept is noticed."""
    rows: list[Any] = [{"imageId": f"img-{n}", "imageName": "text"} for n in range(8)]
    before, known = whole(rows, Written(3, 0), one_by_one=True)
    other, new = {"imageId": "img-2", "imageName": "other"}, {"imageId": "new"}
    for after, missing in (
        (rows[:-1], {"img-7"}),
        (rows[2:], {"img-0", "img-1"}),
        ([*rows[:2], other, *rows[3:]], set[str]()),
        ([new, other, *rows[3:]], {"img-0", "img-1"}),
    ):
        second = look(after, Written(3, 0), before, known)
        assert isinstance(second, Snapshot)
        assert second.compared is not None
        assert missing == second.compared.missing
        assert {row["imageId"] for row in after} == second.ids
    assert isinstance(look(rows[:-1], Written(3, 0), before, known, total=8), Torn)
    odd: Any
    for odd in (7, {}, {"imageId": None}):
        assert isinstance(look([*rows, odd], Written(3, 0), before, known), Torn)
        assert isinstance(look([*rows, odd], Written(3, 0), before, known, total=8), Torn)


def test_of_each_row_that_is_new_its_own_id_is_kept() -> None:
    """What is kept where new rows alone were read is what is kept where all of them are."""
    rows: list[Row] = [{"imageId": f"img-{n}", "imageName": "text"} for n in range(8)]
    how = Written(3, 0)
    before, known = whole(rows, how, one_by_one=True)
    others = [{"imageId": image_id, "imageName": "other"} for image_id in ("img-6", "new", "img-1")]
    for after in ([*rows[:1], *others, *rows[4:6]], [*others[::-1], *rows[5:1:-1]]):
        second = look(after, how, before, known)
        assert isinstance(second, Snapshot)
        assert second.compared is not None
        assert whole(after, how, one_by_one=True)[1] == second.rows
        again = msgspec.structs.replace(second.look, has_rows=True)
        for place, row in enumerate(after):
            third = look([*after[:place], *after[place + 1 :]], how, again, second.rows)
            assert isinstance(third, Snapshot)
            assert third.compared is not None
            assert {row["imageId"]} == third.compared.missing


@pytest.mark.parametrize(
    "twice",
    [
        {"imageId": "img-1", "imageName": "other"},
        {"imageId": "img-1", "imageName": "text"},
        {"imageName": "text", "imageId": "img-1"},
        {"imageId": "new", "imageName": "twice"},
    ],
)
@pytest.mark.parametrize("place", [0, 3, 7])
def test_an_id_that_comes_twice_is_left_to_the_plain_way(twice: Row, place: int) -> None:
    """Whether its row is known, spelt anew or new: one image where both say the same, else none."""
    rows: list[Row] = [{"imageId": f"img-{n}", "imageName": "text"} for n in range(7)]
    how = Written(3, 0)
    before, known = whole(rows, how, one_by_one=True)
    after = [*rows[:place], twice, *rows[place:]]
    if twice["imageId"] == "new":
        after.append(twice)
    ids = {row["imageId"] for row in after}
    second = look(after, how, before, known, total=len(ids))
    is_same = twice.get("imageName") != "other"
    assert isinstance(second, Torn if not is_same else Snapshot if "new" in ids else Unchanged)


def test_a_page_is_known_by_its_number_where_size_and_hash_are_what_they_were() -> None:
    first = look(FIRST, Written(2, 0))
    assert isinstance(first, Snapshot)
    before = first.look
    assert [*before.pages, None] == [Walk(2, before=before).known(n) for n in range(1, 5)]
    assert Walk(3, before=before).known(1) is None
    assert Walk(2, before=msgspec.structs.replace(before, hash="other")).known(1) is None


def test_digests_of_another_hash_are_no_digests() -> None:
    """They say nothing, whatever they are: the zone is compared once, and is unchanged."""
    before, _ = whole(FIRST, Written(5, 0), one_by_one=False)
    again = look(FIRST, Written(5, 0), msgspec.structs.replace(before, hash="other"))
    assert isinstance(again, Unchanged)
    assert before == msgspec.structs.replace(again.look, unordered=None)
    changed = [{**FIRST[0], "imageName": "other"}, *FIRST[1:]]
    other = look(changed, Written(5, 0))
    assert isinstance(other, Snapshot)
    reordered = look(changed[::-1], Written(5, 0), other.look)
    assert isinstance(reordered, Unchanged)
    misleading = msgspec.structs.replace(
        before, hash="other", pages=other.look.pages, unordered=reordered.look.unordered
    )
    assert isinstance(look(changed, Written(5, 0), misleading), Snapshot)


def turned(row: Row) -> Row:
    """The row with its keys in another order."""
    return dict(reversed(row.items()))


def test_rows_with_their_keys_in_another_order_are_read_at_once() -> None:
    """Page 1 shows it: no further page is split, no digest of a row is looked for, all is read."""
    rows: list[Row] = [{"imageId": f"img-{n}", "imageName": "text"} for n in range(7)]
    respelt = [turned(row) for row in rows]
    for one_by_one in (False, True):
        before, known = whole(rows, Written(3, 0), one_by_one=one_by_one)
        before = msgspec.structs.replace(before, content=content_of(rows))
        assert ("imageId", "imageName") == before.names
        walk = Walk(3, before=before)
        for number, body in enumerate(Written(3, 0).replies(respelt, 7), 1):
            assert (walk.known(number) is None) == (number > 1)
            walk.take(number, read(body, walk.known(number)))
        assert walk.shortcuts is not None
        assert not walk.shortcuts.needs_rows
        second = walk.finish(LOOKED)
        assert isinstance(second, Unchanged)
        assert ("imageName", "imageId") == second.look.names
        assert second.look.unordered is None
        again = look(respelt[::-1], Written(3, 0), second.look, known)
        assert isinstance(again, Unchanged)
        assert again.look.unordered is not None
        other = [*respelt[:6], {"imageName": "other", "imageId": "img-6"}]
        assert isinstance(look(other, Written(3, 0), before, known), Snapshot)


def test_what_changes_back_and_is_spelt_anew_is_a_change() -> None:
    """Where new rows alone were read no content is kept, least of all the old one."""
    rows: list[Row] = [{"imageId": f"img-{n}", "imageName": "text"} for n in range(7)]
    other = [*rows[:6], {"imageId": "img-6", "imageName": "other"}]
    before, known = whole(rows, Written(3, 0), one_by_one=True)
    assert content_of(rows) == before.content
    second = look(other, Written(3, 0), before, known)
    assert isinstance(second, Snapshot)
    assert second.compared is not None
    for now in (rows, [turned(row) for row in rows]):
        assert isinstance(look(now, Written(3, 0), second.look), Snapshot)


def content_of(rows: Sequence[Row]) -> bytes | None:
    first = look(rows, Written(3, 0))
    assert isinstance(first, Snapshot)
    return first.look.content


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (b'[{"b": 1, "a": [{"c": 2}], "b": "}"}, {"z": 1}]', ("b", "a")),
        (b' [ { "imageId" : "img" } , 7', ("imageId",)),
        (b"[]", ()),
        (b"[{}]", ()),
        (b"[7]", ()),
        (b'[7, {"a": 1}]', ("a",)),
        (b'["{", {"a": 1}]', ()),
        (b'[{"a": NaN, "b": 1' + b"0" * 5000 + b"}]", ()),
        (rb'[{"a\u0000": 1}]', ()),
        (rb'[{"\ud800": 1}]', ()),
        (rb'[{"\t": 1}]', ()),
        (b'[{"a": "\xff"}]', ("a",)),
        (b'[{"a": "' + b"x" * 10_000 + b'"}]', ()),
        (b"[" + b'{"a":' * 3000, ()),
    ],
)
def test_the_names_of_a_first_row_are_read_or_not_known(raw: bytes, names: tuple[str]) -> None:
    assert names == first_names(raw) == first_names(memoryview(raw))


@pytest.mark.parametrize(
    ("then", "now", "alike"),
    [
        ("ab", "ab", True),
        ("ab", "ba", False),
        ("abc", "ac", True),
        ("ac", "abc", True),
        ("abc", "xcay", False),
        ("abc", "acb", False),
        ("", "ab", True),
        ("ab", "", True),
        ("ab", "cd", True),
    ],
)
def test_names_are_compared_in_the_order_that_both_have(then: str, now: str, alike: bool) -> None:
    before = msgspec.structs.replace(
        whole(FIRST, Written(5, 0), one_by_one=False)[0], names=(*then,)
    )
    assert alike == before.is_spelt_as((*now,))


FIRST: list[Row] = [{"imageId": f"img-{n}", **dict.fromkeys(NAMES, "text")} for n in range(5)]
CHANGES: list[tuple[Row, Row]] = [
    *(({name: "text"}, {name: new}) for name in NAMES for new in ("Text", "texu", None, 30)),
    *(({name: "text"}, {}) for name in NAMES),
    *(({}, {"note": new}) for new in ("a", None)),
    ({"note": None}, {}),
    ({"note": None}, {"note": "null"}),
    ({"note": "30"}, {"note": 30}),
    ({"note": 1}, {"note": True}),
    ({"note": 1}, {"Note": 1}),
    ({"note": []}, {"note": {}}),
    ({"note": {"a": [1, 2]}}, {"note": {"a": [2, 1]}}),
]


@pytest.mark.parametrize("more", [{}, {"other": 1}], ids=["documented", "with another field"])
def test_each_field_is_compared_by_itself(more: Row, large: bool) -> None:
    """One value of one image of five: that image is compared as it is now, and no other."""
    how = Written(2, 0)
    for place, (old, new) in product(range(5), CHANGES):
        others = [{**row, **more} for row in FIRST]
        plain = {name: value for name, value in others[place].items() if name not in old | new}
        rows, after = (
            [*others[:place], {**plain, **values}, *others[place + 1 :]] for values in (old, new)
        )
        first = look(rows, how)
        assert isinstance(first, Snapshot)

        second = look(after, how, first.look)

        assert isinstance(second, Snapshot)
        seen: dict[str, Image] = {}
        for block in second.offered.blocks(digests(first)):
            seen |= {image.image_id: image for image in block}
        changed = after[place]["imageId"]
        assert one_each(after)[changed] == seen[changed]
        # A row that is not as documented has all of its page read in another way.
        if documented_alike(rows[place], after[place]):
            assert {changed} == seen.keys()
        assert seen.keys() <= {row["imageId"] for row in after[place - place % 2 :][:2]}


def documented_alike(*rows: Row) -> bool:
    return 1 == len({read_documented(VM, json.dumps([row]).encode()) is None for row in rows})


@pytest.mark.parametrize("total", [4, 6, None])
def test_known_pages_with_another_total_are_no_whole_look(total: int | None, large: bool) -> None:
    """The bytes of each page are known, but totalCount counts more or fewer, or is absent."""
    how = Written(5, 0)
    first = look(FIRST, how)
    assert isinstance(first, Snapshot)
    assert isinstance(look(FIRST, how, first.look), Unchanged)
    how.counted = total is not None
    assert isinstance(look(FIRST, how, first.look, total=total), Torn if total else Snapshot)


def test_spooled_rows_keep_no_file_open_after_the_look(large: bool) -> None:
    """No open file outlives the look, even if no garbage is ever collected."""
    how, before = Written(2, 0), None
    gc.collect()
    gc.disable()
    try:
        files = open_files()
        for rows in (FIRST, FIRST, [*FIRST[:4], {"imageId": "new"}]):
            seen = look(rows, how, before)
            if isinstance(seen, Snapshot):
                before = seen.look
                assert large == (files != open_files())
                assert 5 == sum(map(len, seen.offered.blocks()))
            del seen
            assert files == open_files()
    finally:
        gc.enable()
