"""What a look at a zone changes in what is stored."""

from __future__ import annotations

import pytest

from syncer.core.diff import (
    Change,
    Columns,
    Diff,
    Stored,
    Tally,
    compare,
    differing,
    is_edited,
    new_names,
)
from syncer.core.line import image as made
from syncer.core.model import Image, Tracked
from syncer.core.page import Offered, Page
from tests.support import tracked

BASE = tracked(image_name="Ubuntu", image_size="30", image_version="18.04", os_type="linux")
RESIZED = tracked(image_name="Ubuntu", image_size="30.0", image_version="18.04", os_type="linux")
RENAMED = tracked(image_name="Renamed", image_size="30", image_version="18.04", os_type="bsd")

STORED = Columns(BASE)


def image(
    image_id: str = "a",
    tracked: Tracked = BASE,
    extra: str | None = None,
    added: str | None = None,
) -> Image:
    return made(image_id, tracked, extra, added)


def stored(
    row: Image, *, present: bool = True, unlisted: bool = False, digest: bytes | None = None
) -> Stored:
    return Stored(
        fingerprint=digest or row.fingerprint,
        extra_digest=row.extra_digest,
        present=present,
        unlisted=unlisted,
    )


def test_equal_rows_are_not_written() -> None:
    """A look that brings nothing new reads no columns and writes nothing."""
    images = {"a": image()}
    known = {"a": stored(image())}
    assert differing(images, known) == []
    diff = compare(images, known, {})
    assert not diff
    assert diff.tally() == Tally()


def test_what_was_never_stored_appears_in_key_order() -> None:
    """New images are written in the order of their ids, whatever order they came in."""
    images = [image(name) for name in ("c", "a", "b")]
    (block,) = Offered([Page.of(images, 3)]).blocks()
    assert [each.image_id for each in block] == ["a", "b", "c"]
    assert Diff(block).tally() == Tally(appeared=3)
    assert differing({each.image_id: each for each in images}, {}) == []


def test_a_tracked_column_that_differs_opens_a_version() -> None:
    """The change names its columns and keeps the values before it."""
    images = {"a": image(tracked=RENAMED)}
    known = {"a": stored(image())}
    assert differing(images, known) == ["a"]
    diff = compare(images, known, {"a": STORED})
    assert diff.changes == (Change(images["a"], "changed", ("image_name", "os_type"), STORED),)
    assert (len(diff.appeared), diff.refreshed) == (0, ())
    assert diff.tally() == Tally(changed=1)


def test_a_digest_alone_opens_no_version() -> None:
    """Another digest over equal columns (a new parser) is written in place."""
    images = {"a": image()}
    known = {"a": stored(image(), digest=b"another parser's")}
    assert differing(images, known) == ["a"]
    diff = compare(images, known, {"a": STORED})
    assert (diff.changes, diff.refreshed) == ((), (images["a"],))
    assert diff


def test_another_spelling_of_a_size_opens_no_version() -> None:
    """Sizes 30 and 30.0 are one: nothing is written, and nothing changed if it is."""
    images = {"a": image(tracked=RESIZED)}
    assert differing(images, {"a": stored(image())}) == []
    known = {"a": stored(image(), digest=b"x" * 16)}
    assert compare(images, known, {"a": STORED}).refreshed == (images["a"],)


def test_extra_alone_is_refreshed_in_place() -> None:
    """A new untracked value, or none where there was one, opens no version."""
    for now, was in (('{"x":1}', None), (None, '{"x":1}'), ('{"x":1}', '{"x":2}')):
        images = {"a": image(extra=now)}
        known = {"a": stored(image(extra=was))}
        assert differing(images, known) == ["a"]
        diff = compare(images, known, {"a": STORED})
        assert (diff.changes, diff.refreshed) == ((), (images["a"],))


