"""Rows as documented are read fast, and come out as those that are read one by one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.normalise import size_key
from syncer.zenlayer.sources.base import Source
from syncer.zenlayer.sources.vm import VM

NARROW = msgspec.structs.replace(VM, fields=(*VM.fields[:-2], None, None))
NAMES = ("imageId", *(name for name in VM.fields if name))
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


def one_by_one(source: Source, items: list[Any]) -> list[Any]:
    """Read each row by the slow path: a row in front that no documented page holds forces it."""
    read = source.read_images(page([{"imageId": "first", "untracked": 1}, *items]))
    assert read.rows.images()[0].image_id == "first"
    return [read.rows.images()[1:], read.served - 1, read.rows.rejected, read.total]


def page(items: list[Any]) -> bytes:
    return json.dumps({"totalCount": 7, "dataSet": items}).encode()


@pytest.mark.parametrize("source", [VM, NARROW])
@given(items=st.lists(rows | documented, max_size=5) | st.lists(documented, max_size=5))
def test_a_page_comes_out_as_its_rows_do(source: Source, items: list[Any]) -> None:
    """For any page: same images, same digests, same count of rejected rows."""
    read = source.read_images(page(items))
    assert [read.rows.images(), read.served, read.rows.rejected, read.total] == one_by_one(
        source, items
    )


def test_documented_rows_are_read_fast() -> None:
    """The fast way is taken, by pages with every field and by those where some are null."""
    row = dict.fromkeys(NAMES, "text")
    raw = json.dumps([row, {**row, "imageId": "other", "imageName": None}]).encode()
    rows = VM._documented(raw)
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
    assert VM._documented(json.dumps([row]).encode()) is None


def test_a_long_size_is_compared_by_its_number_too() -> None:
    """However much space surrounds it: only what is remembered of sizes is bounded."""
    assert size_key(" " * 50 + "30.0" + " " * 200) == "30"
