"""Any bytes in: what PostgreSQL can store, or an error with a name, out.

``SYNCER_FUZZ_INPUTS=1000000 pytest -n 2 tests/zenlayer/test_reply_fuzz.py`` does the million;
``SYNCER_FUZZ_SEED=n SYNCER_FUZZ_INPUTS=1`` does again the one that failed.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from syncer.core import errors
from syncer.core.confirm import Question
from syncer.core.diff import differing, new_names
from syncer.core.errors import ApiError
from syncer.core.model import Image
from syncer.core.normalise import changed_fields, same_json
from syncer.core.page import Page
from syncer.core.paging import MAX_PAGES, Proof, Snapshot, Torn, ZoneRead
from syncer.zenlayer import wire
from syncer.zenlayer.rows import read_page, read_zones
from syncer.zenlayer.sources import SOURCES, Source
from tests.support import looked
from tests.zenlayer.fuzzing import IDS, SECRET, Fuzzed, fuzzed, smallest

INPUTS = int(os.environ.get("SYNCER_FUZZ_INPUTS") or 12_000)
FIRST = int(os.environ.get("SYNCER_FUZZ_SEED") or 0)
SHARD = 50_000
"""The most inputs of one test, so that pytest-xdist can share them out."""

LOOKED = looked("HKG-A")
BEGUN = Page.of((), 3000, rejected=1000)
"""A page 1 that plans two more."""

# What PostgreSQL takes, tried on 18.6: a btree row of 2704 bytes, with its neighbours in the key
# and both ends of a GiST page to spare; jsonb 10,000 deep but 20,000 not; numbers below 1e131072
# with 16,383 decimals; an object whose text, all exponents written out, is below 1 GB.
MAX_KEY = 1024
MAX_DEPTH = 500
MAX_EXPONENT = 131_072
MAX_DECIMALS = 16_383
MAX_BYTES = 4 << 20

MAX_SHOWN = 800
"""Characters of an error message: a line that a terminal and a log take."""


def assert_text(value: str) -> None:
    """What a text column and an element of jsonb take."""
    value.encode()
    assert "\x00" not in value


def assert_shown(value: str, most: int) -> None:
    """What may stand in a log line and on a terminal."""
    assert 0 < len(value) <= most, f"{len(value)} characters"
    assert value.isprintable(), value
    assert SECRET not in value


_json = msgspec.json.Encoder(decimal_format="number")


def _number(literal: str) -> Decimal:
    """A number as jsonb gives it back: all digits written out, and no zero with a sign."""
    number = Decimal(literal)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    assert -MAX_DECIMALS <= exponent, literal[:80]
    assert len(digits) + exponent < MAX_EXPONENT, literal[:80]
    return Decimal(format(number or abs(number), "f"))


def _refuse(literal: str) -> Any:
    raise AssertionError(f"{literal} is not JSON")


@lru_cache(maxsize=1 << 14)
def assert_jsonb(text: str) -> None:
    """What jsonb takes, and gives back as the same."""
    assert len(text.encode()) <= MAX_BYTES
    value = json.loads(text, parse_float=_number, parse_int=_number, parse_constant=_refuse)
    todo, depth = [value], 0
    while todo:
        depth += 1
        inner: list[Any] = []
        for part in todo:
            if isinstance(part, str):
                assert_text(part)
            elif isinstance(part, dict):
                for key in part:
                    assert_text(key)
                inner += part.values()
            elif isinstance(part, list):
                inner += part
        todo = inner
    assert depth <= MAX_DEPTH
    assert isinstance(value, dict)
    assert same_json(text, _json.encode(value).decode())


def assert_error(error: ApiError) -> None:
    """What is stored of a failure, logged and shown: short, printable, without a secret."""
    assert type(error).__module__ == errors.__name__
    assert_shown(error.code, 100)
    assert_shown(error.message, MAX_SHOWN)
    if error.request_id:
        assert_shown(error.request_id, 500)
    after = getattr(error, "after", None)
    assert after is None or 0 <= after <= wire.LONGEST_PAUSE


def assert_image(image: Image) -> None:
    """What the row of an image takes."""
    assert 0 < len(image.image_id.encode()) <= MAX_KEY
    assert_text(image.image_id)
    for value in filter(None, image.tracked):
        assert_text(value)
    assert 16 == len(image.fingerprint)
    assert (image.extra is None) == (image.extra_digest is None)
    if image.extra is not None:
        assert 16 == len(image.extra_digest or b"")
        assert_jsonb(image.extra)


def assert_rows(rows: Page) -> None:
    images = rows.rows.images()
    assert rows.served == len(images) + rows.rows.rejected == len(rows.rows)
    assert rows.total is None or -1 <= rows.total
    for image in images:
        assert_image(image)
    for name in new_names((), [image.extra for image in images if image.extra is not None]):
        assert 0 <= len(name.encode()) <= MAX_KEY
        assert_text(name)
    if len(images) > 1:
        changed_fields(images[0].tracked, images[1].tracked)


def assert_walk(rows: Page, *, paged: bool) -> Iterable[str]:
    """The reply as page 1, as page 2 of an honest walk and as the only page there is."""
    for first in (rows, BEGUN):
        reading = ZoneRead(1000, paged=paged)
        walk = reading.next_walk()
        assert walk is not None
        walk.take(1, first)
        remaining = walk.remaining()
        assert len(remaining) <= MAX_PAGES
        for number in remaining[:2]:
            walk.take(number, rows)
        assert walk.page_size > 0
        result = walk.finish(LOOKED, Proof(stored=(), lists=()))
        if isinstance(result, Torn):
            assert_shown(result.reason, 200)
            reading.stored = ()
            reading.done(walk, LOOKED)
            incomplete = reading.incomplete(LOOKED)
            assert_shown(incomplete.fault.message, 300)
        images, rejected = walk.salvage()
        assert [] == differing(images, {})
        if isinstance(result, Snapshot):
            assert (result.offered.images(), rejected) == (images, 0)
            yield "snapshot"


def assert_question(rows: Page) -> Iterable[str]:
    """The reply as the answer to a question by id, and again as its second page."""
    for counted in (True, False):
        question = Question(IDS, counted=counted)
        question.take(rows)
        if question.next_page is not None:
            question.take(rows)
        assert {*question.images()} <= question.shown()
        doubt = question.doubt()
        assert_shown(doubt or "none", 700)
        yield "answer" if doubt is None else "no answer"


def assert_source(source: Source, response: bytes) -> Iterable[str]:
    try:
        zones, unusable = read_zones(source, response)
    except ApiError as error:
        assert_error(error)
    else:
        yield "zones" if zones else "no zone"
        if unusable:
            yield "unusable zones"
        for zone in zones:
            assert 0 < len(zone.ref.zone_id.encode()) <= MAX_KEY
            assert_text(zone.ref.zone_id)
            assert_text(zone.name or "")
            assert_jsonb(zone.attributes)
    try:
        rows = read_page(source, response)
    except ApiError as error:
        assert_error(error)
        yield f"rows: {type(error).__name__}"
    else:
        yield "images" if rows.rows.images() else "no image"
        if rows.rows.rejected:
            yield "rejected"
        assert_rows(rows)
        yield from assert_walk(rows, paged=source.paged)
        yield from assert_question(rows)


def follow(reply: Fuzzed) -> Iterable[str]:
    """Take a reply all its way; yield what it came to. Whatever is raised is a defect."""
    headers = CIMultiDict(reply.headers)
    stamp = wire.server_time(headers)
    assert stamp is None or math.isfinite(stamp)
    try:
        answer = wire.read(status=reply.status, headers=headers, body=reply.body)
    except ApiError as error:
        assert_error(error)
        yield type(error).__name__
        return
    if answer.request_id:
        assert_shown(answer.request_id, 500)
    for source in SOURCES.values():
        yield from assert_source(source, answer.response)


def fault(reply: Fuzzed) -> Exception | None:
    """Return what is wrong with the way a reply takes, or None."""
    try:
        Counter(follow(reply))
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        return error
    return None


def fails_as(kind: type[Exception], reply: Fuzzed) -> bool:
    return type(fault(reply)) is kind


@pytest.mark.timeout(180)
@pytest.mark.parametrize("start", range(FIRST, FIRST + INPUTS, SHARD))
def test_any_reply_is_a_value_or_a_named_error(start: int) -> None:
    """No reply ends in what PostgreSQL refuses, in an unnamed exception or an ugly message."""
    seen: Counter[str] = Counter()
    for seed in range(start, min(start + SHARD, FIRST + INPUTS)):
        reply = fuzzed(seed)
        try:
            seen.update(follow(reply))
        except Exception as error:  # noqa: BLE001  (that is what is looked for)
            least = smallest(reply, partial(fails_as, type(error)))
            pytest.fail(f"SYNCER_FUZZ_SEED={seed}: {error!r}\nthe smallest: {least!r}")
    print(f"from seed {start}:", dict(seen.most_common()))  # noqa: T201  (shown by -rP)
    if INPUTS >= 5_000:
        assert not EVERY_END - seen.keys(), "the fuzz came nowhere near these"


EVERY_END = {
    *("images", "no image", "rejected", "snapshot", "answer", "no answer"),
    *("zones", "unusable zones", "no zone", "rows: BadPayload", "rows: TornRead"),
    *("BadPayload", "TornRead", "Throttled", "Unreachable", "Refused", "Denied"),
    *("ZoneNotFound", "SignatureExpired"),
}
"""What replies must come to, or the fuzz says nothing."""


any_text = st.text(st.characters(exclude_categories=()), max_size=9)
names = st.sampled_from(
    (
        *("requestId", "response", "code", "message", "dataSet", "totalCount", "zoneSet"),
        *("zoneId", "zoneName", "imageId", "imageName", "imageSize", "x"),
    )
)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**320), 10**4299) | st.floats() | any_text,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(names | any_text, inner, max_size=6)
    ),
    max_leaves=12,
)
answers = st.builds(
    lambda rows, total: {"response": {"dataSet": rows, "zoneSet": rows, "totalCount": total}},
    st.lists(st.dictionaries(names | any_text, any_json) | any_json, max_size=4),
    any_json,
)


@given(
    st.sampled_from((200, 404, 429, 503)) | st.integers(0, 999),
    st.dictionaries(st.sampled_from(("Retry-After", "date", "cf-mitigated")), st.text()),
    (answers | any_json).map(lambda value: json.dumps(value).encode()) | st.binary(),
    st.integers(0, 10_000),
)
@settings(max_examples=150, deadline=None)
def test_any_shape_is_a_value_or_a_named_error(
    status: int, headers: dict[str, str], body: bytes, cut: int
) -> None:
    """The same of whatever hypothesis thinks of, whole and cut off."""
    list(follow(Fuzzed(status, headers, body)))
    list(follow(Fuzzed(200, {}, body[: cut % (len(body) + 1)])))
