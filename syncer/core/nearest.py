"""What a person may have meant who wrote a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_LIKENESS: Final = 0.7
"""How like a known name must be, from 0 to 1, to be offered: difflib's ratio."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that may be meant, or None. Letters may be large or small."""
    from difflib import get_close_matches  # noqa: PLC0415  (start-up: only where needed)

    names = {each.casefold(): each for each in known}
    found = get_close_matches(name.casefold(), names, n=1, cutoff=_LIKENESS)
    return names[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: what may be meant, or nothing."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""
