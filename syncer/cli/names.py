"""Names that a shell completes: accounts, services, zones, images, baselines, runs.

They come from the settings and from the database as it is: nothing is started for them, nothing is
said, and a database that does not answer at once completes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from syncer.store.names import Names

AT_MOST: Final = 0.3
"""Seconds that a database has to answer."""
_LAST_RESORT: Final = 0.3
"""Seconds after which the process ends, where something of the asking cannot be cancelled."""
_TYPEABLE: Final = re.compile(r"[\w@%+=:,./][\w@%+=:,./-]*", re.ASCII)
"""A name that a shell takes as it is. Another is not offered: a shell would run what is in it."""
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def complete(kind: str) -> Complete:
    """Return what completes names of a kind: account, zone, image, baseline, run."""

    def named(
        context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _items(_stored(kind, incomplete, context))

    return named


def complete_service(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a service."""
    from syncer.zenlayer.sources import SOURCES  # noqa: PLC0415

    return _items([(name, None) for name in SOURCES if name.startswith(incomplete)])


def complete_pinned(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a baseline, or the name of a file."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    files = CompletionItem(incomplete, type="file")
    return [files, *_items(_stored("baseline", incomplete, context))]


def _items(names: Iterable[tuple[str, str | None]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from syncer.core.normalise import printable  # noqa: PLC0415

    return [
        CompletionItem(name, help=printable(text) if text else None)
        for name, text in names
        if _TYPEABLE.fullmatch(name)
    ]


def _stored(kind: str, prefix: str, context: click.Context) -> Names:
    """Return the names that begin so, or none if they are not at hand in time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # whatever goes wrong, the user is typing
    found: Names = []

    def look() -> None:
        with contextlib.suppress(Exception):  # likewise
            found.extend(_look(kind, prefix, context))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(AT_MOST)
    if looking.is_alive():
        last_resort = threading.Timer(_LAST_RESORT, os._exit, [0])
        last_resort.daemon = True
        last_resort.start()
    return list(found)


def _look(kind: str, prefix: str, context: click.Context) -> Names:
    import anyio  # noqa: PLC0415  (start-up: only for names)

    from syncer.config.settings import load_with_faults  # noqa: PLC0415
    from syncer.store.connection import Timing  # noqa: PLC0415
    from syncer.store.names import starting_with  # noqa: PLC0415
    from syncer.store.open import place_at_hand  # noqa: PLC0415

    settings = load_with_faults().settings

    async def ask() -> Names:
        return await starting_with(
            place_at_hand(settings.database),
            kind,
            prefix,
            accounts=_given(context, "account"),
            services=_given(context, "service"),
            timing=Timing(connect=AT_MOST, close=AT_MOST),
        )

    known = settings.names if kind == "account" and len(settings.names) > 1 else ()
    return [(name, None) for name in known if name.startswith(prefix)] or anyio.run(ask)


def _given(context: click.Context, name: str) -> tuple[str, ...]:
    """Return what was typed for an option that may be repeated, or may not be."""
    given = context.params.get(f"{name}s") or context.params.get(name) or ()
    return (given,) if isinstance(given, str) else tuple(given)
