"""An image as a line: nothing is lost, nothing is mistaken, and digests differ where images do."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.line import (
    Block,
    digest_of,
    digests_of,
    image,
    image_id_of,
    image_of,
    line_of,
    lines_of,
    split,
)
from syncer.core.model import TRACKED, Tracked
from tests.support import tracked

PLAIN: Tracked = (
    *("Ubuntu", "PUBLIC_IMAGE", "30.0", None, "18.04", "AVAILABLE", "Ubuntu", "linux"),
)
GOLDEN = "5b1b8e59a910ef47e668ddb18406c7a5"
texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=5
) | st.sampled_from(
    ["\\N", "\\", "\\t", "\t", "\n", "\r", "\\\\N", "", "30", "30.0", "\u2028", "\x85", "\x0b"]
)
values = texts | st.none()
tracked_values: st.SearchStrategy[Tracked] = st.tuples(*[values for _ in TRACKED])
extras = st.none() | texts
rows = st.tuples(texts, tracked_values, extras)


@given(rows)
def test_an_image_comes_back_from_its_line(row: tuple[str, Tracked, str | None]) -> None:
    """Whatever text, null and empty are not confused: the line has it, and the same digests."""
    line = line_of(*row)
    assert image_of(line) == image(*row)
    assert (image_of(line).image_id, image_of(line).tracked, image_of(line).extra) == row
    assert image_id_of(line) == row[0]
    assert not {"\n", "\r"} & set(line)


@given(rows, rows)
def test_equal_lines_are_equal_images(
    one: tuple[str, Tracked, str | None], other: tuple[str, Tracked, str | None]
) -> None:
    """No text can pass for another column, another image or for null."""
    assert (line_of(*one) == line_of(*other)) == (one == other)


@given(st.lists(st.tuples(texts, *[values for _ in TRACKED])))
def test_rows_without_escapes_are_made_lines_at_once(rows: list[tuple[str | None, ...]]) -> None:
    """The quick way gives the lines of the slow one."""
    plain = [row for row in rows if not any(set(value or "") & set("\\\t\n\r") for value in row)]
    assert lines_of(plain) == [line_of(row[0] or "", row[1:]) for row in plain]


def test_digests_differ_by_id_columns_and_extra() -> None:
    """16 bytes of id and columns, then 16 of extra: each differs where its part does."""
    base = tracked(image_name="a", image_size="30")
    moved = tracked(image_type="a", image_size="30")
    made = [image("x", base), image("y", base), image("x", moved)]
    assert all(
        one.fingerprint != other.fingerprint for one, other in itertools.combinations(made, 2)
    )
    assert all((16, None) == (len(each.fingerprint), each.extra_digest) for each in made)
    with_extra = [image("x", base, extra) for extra in ("{}", '{"a":1}')]
    assert {made[0].fingerprint} == {each.fingerprint for each in with_extra}
    assert len({each.extra_digest for each in with_extra}) == 2
    assert all(16 == len(each.extra_digest or b"") for each in with_extra)


def test_sizes_that_compare_equal_have_equal_digests() -> None:
    """And another number another one; plain lines are digested as the others."""

    def line(size: str | None) -> str:
        return line_of("x", tracked(image_size=size))

    assert digest_of(line("30")) == digest_of(line("30.0")) == digest_of(line(" 3e1 "))
    assert len({digest_of(line(size)) for size in ("30", "31", "30GB", "", None)}) == 5
    lines = [line("30"), line(None), line("text:a")]
    assert digests_of(lines[:2], plain=True) == digests_of(lines[:2], plain=False)


@given(st.lists(rows, max_size=5))
def test_a_block_is_its_images(rows: list[tuple[str, Tracked, str | None]]) -> None:
    """Ids, images, texts of extra and digests of a block are those of its images, in order."""
    images = [image(*row) for row in rows]
    block = Block.of(images)
    assert list(block) == images
    assert block.ids() == [each.image_id for each in images]
    assert block.extras() == {each.extra for each in images if each.extra is not None}
    assert block.digests == [each.fingerprint + (each.extra_digest or b"") for each in images]
    assert sorted(block.lines) == list(block.sorted().lines)
    plain = b"".join(each.fingerprint for each in images if each.extra_digest is None)
    assert split(plain, 1) == {digest for digest in block.digests if len(digest) == 16}


def test_the_digest_of_an_image_without_later_columns_is_what_it_was() -> None:
    """A database of before is not written anew: these digests were made by the first release."""
    assert GOLDEN == image("img-1", PLAIN).fingerprint.hex()
    later = image("img-1", PLAIN, None, '{"image_source":"APP"}')
    other = image("img-1", PLAIN, None, '{"image_source":null}')
    assert 3 == len({GOLDEN, later.fingerprint.hex(), other.fingerprint.hex()})
    assert later.extra_digest is None


@pytest.mark.parametrize("extra", [None, '{"a":"\\\\N"}'])
@pytest.mark.parametrize("added", [None, '{"image_source":"a\\tb"}'])
def test_a_line_and_a_row_hold_all_of_an_image(extra: str | None, added: str | None) -> None:
    """With extra, later columns, both or none, a line is the image, and its row has all columns."""
    made = image("img-1", PLAIN, extra, added)
    block = Block.of([made])
    assert [made] == list(block)
    assert ({extra} if extra else set()) == block.extras()
    (row,) = block.rows("7", "later", 1)
    assert row.count("\t") == len(PLAIN) + 7
