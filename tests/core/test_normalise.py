"""From what the API sent to what is stored."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncer.core import line, normalise
from syncer.core.model import Tracked

NUL = "\x00"
unicode = st.text(st.characters(exclude_categories=()) | st.sampled_from("\x00\ud800\udfff"))


def json_values(*, floats: bool) -> st.SearchStrategy[Any]:
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(-(10**1200), 10**1200)
        | st.decimals(allow_nan=False, allow_infinity=False)
        | st.sampled_from([Decimal("1e999999"), Decimal("-1e-5000"), Decimal("0E+9"), 10**903])
        | unicode
    )
    if floats:
        leaves |= st.floats()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(unicode, inner, max_size=4),
        max_leaves=15,
    )


def nested(depth: int, leaf: Any, *, objects: bool) -> Any:
    for _ in range(depth):
        leaf = {"k\x00": leaf} if objects else [leaf]
    return leaf


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, order) for item in value]
    return value


def decoded(text: str) -> Any:
    return msgspec.json.Decoder(float_hook=Decimal).decode(text)


@given(json_values(floats=True))
@example(nested(31, "\ud800", objects=True))
@example(nested(33, "\x00", objects=True))
@example(nested(200, Decimal("1e999999"), objects=False))
@settings(max_examples=40, deadline=None)
def test_canonical_text_is_what_jsonb_can_hold(value: Any) -> None:
    """Whatever came in is UTF-8 JSON without NUL or surrogates, at most 32 containers deep."""
    text = normalise.canonical({"a": value})
    read = json.loads(text.encode())
    assert depth_of(read) <= 32
    for string in strings(read):
        assert NUL not in string
        string.encode()


@given(json_values(floats=False))
@example(nested(40, {"b": 1, "a": [1.5]}, objects=False))
@settings(max_examples=40, deadline=None)
def test_what_was_made_storable_stays_as_it_is(value: Any) -> None:
    """Normalising twice, or storing and reading back, changes nothing more."""
    once = normalise.storable(value)
    assert normalise.storable(once) == once


plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**1200), 10**1200)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda f: Decimal(repr(f)))
    | unicode,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(unicode, inner, max_size=4),
    max_leaves=15,
)


@given(plain_json)
@settings(max_examples=40, deadline=None)
def test_canonical_text_read_again_gives_the_same_text(value: Any) -> None:
    """The text is a fixed point: no change is seen where there was none."""
    text = normalise.canonical({"a": value})
    assert normalise.canonical(decoded(text)) == text


@given(json_values(floats=False), st.randoms(use_true_random=False))
@example(nested(45, {"b": 1, "a": 2}, objects=True), random.Random(1))  # noqa: S311
@settings(max_examples=40, deadline=None)
def test_the_order_of_keys_does_not_matter(value: Any, order: random.Random) -> None:
    """Equal objects give equal text, in whatever order their keys came."""
    one = {"x": value, "b": 1, "a": 2}
    assert normalise.canonical(shuffled(one, order)) == normalise.canonical(one)


def test_deep_containers_are_kept_as_text() -> None:
    """The 33rd container is the JSON text of itself; what no encoder can walk is named so."""
    value: Any = normalise.storable(nested(34, 1, objects=False))
    for _ in range(32):
        [value] = value
    assert value == "[[1]]"
    value = normalise.storable(nested(100_000, 1, objects=False))
    for _ in range(32):
        [value] = value
    assert value == "(nested too deeply)"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        ("", ""),
        ("x", "x"),
        ("a\x00b\ud800c", "a\ufffdb\ufffdc"),
        ("\U0001f600é", "\U0001f600é"),
        (True, "true"),
        (False, "false"),
        (30, "30"),
        (10**400, "1" + "0" * 400),
        (Decimal("30.0"), "30.0"),
        (["b", 1], '["b",1]'),
        ({"b": 1, "a": "\x00"}, '{"a":"\ufffd","b":1}'),
    ],
)
def test_anything_becomes_text(value: Any, stored: str | None) -> None:
    """A number, boolean or container where text is documented is kept as its text."""
    assert normalise.text(value) == stored


@given(json_values(floats=True))
@settings(max_examples=40, deadline=None)
def test_text_can_always_be_stored(value: Any) -> None:
    """Text out of any JSON value is valid UTF-8 without NUL, or None for null alone."""
    text = normalise.text(value)
    assert (text is None) == (value is None)
    assert NUL not in (text or "")
    (text or "").encode()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (10**90, "1" + "0" * 90),
        (10**100, '"1' + "0" * 100 + '"'),
        (Decimal("1E+98"), "1E+98"),
        (Decimal("1E+100"), '"1E+100"'),
        (Decimal("1.50"), "1.50"),
        (-7, "-7"),
    ],
)
def test_numbers_beyond_any_use_become_text(number: Any, text: str) -> None:
    """Numbers are kept exactly; those that PostgreSQL's numeric may not hold become text."""
    assert normalise.canonical({"a": number}) == '{"a":' + text + "}"


