"""Globs as users write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.glob import matches, regex


@pytest.mark.parametrize(
    ("pattern", "text", "yes"),
    [
        ("HKG-A", "HKG-A", True),
        ("HKG-A", "hkg-a", False),
        ("HKG-A", "HKG-AB", False),
        ("HKG-A", "xHKG-A", False),
        ("HKG-A", "HKG-A\n", False),
        ("HKG-*", "HKG-A", True),
        ("HKG-*", "HKG-", True),
        ("HKG-*", "HKG", False),
        ("*", "", True),
        ("*", "any\nthing", True),
        ("?", "a", True),
        ("?", "", False),
        ("?", "ab", False),
        ("[AB]x", "Ax", True),
        ("[AB]x", "Cx", False),
        ("[!AB]x", "Cx", True),
        ("[^AB]x", "Ax", False),
        ("[A-C]", "B", True),
        ("[A-C]", "D", False),
        ("[]a]", "]", True),
        ("[!]a]", "b", True),
        ("[!]a]", "]", False),
        ("[a", "[a", True),
        ("[]", "[]", True),
        ("[!]", "[!]", True),
        ("a]", "a]", True),
        ("[[]", "[", True),
        (r"[\]", "\\", True),
        ("a.b", "a.b", True),
        ("a.b", "axb", False),
        ("a+(b)|{2}^$", "a+(b)|{2}^$", True),
        (r"\d", r"\d", True),
        (r"\d", "7", False),
        ("", "", True),
        ("", "a", False),
        ("镜像-*", "镜像-1", True),
        ("a b#c", "a b#c", True),
        ("[z-a]", "z", False),
    ],
)
def test_globs_match_as_users_expect(pattern: str, text: str, yes: bool) -> None:
    """Only ``*``, ``?`` and brackets are special; the whole text must match, in its case."""
    assert matches(pattern, text) is yes


@given(st.text(st.characters(exclude_characters="*?[", exclude_categories=["Cs"]), max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_glob_without_wildcards_matches_itself_alone(text: str) -> None:
    """Any text without wildcards is itself, and nothing longer."""
    assert matches(text, text)
    assert not matches(text, text + "x")
    assert not matches(text, text + "\n")


@given(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_star_matches_anything_between(before: str, between: str, after: str) -> None:
    """What stands between two fixed ends does not matter."""
    fixed = [re.sub(r"[*?\[]", "x", part) for part in (before, after)]
    assert matches("*".join(fixed), between.join(fixed))


@pytest.mark.parametrize("pattern", ["[a--b]", "[a&&b]", "[a~~b]", "[a||b]"])
def test_signs_in_brackets_are_no_operators(pattern: str) -> None:
    """Doubled signs in a bracket mean themselves; they bring no warning."""
    assert matches(pattern, "b")


globs = st.text("*?[]!^ab-z.\\(", max_size=10).filter(lambda text: "--" not in text)


@given(globs, st.text("ab]-!\\", max_size=5))
@settings(max_examples=90, deadline=None)
def test_no_glob_raises(pattern: str, text: str) -> None:
    """Whatever was typed, the answer is yes or no and the expression is anchored."""
    assert matches(pattern, text) in {True, False}
    assert regex(pattern).startswith("^")
    assert regex(pattern).endswith("$")