@pytest.mark.parametrize(
    ("before", "now", "fields", "kept"),
    [
        pytest.param(None, '{"image_source":"APP"}', (), '{"image_source":"APP"}', id="first"),
        pytest.param(None, '{"image_source":null}', (), '{"image_source":null}', id="first null"),
        pytest.param('{"image_source":"APP"}', None, (), '{"image_source":"APP"}', id="absent"),
        pytest.param(
            '{"image_source": "APP"}',
            '{"min_disk_size":"30"}',
            (),
            '{"image_source":"APP","min_disk_size":"30"}',
            id="another",
        ),
        pytest.param(
            '{"image_source": "APP"}',
            '{"image_source":"CUSTOM","min_disk_size":"30"}',
            ("image_source",),
            '{"image_source":"CUSTOM","min_disk_size":"30"}',
            id="changed, another filled",
        ),
        pytest.param(
            '{"image_source":null}',
            '{"image_source":"APP"}',
            ("image_source",),
            '{"image_source":"APP"}',
            id="null was known",
        ),
        pytest.param(
            '{"image_source":"APP"}',
            '{"image_source":null}',
            ("image_source",),
            '{"image_source":null}',
            id="null is said",
        ),
    ],
)
def test_a_later_column_is_compared_where_both_know_it(
    before: str | None, now: str | None, fields: tuple[str, ...], kept: str
) -> None:
    """A first value is filled in place; what is not sent any more keeps its value."""
    images = {"a": image(added=now)}
    known = {"a": stored(image(added=before), digest=b"another")}
    assert differing(images, known) == ["a"]
    held = Columns(BASE, before)
    diff = compare(images, known, {"a": held})
    (written,) = [change.image for change in diff.changes] or diff.refreshed
    assert (written.added, written.fingerprint) == (kept, images["a"].fingerprint)
    assert [change.fields for change in diff.changes] == ([fields] if fields else [])
    # A row that says so is not taken for one that was edited by hand; another is.
    assert is_edited(images["a"], Columns(BASE, kept), None) is False
    assert is_edited(images["a"], Columns(BASE, '{"image_source":"edited"}'), None) == (
        now is not None
    )


def test_an_image_that_is_back_has_returned() -> None:
    """A stored image that was removed returns, with or without another state."""
    for values, fields in ((BASE, ()), (RENAMED, ("image_name", "os_type"))):
        images = {"a": image(tracked=values)}
        known = {"a": stored(image(), present=False)}
        assert differing(images, known) == ["a"]
        diff = compare(images, known, {"a": STORED})
        assert diff.changes == (Change(images["a"], "returned", fields, STORED),)
        assert diff.tally() == Tally(returned=1)


def test_an_image_that_was_missed_and_is_seen_again_is_not_written() -> None:
    """It did not return, as it was never removed: only that it was missing is at an end."""
    assert differing({"a": image()}, {"a": stored(image(), unlisted=True)}) == []


def test_unlisted_images_are_no_part_of_a_diff() -> None:
    """What is stored and was not listed is left alone: a diff never removes."""
    diff = compare({}, {"a": stored(image())}, {})
    assert not diff
    assert diff.tally() == Tally()


def test_differing_ids_come_in_key_order() -> None:
    """Rows are locked in key order, so that two writers cannot deadlock."""
    images = {name: image(name, tracked=RENAMED) for name in ("c", "a", "b")}
    known = {name: stored(image(name)) for name in images}
    assert differing(images, known) == ["a", "b", "c"]
    diff = compare(images, known, dict.fromkeys(("c", "b", "a"), STORED))
    assert [change.image.image_id for change in diff.changes] == ["a", "b", "c"]


def test_new_names_in_extra_are_announced_once() -> None:
    """Only top-level names that were never seen are new, sorted and without repeats."""
    extras = ['{"zeta":{"inner":1},"alpha":2}', '{"alpha":3,"image_name":"x"}']
    assert new_names([], extras) == ["alpha", "zeta"]
    assert new_names(["alpha"], extras) == ["zeta"]
    assert new_names(["alpha", "zeta"], extras) == []