SIZES: dict[str | None, str] = {
    None: "none",
    "": "empty",
    " ": "blank",
    "30": "30",
    "30.0": "30",
    "3e1": "30",
    "3E+1": "30",
    " 30 ": "30",
    "\t030.00\n": "30",
    "+30": "30",
    "300e-1": "30",
    "-30": "-30",
    "30GB": "30GB",
    "30 GB": "30 GB",
    "text:30GB": "text:30GB",
    "3 0": "3 0",
    "٣٠": "arabic 30",
    "0": "0",
    "-0": "0",
    "0.00": "0",
    "0e9": "0",
    "none": "the word none",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "1e100": "a text: the exponent is too long",
    "1e99": "1e99",
    "1" + "0" * 28 + "1": "30 digits ending in 1",
    "1" + "0" * 28 + "2": "30 digits ending in 2",
    "1" + "0" * 28 + "1.0": "30 digits ending in 1",
    "9" * 31: "31 digits",
}


@given(st.sampled_from(list(SIZES)), st.sampled_from(list(SIZES)))
@settings(max_examples=180, deadline=None)
def test_sizes_are_one_only_where_their_numbers_are(one: str | None, other: str | None) -> None:
    """Sizes compare by number where they are one, else by their text."""
    equal = normalise.size_key(one) == normalise.size_key(other)
    assert equal == (SIZES[one] == SIZES[other])


def test_the_known_spellings_of_a_size_are_one() -> None:
    """The examples of the design hold; a unit is no number, and empty is not null."""
    assert {normalise.size_key(size) for size in ("30", "30.0", "3e1", " 30 ")} == {"30"}
    assert normalise.size_key("30GB") != normalise.size_key("30")
    assert normalise.size_key("") != normalise.size_key(None)
    assert normalise.size_key("1e30") == "1" + "0" * 30


values = st.sampled_from([None, "", "a", "30", "30.0", "null", "a\x1f"])
tracked_values: st.SearchStrategy[Tracked] = st.tuples(
    values, values, st.sampled_from(list(SIZES)), values, values, values, values, values
)


@given(tracked_values, tracked_values, st.lists(st.booleans(), min_size=8, max_size=8))
@settings(max_examples=120, deadline=None)
def test_fingerprints_are_equal_where_the_values_are(
    one: Tracked, other: Tracked, take: list[bool]
) -> None:
    """Digests are equal if and only if no tracked column differs, sizes compared by number."""
    mixed: Tracked = tuple(a if kept else b for a, b, kept in zip(one, other, take, strict=True))
    differs = [
        place
        for place, (was, now) in enumerate(zip(one, mixed, strict=True))
        if (SIZES[was] != SIZES[now] if place == 2 else was != now)
    ]
    digests = [line.image("id", tracked).fingerprint for tracked in (one, mixed)]
    assert (digests[0] == digests[1]) == (not differs)
    assert len(normalise.changed_fields(one, mixed)) == len(differs)


def test_changed_fields_are_named_in_the_order_of_the_columns() -> None:
    """Only tracked columns that differ are named; a size that is the same number is not."""
    was: Tracked = ("n", "t", "30", None, "1", "s", "c", "linux")
    now: Tracked = ("n", "t", "30.0", "", "2", "s", "c", None)
    assert normalise.changed_fields(was, now) == ("image_description", "image_version", "os_type")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ('{"a":1,"b":[2]}', '{"b": [2], "a": 1}', True),
        ('{"a":1.50}', '{"a": 1.5}', True),
        ('{"a":1E+3}', '{"a": 1000}', True),
        ('{"a":0.1}', '{"a": 0.10000000000000000555}', False),
        ('{"a":1}', '{"a": 2}', False),
        ('{"a":"1"}', '{"a": 1}', False),
        ('{"a":null}', "{}", False),
        ('{"a":[1,2]}', '{"a": [2, 1]}', False),
        (
            '{"a":true}',
            '{"a": 1}',
            False,
        ),
    ],
)
def test_json_is_the_same_however_jsonb_spells_it(one: str, other: str, equal: bool) -> None:
    """Order of keys, spaces and spelling of numbers do not matter; every value does."""
    assert normalise.same_json(one, other) is equal
    assert normalise.same_json(one, one)
