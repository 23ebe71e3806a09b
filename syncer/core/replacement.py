"""What an image that went was replaced by: one that came to its zone under the same name.

Names are compared as they are, and then without what a rebuild changes: case, blanks, and a stamp
at the end (a date, the seconds since 1970, ``build`` and a number). Versions are no stamps: 20.04.1
is not 20.04.2. Neither is a year, as Server 2019 is not Server 2022; nor a word, as Datacenter is
not Standard. A wrong replacement is worse than none, so nothing is guessed beyond that, and nothing
replaces an image of another type, or of another kind or family of operating system.

``syncer.image_replacements`` is the same in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from string import ascii_lowercase, ascii_uppercase
from typing import Final

import msgspec

SAME_NAME: Final = "same_name"
SIMILAR_NAME: Final = "similar_name"

LONGEST: Final = 500
"""Letters of a name that is compared: PostgreSQL's index holds no more than 2,700 bytes of each."""
_BLANK: Final = r" \t\n\v\f\r"
_MONTH: Final = "(?:0[1-9]|1[0-2])"
_DAY: Final = "(?:0[1-9]|[12][0-9]|3[01])"
_DATE: Final = f"20[0-9]{{2}}(?:{_MONTH}{_DAY}|[-._/]{_MONTH}[-._/]{_DAY})"
_TIME: Final = "(?:[01][0-9]|2[0-3]):?[0-5][0-9](?::?[0-5][0-9])?z?"
_STAMP: Final = (
    f"v?{_DATE}(?:[t _-]?{_TIME})?(?:[.-][0-9]{{1,2}})?"  # and a number within the day
    "|v?1[4-9][0-9]{8}"
    "|build[ ._:#-]{0,2}[0-9]+(?:[.][0-9]+)*"
)
STAMPS: Final = rf"(?:[{_BLANK}._(\[,@-]+(?:{_STAMP})[\])]*)+"
"""Stamps at the end of a name in small letters, as Python and PostgreSQL both read it."""
_AT_THE_END: Final = re.compile(rf"{STAMPS}\Z")
_BLANKS: Final = re.compile(f"[{_BLANK}]+")
_NOT_BETWEEN_DIGITS: Final = re.compile("(?<![0-9]) | (?![0-9])")
_SMALL: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
"""Letters beyond ASCII stay: what is small there depends on the database's language."""


class Image(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An image of a zone, as far as it may replace another one of that zone or be replaced."""

    image_id: str
    image_name: str | None
    image_type: str | None
    category: str | None
    os_type: str | None
    first_seen_at: datetime
    came_at: datetime
    """When it appeared or, if it was away, returned."""


class Replacement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An image that came under the name of one that went, and the rule that says so."""

    image_id: str
    rule: str


def plain_name(name: str) -> str:
    """Return what of a name a rebuild leaves: in small letters, without blanks and end stamps.

    Between two digits one blank stays: ``7 6`` is not ``76``. Nothing is left of a name that is too
    long.
    """
    if len(name) > LONGEST:
        return ""
    small = name.translate(_SMALL).strip(" \t\n\v\f\r")
    unstamped = _AT_THE_END.sub("", small) or small
    return _NOT_BETWEEN_DIGITS.sub("", _BLANKS.sub(" ", unstamped))


def rule_of(gone: Image, other: Image) -> str | None:
    """Return the rule by which one image replaces another of its zone (None: it does not)."""
    if gone.image_id == other.image_id or other.came_at <= gone.first_seen_at:
        return None
    if gone.image_name is None or other.image_name is None or _kind(gone) != _kind(other):
        return None
    plain = plain_name(gone.image_name)
    if not plain or plain != plain_name(other.image_name):
        return None
    return SAME_NAME if gone.image_name == other.image_name else SIMILAR_NAME


def replacements(gone: Image, present: Iterable[Image]) -> list[Replacement]:
    """Return what replaces an image: the same name before similar ones, the newest first.

    ``present`` are the images that are present in its zone and came after a whole look at it.
    """
    found = [(other, rule) for other in present if (rule := rule_of(gone, other)) is not None]
    found.sort(key=lambda pair: pair[0].image_id)
    found.sort(key=lambda pair: pair[0].came_at, reverse=True)
    found.sort(key=lambda pair: pair[1] != SAME_NAME)
    return [Replacement(image_id=other.image_id, rule=rule) for other, rule in found]


def decoded(listed: object) -> tuple[Replacement, ...]:
    """Return what a statement says of replacements: JSON text, or None for none."""
    if listed is None:
        return ()
    return msgspec.json.decode(str(listed), type=tuple[Replacement, ...])


def in_words(found: Sequence[Replacement]) -> str:
    """Return what replaces an image for people, by rule: the first few of each."""
    said = []
    for rule, words in _WORDS.items():
        ids = [one.image_id for one in found if one.rule == rule]
        if ids:
            more = f" and {len(ids) - _SAID:,} more" if len(ids) > _SAID else ""
            said.append(f"{words}: {', '.join(ids[:_SAID])}{more}")
    return "; ".join(said)


_SAID: Final = 3
_WORDS: Final = {SAME_NAME: "now under its name", SIMILAR_NAME: "now under a similar name"}


def _kind(image: Image) -> tuple[str | None, ...]:
    values = (image.image_type, image.category, image.os_type)
    return tuple(value and value.translate(_SMALL) for value in values)
