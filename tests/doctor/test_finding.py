"""A finding, in words that are read at a glance."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncer.core.moment import age
from syncer.doctor.finding import (
    exit_code,
    failed,
    listed,
    ok,
    size,
    skipped,
    warning,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (259200, "3 d")],
)
def test_ages_are_read_at_a_glance(seconds: float, words: str) -> None:
    """An age is in the largest unit that it has two of."""
    assert words == age(seconds) == age(timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("octets", "words"),
    [(0, "0 B"), (1023, "1023 B"), (655360, "640 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes_are_read_at_a_glance(octets: int, words: str) -> None:
    """A size is in a unit that suits it."""
    assert words == size(octets)


def test_long_lists_are_cut() -> None:
    """Beyond a few names the rest are counted."""
    assert "a, b" == listed(["a", "b"])
    assert "0, 1, 2, 3, 4 and 1,995 more" == listed([str(n) for n in range(2000)])


def test_only_what_failed_is_an_exit_code() -> None:
    """1 if a line failed; warnings and what was skipped are 0."""
    findings = [ok("a", ""), warning("b", "", ""), skipped("c", "")]
    assert (0, 1) == (exit_code(findings), exit_code([*findings, failed("d", "", "")]))
