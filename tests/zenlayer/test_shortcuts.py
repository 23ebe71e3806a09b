"""Short cuts through a page: whichever is taken, it comes out as it does row by row."""

from __future__ import annotations

import json
import operator
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core import digests
from syncer.core.errors import ApiError, TornRead
from syncer.core.normalise import size_key
from syncer.core.page import KnownPage, Page
from syncer.simulator import World
from syncer.zenlayer import wire
from syncer.zenlayer.rows import read_page as read_plainly
from syncer.zenlayer.rows import read_rows
from syncer.zenlayer.shortcuts import read_documented, read_page
from syncer.zenlayer.sources import SOURCES, Source
from syncer.zenlayer.sources.bmc import BMC
from syncer.zenlayer.sources.vm import VM
from syncer.zenlayer.sources.zec import ZEC

NAMES = ("imageId", *VM.fields.values())
OTHERS = ("nicNetworkType", "imageSource", "minDiskSize", "tags")
ODD = msgspec.structs.replace(ZEC, fields={"os_type": "osType", "min_disk_size": "tags"}, others=())
texts = st.text(st.characters(codec=None), max_size=6) | st.sampled_from(
    ["30", "30.0", "3e1", "", " ", "\x00", "\ufffd", "\ud800", "x" * 600, "\\u0000", "\x00id"]
)
values = texts | st.none()
documented = st.fixed_dictionaries({"imageId": texts}, optional=dict.fromkeys(NAMES[1:], values))
anything: st.SearchStrategy[Any] = (
    values
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just({"a": []})
)
json_values = st.recursive(
    anything, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2)
) | st.sampled_from(
    [["b", "a"], ["a", "b"], ["huge", -0.0, 2**70], "deep", "x" * 2000, {"b": 1, "a": 1.0}]
)
with_others = st.builds(
    operator.or_,
    documented,
    st.dictionaries(st.sampled_from(OTHERS), json_values, max_size=4),
)
calm = st.fixed_dictionaries(
    {"imageId": st.sampled_from("abcdef")},
    optional=dict.fromkeys(
        OTHERS,
        st.sampled_from([None, 20, "20", ["b", "a"], ["a", "b"], {"b": 1, "a": 1.0}, "deep"]),
    ),
)
"""Read fast, where the service has such fields."""
rows = (
    documented
    | with_others
    | st.dictionaries(st.sampled_from([*NAMES, *OTHERS, "\x008", "field_0", "new"]), anything)
)


def reply(source: Source, items: list[Any]) -> bytes:
    """A page, as the source has it."""
    total = {source.total: 7} if source.total else {}
    text = json.dumps({"response": {**total, source.rows: items}})
    text = text.replace('"huge"', "1e400")
    return text.replace('"deep"', "[" * 600 + "]" * 600).encode()


def read(source: Source, known: KnownPage | None, items: list[Any]) -> Page:
    return read_page(source, known, status=200, headers={}, body=reply(source, items))


@pytest.mark.parametrize("source", [VM, ZEC, BMC, ODD], ids=lambda source: source.service)
@given(
    items=st.lists(rows | documented, max_size=5)
    | st.lists(documented, max_size=5)
    | st.lists(with_others, max_size=5)
    | st.lists(calm, max_size=5)
)
def test_a_page_comes_out_as_its_rows_do(source: Source, items: list[Any]) -> None:
    """For any page: same images, same digests, same count of rejected rows, known or not."""
    response = wire.read(status=200, headers={}, body=reply(source, items)).response
    plain = read_plainly(source, response)
    known = KnownPage(plain.digest, plain.served)
    other = KnownPage(b"", 0)
    for page in (read(source, None, items), read(source, known, items), read(source, other, items)):
        assert plain.rows.images() == page.rows.images()
        assert plain.rows.digests() == page.rows.digests()
        assert (plain.rows.rejected, plain.rows.ids) == (page.rows.rejected, page.rows.ids)
        assert (plain.served, plain.total, plain.digest) == (page.served, page.total, page.digest)


