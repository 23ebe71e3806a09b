"""Globs as users write them for zones and images: ``*``, ``?`` and ``[abc]``, case-sensitive."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_LONGEST: Final = 1000
_MOST_STARS: Final = 20


def fault(pattern: str) -> str | None:
    """Return why a text is no glob that can be searched for, or None."""
    try:
        translated = regex(pattern)
        re.compile(translated)
    except re.error:
        return "it is not a glob: check its brackets"
    if len(translated) > _LONGEST or translated.count(".*") > _MOST_STARS:
        return f"it is too long: a glob has {_MOST_STARS} stars and {_LONGEST} letters at most"
    return None


@lru_cache
def regex(pattern: str) -> str:
    """Return an anchored regular expression that Python and PostgreSQL read alike."""
    out: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        first = 3 if pattern[position + 1 : position + 2] in {"!", "^"} else 2
        closing = pattern.find("]", position + first) if char == "[" else -1
        if char == "*":
            if out[-1:] != [".*"]:  # several say no more than one
                out.append(".*")
        elif char == "?":
            out.append(".")
        elif closing > 0:
            inside = pattern[position + 1 : closing]
            negated, members = ("^", inside[1:]) if inside[:1] in {"!", "^"} else ("", inside)
            escaped = re.sub(r"[\\\[&~|]", r"\\\g<0>", members).replace("--", r"\-\-")
            out.append(f"[{negated}{escaped}]")
            position = closing
        elif char.isalnum() or char == "_" or ord(char) > 127:  # noqa: PLR2004
            out.append(char)
        else:
            out.append(f"\\{char}")
        position += 1
    return f"^{''.join(out)}$"


def matches(pattern: str, text: str) -> bool:
    """Return whether the text matches the glob."""
    try:
        return re.fullmatch(regex(pattern), text, re.DOTALL) is not None
    except re.error:
        return False
