"""What the reading commands share: filters, moments, opening the store, printing an answer."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec

from syncer.cli.columns import Column, Headed
from syncer.cli.common import (
    accounts_option,
    check_globs,
    image_option,
    output_option,
    say,
    service_option,
    settings,
    zone_option,
)
from syncer.cli.output import Json, Row, is_table, write
from syncer.config.accounts import unknown_accounts
from syncer.config.settings import Settings
from syncer.core.errors import ConfigError
from syncer.core.glob import matches, regex
from syncer.core.hints import no_image, no_zone
from syncer.core.moment import Moment, age, moment
from syncer.store.open import open_store
from syncer.store.reading import Answer, Reader, ReadSession, read_session

_MOST: Final = 2**63 - 1
"""Rows: what PostgreSQL takes as a limit."""
_ROWS: Final = click.IntRange(1)
_ROWS.name = "whole number"  # as an error calls it
F = TypeVar("F", bound=Callable[..., Any])
Derive = Callable[[dict[str, Any]], dict[str, Any] | None]
LIMIT = click.option(
    "--limit",
    type=_ROWS,
    metavar="N",
    callback=lambda _ctx, _param, rows: rows and min(rows, _MOST),
    show_default="all",
    help="Show at most this many rows.",
)


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What the reading commands filter by; None or empty selects everything."""

    accounts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """The first arguments of every statement: accounts, services, zones (as regexes)."""
        return (list(self.accounts) or None, list(self.services) or None, _regexes(self.zones))

    @property
    def image(self) -> list[str] | None:
        """The image globs as regexes, for id or name."""
        return _regexes(self.images)


def _regexes(patterns: tuple[str, ...]) -> list[str] | None:
    return [regex(pattern) for pattern in patterns] or None


