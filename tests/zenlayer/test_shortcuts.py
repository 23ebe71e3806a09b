"""Short cuts through a page: whichever is taken, it comes out as it does row by row."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.normalise import size_key
from syncer.core.page import KnownPage, Page
from syncer.zenlayer import wire
from syncer.zenlayer.rows import read_page as read_plainly
from syncer.zenlayer.shortcuts import read_documented, read_page
from syncer.zenlayer.sources import Source
from syncer.zenlayer.sources.vm import VM

NARROW = msgspec.structs.replace(VM, fields={c: VM.fields[c] for c in ("os_type", "image_name")})
NAMES = ("imageId", *VM.fields.values())
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
rows = documented | st.dictionaries(st.sampled_from([*NAMES, "\x008", "field_0", "new"]), anything)


def reply(items: list[Any]) -> bytes:
    return json.dumps({"response": {"totalCount": 7, "dataSet": items}}).encode()


def read(source: Source, known: KnownPage | None, items: list[Any]) -> Page:
    return read_page(source, known, status=200, headers={}, body=reply(items))


@pytest.mark.parametrize("source", [VM, NARROW])
@given(items=st.lists(rows | documented, max_size=5) | st.lists(documented, max_size=5))
def test_a_page_comes_out_as_its_rows_do(source: Source, items: list[Any]) -> None:
    """For any page: same images, same digests, same count of rejected rows, known or not."""
    response = wire.read(status=200, headers={}, body=reply(items)).response
    plain = read_plainly(source, response)
    known = KnownPage(plain.digest, plain.served)
    for page in (read(source, None, items), read(source, known, items)):
        assert plain.rows.images() == page.rows.images()
        assert plain.rows.digests() == page.rows.digests()
        assert (plain.rows.rejected, plain.rows.ids) == (page.rows.rejected, page.rows.ids)
        assert (plain.served, plain.total, plain.digest) == (page.served, page.total, page.digest)


def test_documented_rows_are_read_fast() -> None:
    """The fast way is taken, by pages with every field and by those where some are null."""
    row = dict.fromkeys(NAMES, "text")
    raw = json.dumps([row, {**row, "imageId": "other", "imageName": None}]).encode()
    rows = read_documented(VM, raw)
    assert rows is not None
    assert ["text", "other"] == [image.image_id for image in rows.images()]


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
