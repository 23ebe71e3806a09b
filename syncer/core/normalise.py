"""From what the API sent to what is stored: text, canonical JSON, sizes.

Everything that JSON can carry comes out as something PostgreSQL can hold, and equal input gives
equal output whatever the order of keys.
"""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from syncer.core.model import TRACKED, Tracked

TOO_DEEP: Final = "(nested too deeply)"
MAX_DEPTH: Final = 32
"""Deeper containers in ``extra`` are kept as their JSON text: jsonb's own stack is bounded."""
_MAX_DIGITS: Final = 100
"""Longer numbers are kept as text: ``1e999`` is five characters, and a thousand in jsonb's text."""

REPLACEMENT: Final = "\ufffd"
"""What stands where a character cannot be stored: NUL, a lone surrogate."""
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")
_EXACT: Final = Context(prec=60)
_ALL_DIGITS: Final = Context(prec=_MAX_DIGITS)
_json: Final = msgspec.json.Encoder(decimal_format="number", order="deterministic")


def clean(value: str) -> str:
    """Return the text with ``REPLACEMENT`` for what PostgreSQL refuses: NUL, lone surrogates."""
    if value.isascii() and "\x00" not in value:
        return value
    return _UNSTORABLE.sub(REPLACEMENT, value)


def printable(value: str) -> str:
    """Return a text from outside as it may be shown: none of its characters steers a terminal.

    Those that are not printable (of control, of direction, ends of lines, none to be seen) are
    replaced. Everything that is shown to people passes through here, each part of a line by itself.
    """
    if value.isprintable():
        return value
    return "".join([char if char.isprintable() else REPLACEMENT for char in value])


def printable_lines(value: str) -> str:
    """Return a text of our own making, of several lines, with each of them printable."""
    return "\n".join(map(printable, value.split("\n")))


def text(value: Any) -> str | None:
    """Return a JSON value as the text that is stored where the API documents text."""
    if value is None:
        return None
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    return _json.encode(storable(value)).decode()


def storable(value: Any, depth: int = 0) -> Any:
    """Return a JSON value that jsonb can hold: cleaned text and keys, bounded numbers and depth."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return _flat(value)
        return {clean(key): storable(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return _flat(value)
        return [storable(item, depth + 1) for item in value]
    if isinstance(value, Decimal):
        return (
            value
            if abs(value.adjusted()) < _MAX_DIGITS > len(value.as_tuple().digits)
            else str(value)
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value.bit_length() < _MAX_DIGITS * 3 else str(value)
    return value


def _flat(value: Any) -> str:
    """Return a deep container as text; what even the encoder finds too deep is named so."""
    try:
        return clean(_json.encode(_cleaned(value)).decode())
    except RecursionError:
        return TOO_DEEP


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def canonical(value: dict[str, Any]) -> str:
    """Return an object as JSON text with sorted keys, storable as jsonb."""
    return _json.encode(storable(value)).decode()


def same_json(one: str, other: str) -> bool:
    """Return whether two JSON texts say the same (jsonb writes numbers and keys its own way)."""
    return one == other or _plain(one) == _plain(other)


def _plain(text: str) -> str:
    """Return JSON with sorted keys and each number in one form (jsonb knows no -0)."""
    value = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return json.dumps(value, sort_keys=True, default=_exact)


def _exact(number: Decimal) -> list[str]:
    return ["number", str(_ALL_DIGITS.plus(number.normalize(_ALL_DIGITS)))]


def size_key(size: str | None) -> str | None:
    """Return what an image size is compared by: "30", "30.0" and "3e1" are one."""
    if size is None:
        return None
    return _size_key(size) if len(size) < _MAX_DIGITS else _size_key.__wrapped__(size)


@lru_cache(maxsize=1024)
def _size_key(size: str) -> str:
    bare = size.strip(" \t\n\r\f\v")
    if not _NUMBER.fullmatch(bare):
        return f"text:{size}"
    number = Decimal(bare)
    return "0" if not number else format(number.normalize(_EXACT), "f")


def changed_fields(old: Tracked, new: Tracked) -> tuple[str, ...]:
    """Return the names of the tracked columns that differ, sizes compared by their number."""
    return tuple(
        name
        for name, was, now in zip(TRACKED, old, new, strict=True)
        if was != now and not (name == "image_size" and size_key(was) == size_key(now))
    )