def filters(*, images: bool = True) -> Callable[[F], Callable[..., Any]]:
    """Add ``--account --service --zone [--image] --limit -o``.

    The command gets ``filters`` and ``output``.
    """

    def decorate(function: F) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(
            accounts: tuple[str, ...],
            services: tuple[str, ...],
            zones: tuple[str, ...],
            limit: int | None,
            images: tuple[str, ...] = (),
            **rest: object,
        ) -> object:
            check_globs(zones)
            check_globs(images)
            chosen = Filters(
                accounts=accounts, services=services, zones=zones, images=images, limit=limit
            )
            return function(filters=chosen, **rest)

        options: list[Callable[..., Any]] = [accounts_option, service_option, zone_option]
        if images:
            options.append(image_option)
        wrapped: Callable[..., Any] = wrapper
        for option in reversed([*options, LIMIT, output_option]):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def moment_type(*, runs: bool = False) -> Callable[..., Moment | None]:
    """Return a click callback that reads a moment."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Moment | None:
        if text is None:
            return None
        try:
            return moment(text, runs=runs)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return read


@contextlib.asynccontextmanager
async def open_session(loaded: Settings | None = None) -> AsyncIterator[ReadSession]:
    """Open the store for reading; without settings these are loaded.

    Raises ConfigError for an account of ``--account`` that neither they nor the store know.
    """
    command = click.get_current_context(silent=True)
    name = f"syncer {command.info_name if command else 'read'}"
    loaded = loaded or settings()
    async with (
        open_store(loaded.database) as server,
        read_session(server, name=name) as session,
    ):
        if accounts := command.params.get("accounts") if command else None:
            async with session.snapshot() as reader:
                require_accounts(accounts, loaded, await reader.accounts())
        yield session


def require_accounts(chosen: Sequence[str], loaded: Settings, stored: Sequence[str]) -> None:
    """Raise ConfigError for a chosen account that neither the settings nor the store know."""
    known = sorted({*loaded.names, *stored})
    if faults := unknown_accounts(chosen, known, "--account"):
        raise ConfigError(*faults)


@contextlib.asynccontextmanager
async def open_snapshot(
    loaded: Settings | None = None, *, chosen: Filters | None = None
) -> AsyncIterator[Reader]:
    """Open one snapshot of the store, as ``open_session`` does.

    Raises ConfigError for a glob of the chosen zones that no stored zone matches.
    """
    async with open_session(loaded) as session, session.snapshot() as reader:
        if chosen is not None and chosen.zones:
            require_zones(chosen.zones, await reader.zone_ids(chosen.accounts, chosen.services))
        yield reader


def require_zones(globs: Sequence[str], known: Sequence[str]) -> None:
    """Raise ConfigError for a glob that no known zone matches."""
    if nowhere := [glob for glob in globs if not any(matches(glob, zone) for zone in known)]:
        raise no_zone(nowhere, known)


async def require_images(reader: Reader, chosen: Filters) -> None:
    """Raise ConfigError for a glob that no image matches, of those ever seen in the chosen places.

    It reads many rows: it is for an answer that is empty.
    """
    if chosen.images:
        rows = await reader.all("read/images_unseen", *chosen.place, chosen.image)
        if unseen := [chosen.images[row["number"] - 1] for row in rows]:
            raise await unseen_images(reader, unseen)


async def unseen_images(reader: Reader, names: Sequence[str]) -> ConfigError:
    """Return the error for images that were never seen, with one that may be meant."""
    like = await reader.all("read/images_like", names[0])
    return no_image(names, [row["name"] for row in like])


async def show(
    reader: Reader,
    answer: Answer,
    output: str | None,
    *,
    table: Sequence[Column],
    empty: str,
    chosen: Filters = Filters(),  # noqa: B008  (frozen)
    derive: Derive = lambda row: row,
    columns: list[str] | None = None,
    headed: Headed | None = None,
    paged: bool = True,
    if_none: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """Print an answer, streaming where the format allows; return how many rows there were.

    Without any row ``if_none`` is awaited first: it may raise an error in place of the answer.
    A table names the account and the service of each row where several are ``chosen``. ``derive``
    may add to a row, or drop it (None). ``columns`` are printed elsewhere (default: those of the
    statement). The others are as in ``write``.
    """
    now = None
    if is_table(output):
        several, now = await reader.several(chosen.accounts, chosen.services)
        table = [column for column in table if not column.several or column.name in several]
    rows = _derived(answer, derive)
    if if_none is not None:
        first = await anext(rows, None)
        if first is None:
            await if_none()
        else:
            rows = _after(first, rows)
    return await write(
        rows,
        columns or answer.columns,
        output,
        table=table,
        empty=empty,
        headed=headed,
        paged=paged,
        now=now,
    )


async def say_last_runs(
    reader: Reader, chosen: Filters, output: str | None, *, empty: bool, said: Collection[str] = ()
) -> None:
    """Say beside a table why the last run of an account failed, unless its reason is ``said``.

    Beside one that is ``empty`` also how old what is known is: nothing may be there because nobody
    could look.
    """
    if not is_table(output):
        return
    accounts, *place = chosen.place
    accounts = accounts or await reader.accounts()
    for row in await reader.all("read/last_runs", accounts, *place, empty):
        parts = [_looked(row)] if empty else []
        if row["status"] in ({"failed", "crashed", "partial"} if empty else {"failed", "crashed"}):
            why = row["error_message"] or "see 'syncer runs'"
            if why not in said:
                parts.append(f"run {row['run_id']} {row['status']}: {why}")
        if parts:
            say(f"account {row['account']}: {'; '.join(parts)}", err=True)


def _looked(row: Row) -> str:
    """Return how old the oldest last whole look at a zone is."""
    zones, never = row["zones"], row["never"]
    if never == zones:
        return "no zone had a whole look yet"
    if never:
        return f"{never:,} of {zones:,} zones never had a whole look"
    within = age(row["oldest"])
    if zones == 1:
        return f"the zone had a whole look {within} ago"
    return f"all {zones:,} zones had a whole look within {within}"


async def _after(first: Row, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    yield first
    async for row in rows:
        yield row


async def _derived(answer: Answer, derive: Derive) -> AsyncIterator[Row]:
    async for row in answer.rows:
        for name in answer.jsonb:
            row[name] = None if row[name] is None else Json(row[name])
        if (derived := derive(row)) is not None:
            yield derived
