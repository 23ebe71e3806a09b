"""JSON from outside: what the fast parser refuses is read all the same, or named.

msgspec refuses lone surrogates, very long integers and deep nesting: all are JSON.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import msgspec

from syncer.core.errors import BadPayload, TornRead
from syncer.core.normalise import TOO_DEEP

T = TypeVar("T")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode JSON that may hold what msgspec refuses (lone surrogates, huge numbers, deep nesting).

    Raises TornRead where it is no JSON at all, BadPayload where it is not of the decoder's shape.
    """
    try:
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise TornRead(f"the reply is not UTF-8 ({error.reason})", code="TORN_READ") from error
    except (RecursionError, msgspec.DecodeError):
        pass
    try:
        return decoder.decode(_repaired(_pruned(body)))
    except msgspec.ValidationError as error:
        raise BadPayload(f"the reply has another shape: {error}", code="BAD_PAYLOAD") from error
    except (ValueError, msgspec.DecodeError) as error:
        raise TornRead(f"the reply is not JSON ({error})", code="TORN_READ") from error


_MAX_DEPTH: Final = 64
_MAX_INTEGER: Final = 300
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def _pruned(body: bytes) -> bytes:
    """Return the JSON with every container deeper than any parser goes replaced by a remark."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        mark = token.group()
        if mark in b"[{":
            depth += 1
            if depth == _MAX_DEPTH:
                kept.append(body[start : token.start()])
        elif mark in b"]}":
            if depth == _MAX_DEPTH:
                kept.append(b'"' + TOO_DEEP.encode() + b'"')
                start = token.end()
            depth -= 1
    if depth >= _MAX_DEPTH:
        raise TornRead("the reply is not JSON (it ends in the middle)", code="TORN_READ")
    kept.append(body[start:])
    return b"".join(kept)


def _repaired(body: bytes) -> bytes:
    """Return the JSON again, as the standard library reads it, in a form that msgspec takes.

    Lone surrogates become U+FFFD; integers longer than msgspec reads become text.
    """
    value = json.loads(
        body.decode("utf-8-sig"),
        parse_float=number,
        parse_int=_integer,
        parse_constant=_refuse_constant,
    )
    return _encoder.encode(_without_surrogates(value))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value


def number(literal: str) -> Decimal | str:
    """Return a number exactly, or its text where its exponent is beyond what Decimal holds."""
    try:
        return Decimal(literal)
    except InvalidOperation:
        return literal


def _integer(literal: str) -> int | str:
    return int(literal) if len(literal) <= _MAX_INTEGER else literal


def _refuse_constant(literal: str) -> Any:
    raise ValueError(f"{literal} is not JSON")