@pytest.mark.parametrize(
    "row", [b'"\xff"', b'{"imageId":"\xff"}', b'"\\x"', b"01", b"{", b"nul", b'"\n"']
)
def test_what_is_no_json_is_refused_though_it_is_not_read(row: bytes) -> None:
    """A page that is to be compared is as good as one that is read: the call is made again."""
    body = reply(VM, ["row"]).replace(b'"row"', row)
    for known in (None, KnownPage(b"", 0)):
        with pytest.raises(TornRead):
            read_page(VM, known, status=200, headers={}, body=body)


@pytest.mark.parametrize(
    "reply",
    [
        {"response": {"totalCount": 1, "more": {"dataSet": [{"imageId": "img"}]}}},
        {"response": {"totalCount": 1, "dataSet": {"dataSet": [{"imageId": "img"}]}}},
        {"response": {"totalCount": 1, "dataSet": None, "a": {"dataSet": [{"imageId": "img"}]}}},
        {"response": {"totalCount": 1}, "dataSet": [{"imageId": "img"}]},
        {"dataSet": [{"imageId": "img"}], "response": {"totalCount": 0, "dataSet": None}},
    ],
)
def test_a_list_that_stands_elsewhere_is_not_the_list_of_rows(reply: dict[str, Any]) -> None:
    """However it is named: the page comes out, or is refused, as in the plain way."""
    body = json.dumps(reply).encode()
    raw = json.dumps([{"imageId": "img"}]).encode()
    same = KnownPage(digests.of_page(raw), 1)
    outcomes = set[str]()
    for way in (
        partial(wire.read_response, partial(read_plainly, VM)),
        *(partial(read_page, VM, known) for known in (None, KnownPage(b"", 0), same)),
    ):
        try:
            page = way(status=200, headers={}, body=body)
            outcomes.add(f"{page.rows.ids} {page.rows.rejected} of {page.total}")
        except ApiError as error:
            outcomes.add(repr(error))
    assert 1 == len(outcomes), outcomes


def test_documented_rows_are_read_fast() -> None:
    """The fast way is taken, by pages with every field and by those where some are null."""
    row = dict.fromkeys(NAMES, "text")
    raw = json.dumps([row, {**row, "imageId": "other", "imageName": None}]).encode()
    rows = read_documented(VM, raw)
    assert rows is not None
    assert ["text", "other"] == [image.image_id for image in rows.images()]


@pytest.mark.parametrize("service", [*SOURCES])
def test_every_page_of_the_simulator_is_read_fast(service: str) -> None:
    """Whatever the service: its map of fields and the names of others are data."""
    source = SOURCES[service]
    world = World.generate(seed=1, zones=2, images=200, service=service)
    for zone in ["*"] if world.unzoned else world.zones():
        raw = json.dumps(list(world.images(zone).values())).encode()
        fast, plain = read_documented(source, raw), read_rows(source, raw)
        assert fast is not None
        assert plain.images() == fast.images()


@pytest.mark.parametrize(
    "change",
    [
        {"new": "field"},
        {"imageSize": 30},
        {"imageId": "a\ufffd"},
        {"imageId": " "},
        {"imageId": None},
        {"imageName": "a\x00b"},
        {"imageName": "\ud800"},
    ],
)
def test_what_would_be_altered_is_not_read_fast(change: dict[str, Any]) -> None:
    """A new field, another type, an unusable id, text to clean: each leaves the fast way."""
    row = {**dict.fromkeys(NAMES, "text"), **change}
    assert read_documented(VM, json.dumps([row]).encode()) is None


def test_a_long_size_is_compared_by_its_number_too() -> None:
    """However much space surrounds it: only what is remembered of sizes is bounded."""
    assert size_key(" " * 50 + "30.0" + " " * 200) == "30"
