"""``syncer changes`` and ``syncer history``: what changed, and when it was seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import click
import msgspec

from syncer import files
from syncer.cli.columns import KIND, SEEN, WHAT_CHANGED, WHICH_IMAGE, Headed, time
from syncer.cli.command import Command
from syncer.cli.common import run, settings
from syncer.cli.names import complete
from syncer.cli.output import cut
from syncer.cli.show import (
    Derive,
    Filters,
    filters,
    moment_type,
    open_session,
    open_snapshot,
    require_images,
    require_zones,
    say_last_runs,
    show,
    unseen_images,
)
from syncer.config.settings import Settings
from syncer.core.errors import ConfigError, OutputFailed
from syncer.core.moment import Moment
from syncer.core.replacement import decoded, in_words
from syncer.store.reading import Answer, Reader

_POLL: Final = 2.0
"""Seconds from one question for new changes to the next, under ``--follow``."""
_VALUE: Final = 200
"""Letters, at most, that people are shown of what a field was or is."""
_FIRST_LOOKED_AT: Final = 1_000
"""The changes at the end of the feed among which the newest are looked for first."""
_TABLE: Final = (SEEN, KIND, *WHICH_IMAGE, WHAT_CHANGED)


def details(row: dict[str, Any]) -> dict[str, Any]:
    """Add the column ``details`` for people: what each field was and is, or what replaced it."""
    before, after = (msgspec.json.decode(str(row[side] or "{}")) for side in ("before", "after"))
    row["details"] = "; ".join(
        f"{name.removeprefix('image_')}: {_text(before.get(name))} -> {_text(after.get(name))}"
        for name in row["changed_fields"]
    ) or in_words(decoded(row["replaced_by"]))
    return row


def _text(value: object) -> str:
    return "(none)" if value is None else cut(str(value), _VALUE)


@click.command(cls=Command)
@filters()
@click.option(
    "--since",
    callback=moment_type(),
    metavar="TIME|AGE",
    show_default="all",
    help="Only changes since: 2d, or 2026-11-23T08:00 (UTC).",
)
@click.option(
    "--after",
    type=click.IntRange(0, 2**63 - 1),
    metavar="ID",
    show_default="all",
    help="Start after this change_id.",
)
@click.option(
    "--cursor",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="none",
    help="Start after the change_id in this file, then write the last one shown to it.",
)
@click.option("--follow", is_flag=True, help="Then wait for more, until interrupted.")
@click.option("--initial", is_flag=True, help="Include what the first look at a zone found.")
@run
async def changes(  # noqa: PLR0917  (click passes by name)
    filters: Filters,
    since: Moment | None,
    after: int | None,
    cursor: Path | None,
    follow: bool,
    initial: bool,
    output: str | None,
) -> None:
    """Show what appeared, changed, was removed or returned, in the order of the feed.

    --limit shows the newest; with --after or --cursor, the oldest. The feed holds the changes of
    runs that have ended; once a change_id was shown, no change with a lower one is added.
    """
    if follow and output == "json":
        raise click.UsageError("--follow never ends an array: use -o ndjson")
    if sum(x is not None for x in (after, cursor)) > 1:
        raise click.UsageError("give --after or --cursor, not both")
    if cursor is not None:
        after = _load(cursor)
        _try_to_save(cursor)  # or all would be shown, and shown again the next time
    feed = _Feed(filters, since, initial=initial, output=output, paged=not follow)
    async with open_session(settings()) as session:
        async with session.snapshot() as reader:
            require_zones(filters.zones, await reader.zone_ids(filters.accounts, filters.services))
            last = await feed.first(reader, after)
        _save(cursor, last)
        while follow:
            await anyio.sleep(_POLL)
            async with session.snapshot() as reader:
                last = await feed.rest(reader, last)
            _save(cursor, last)


async def show_changes(loaded: Settings) -> None:
    """Print a table of all changes except those of the first look at a zone."""
    feed = _Feed(Filters(), None, initial=False, output="table", paged=False)
    async with open_snapshot(loaded) as reader:
        await feed.first(reader, None)


class _Feed:
    """Prints changes, and returns the change_id up to which all have been printed."""

    def __init__(
        self,
        chosen: Filters,
        since: Moment | None,
        *,
        initial: bool,
        output: str | None,
        paged: bool,
    ) -> None:
        self._chosen = chosen
        self._since = since
        self._initial = initial
        self._output = output
        self._paged = paged
        self._headed = Headed()

    async def first(self, reader: Reader, after: int | None) -> int:
        """Print what there is; return the change_id after which to continue."""
        chosen = self._chosen
        since = None if self._since is None else (await reader.resolve(self._since))[0]
        head, pruned_to = await _head(reader)
        if after is not None:
            if after < pruned_to:
                raise ConfigError(
                    f"changes {after + 1} to {pruned_to} may be no longer kept (syncer prune): go "
                    f"on with --after {pruned_to}, or take stock anew with 'syncer images'"
                )
            if after > head:
                raise ConfigError(
                    f"there is no change {after}: the newest is {head}; is this the right database?"
                )
            return await self._print(reader, after, head, since, chosen.limit)
        newest = (*chosen.place, chosen.image, since, self._initial, chosen.limit)
        lowest = 0 if since is None else await _older_than(reader, since, head)
        after = await _start(reader, newest, chosen.limit, lowest, head)
        answer = await reader.ask("read/changes", *newest, after)
        empty = "No change. (A zone's first look is left out: --initial shows it.)"
        count = await self._show(
            reader, answer, details, empty, if_none=partial(require_images, reader, chosen)
        )
        if not count:
            await say_last_runs(reader, chosen, self._output, empty=True)
        return head

    async def rest(self, reader: Reader, after: int) -> int:
        """Print what came after a change_id; return the one after which to continue."""
        head, _ = await _head(reader)
        return await self._print(reader, after, head, None, None) if head > after else after

    async def _print(
        self, reader: Reader, after: int, head: int, since: object, limit: int | None
    ) -> int:
        last = after

        def remember(row: dict[str, Any]) -> dict[str, Any]:
            nonlocal last
            last = row["change_id"]
            return details(row)

        chosen = self._chosen
        answer = await reader.ask(
            "read/feed", *chosen.place, chosen.image, since, self._initial, limit, after
        )
        count = await self._show(reader, answer, remember, "No change since.")
        # Where the limit cut the answer, there may be more before the head.
        return last if limit is not None and count == limit else head

    async def _show(
        self,
        reader: Reader,
        answer: Answer,
        derive: Derive,
        empty: str,
        if_none: Callable[[], Awaitable[None]] | None = None,
    ) -> int:
        return await show(
            reader,
            answer,
            self._output,
            chosen=self._chosen,
            table=_TABLE,
            derive=derive,
            empty="" if self._headed.done else empty,
            headed=self._headed,
            paged=self._paged,
            if_none=if_none,
        )


async def _older_than(reader: Reader, instant: object, head: int) -> int:
    """Return a change_id up to which all changes are older than an instant."""
    (row,) = await reader.all("read/changes_before", instant)
    return head if row["change_id"] is None else int(row["change_id"])


async def _start(
    reader: Reader, newest: tuple[object, ...], limit: int | None, lowest: int, head: int
) -> int | None:
    """Return a change_id that all changes come after that are asked for; None: any may be.

    The newest are looked for in ever longer ends of the feed, down to ``lowest``: without a bound
    all history would be read.
    """
    width = _FIRST_LOOKED_AT
    while limit is not None and (after := head - width) > lowest:
        if len(await reader.all("read/changes", *newest, after)) >= limit:
            return after
        width *= 10
    return lowest or None


async def _head(reader: Reader) -> tuple[int, int]:
    """Return the last change, and the last of those that may have been deleted."""
    (row,) = await reader.all("read/feed_head")
    return row["change_id"], row["pruned_to"]


def _load(path: Path) -> int | None:
    try:
        held = files.read(path)
    except OSError as error:
        raise ConfigError(f"the cursor {path} cannot be read: {error.strerror}") from error
    if held is None:
        return None
    text = held.decode("ascii", "replace").strip()
    if not text.isdigit() or len(text) > 18:  # noqa: PLR2004  (fits a bigint)
        raise ConfigError(f"the cursor {path} holds no change_id: remove it to start again")
    return int(text)


def _save(path: Path | None, change_id: int) -> None:
    """Write the cursor once the changes are shown."""
    if path is None:
        return
    try:
        with files.replacing(path) as file:
            file.write(f"{change_id}\n".encode())
    except OSError as error:
        raise OutputFailed(f"the cursor {path} cannot be written: {error.strerror}") from error


def _try_to_save(path: Path) -> None:
    """Raise ConfigError where a cursor cannot be written."""
    try:
        files.try_replacing(path)
    except OSError as error:
        raise ConfigError(f"the cursor {path} cannot be written: {error.strerror}") from error


@click.command(cls=Command)
@click.argument("image", shell_complete=complete("image"))
@filters(images=False)
@run
async def history(image: str, filters: Filters, output: str | None) -> None:
    """Show the timeline of IMAGE (an id, or a name) in all zones and services.

    Withheld removals and zones that are gone are shown as they stand now.
    """
    async with open_snapshot(chosen=filters) as reader:

        async def unseen() -> None:
            raise await unseen_images(reader, [image])

        answer = await reader.ask("read/history", *filters.place, image, filters.limit)
        await show(
            reader,
            answer,
            output,
            chosen=filters,
            table=[
                SEEN,
                time("not_before", "NOT BEFORE", leave=1),
                KIND,
                *WHICH_IMAGE,
                WHAT_CHANGED,
            ],
            derive=details,
            empty="",
            if_none=unseen,
        )
