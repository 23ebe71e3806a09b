"""Globs as users write them for zones and images: ``*``, ``?`` and ``[abc]``, case-sensitive."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache
def regex(pattern: str) -> str:
    """Return an anchored regular expression that Python and PostgreSQL read alike."""
    out = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        first = 3 if pattern[position + 1 : position + 2] in {"!", "^"} else 2
        closing = pattern.find("]", position + first) if char == "[" else -1
        if char == "*":
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
