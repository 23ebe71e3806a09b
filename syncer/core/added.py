"""The tracked columns that came after the first eight: what is known of them for one image.

They are kept together, as JSON text of an object: the text of each column whose field the API ever
sent for the image. So a name that is there with null was sent as null, and one that is not there is
not known: nothing is compared with it, and a first value opens no version. None is no such column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from syncer.core.model import ADDED
from syncer.core.normalise import canonical, text

Values = Mapping[str, str | None]
"""Text by column."""

_decoder = msgspec.json.Decoder(dict[str, str | None])


def values_of(added: str | None) -> dict[str, str | None]:
    """Return what is known, by column."""
    return {} if added is None else _decoder.decode(added)


def text_of(values: Values) -> str | None:
    """Return the text that values are kept as."""
    return canonical(dict(values)) if values else None


def value_of(value: Any) -> str | None:  # noqa: ANN401 - what JSON may say
    """Return a JSON value as its column holds it; of a list the order says nothing."""
    if isinstance(value, list):
        value = sorted(value, key=lambda item: text(item) or "")
    return text(value)


def merged(before: str | None, now: str | None) -> str | None:
    """Return what is known after a look: what it did not send keeps its value."""
    if before is None or now is None or before == now:
        return now if before is None else before
    return text_of(values_of(before) | values_of(now))


def changed(before: Values, now: Values) -> tuple[str, ...]:
    """Return the columns that are known on both sides and differ."""
    return tuple(
        name for name in ADDED if name in before and name in now and before[name] != now[name]
    )


def is_same(one: str | None, other: str | None) -> bool:
    """Return whether two texts say the same."""
    return one == other or values_of(one) == values_of(other)
