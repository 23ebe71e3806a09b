"""The reading commands: what is stored, as the views of schema ``syncer`` show it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import click
import msgspec

from syncer.cli.common import (
    account_option,
    check_globs,
    output_option,
    run,
    service_option,
    settings,
    zone_option,
)
from syncer.cli.output import Json, Row, write
from syncer.config import Settings
from syncer.config_text import duration
from syncer.core.glob import regex
from syncer.db import named_errors

_BATCH: Final = 1000
_LIMIT = click.option("--limit", type=click.IntRange(1, 10**12), help="At most so many rows.")
_IMAGE = click.option(
    "--image", "images_", multiple=True, metavar="GLOB", help="Images by id or name."
)


async def _show(
    loaded: Settings,
    statement: str,
    arguments: tuple[object, ...],
    output: str | None,
    *,
    table: Mapping[str, str],
    empty: str,
    derive: Callable[[dict[str, Any]], None] = lambda _row: None,
) -> None:
    """Run a reading statement and print its rows, streaming where the format allows."""
    from syncer.app import open_store  # noqa: PLC0415  (start-up: not for --help)
    from syncer.db import sql  # noqa: PLC0415

    async with open_store(loaded) as server:
        connection = await server.connect(name=f"syncer {statement}")
        try:
            async with connection.transaction(readonly=True):
                with named_errors(server.where, connection):
                    prepared = await connection.prepare(sql(statement))
                attributes = prepared.get_attributes()
                columns = [attribute.name for attribute in attributes]
                jsonb = {a.name for a in attributes if a.type.name == "jsonb"}
                rows = _rows(connection, server.where, prepared, arguments, jsonb, derive)
                await write(rows, columns, output, table=table, empty=empty)
        finally:
            await connection.close(timeout=5)


async def _rows(  # noqa: PLR0917  (one caller, above)
    connection: asyncpg.Connection[Any],
    where: str,
    prepared: asyncpg.prepared_stmt.PreparedStatement[Any],
    arguments: tuple[object, ...],
    jsonb: set[str],
    derive: Callable[[dict[str, Any]], None],
) -> AsyncIterator[Row]:
    """Yield rows a batch at a time; only the fetching is the database's to fail."""
    with named_errors(where, connection):
        cursor = await prepared.cursor(*arguments)
    while True:
        with named_errors(where, connection):
            batch = await cursor.fetch(_BATCH)
        for record in batch:
            row = dict(record)
            for name in jsonb:
                row[name] = None if row[name] is None else Json(row[name])
            derive(row)
            yield row
        if len(batch) < _BATCH:
            return


def _globs(patterns: tuple[str, ...]) -> list[str] | None:
    check_globs(patterns)
    return [regex(pattern) for pattern in patterns] or None


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Read a time, or how long ago it was."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - timedelta(seconds=duration(text))
        except (ValueError, OverflowError):
            raise click.BadParameter(
                f"{text!r} is neither a time such as 2026-11-23T08:00Z nor an age such as 2d"
            ) from None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise click.BadParameter(f"{text!r} is outside of all calendars") from None


@click.command()
@account_option
@service_option
@zone_option
@_IMAGE
@click.option("--presence", type=click.Choice(["present", "absent", "unknown"]), help="Only these.")
@_LIMIT
@output_option
@run
async def images(  # noqa: PLR0917  (click passes by name)
    account: str | None,
    services: tuple[str, ...],
    zones: tuple[str, ...],
    images_: tuple[str, ...],
    presence: str | None,
    limit: int | None,
    output: str | None,
) -> None:
    """Show images ever seen: their current or last known state."""
    await _show(
        settings(),
        "read_images",
        (account, list(services) or None, _globs(zones), _globs(images_), presence, limit),
        output,
        table={
            "service": "SERVICE",
            "zone_id": "ZONE",
            "image_id": "IMAGE",
            "image_name": "NAME",
            "image_version": "VERSION",
            "image_size_gib": "GIB",
            "image_status": "STATUS",
            "presence": "PRESENCE",
            "changed_at": "CHANGED",
        },
        empty="No image matches. Run 'syncer sync' first, or widen the filters.",
    )


@click.command()
@account_option
@service_option
@zone_option
@_LIMIT
@output_option
@run
async def zones(
    account: str | None,
    services: tuple[str, ...],
    zones: tuple[str, ...],
    limit: int | None,
    output: str | None,
) -> None:
    """Show zones: when each was last wholly seen, and what the guard withholds."""
    arguments = (account, list(services) or None, _globs(zones), limit)
    await show_zones(settings(), arguments, output)


async def show_zones(
    loaded: Settings,
    arguments: tuple[object, ...] = (None, None, None, None),
    output: str | None = None,
) -> None:
    """Print zones; ``arguments`` are those of ``read_zones.sql``."""
    await _show(
        loaded,
        "read_zones",
        arguments,
        output,
        table={
            "service": "SERVICE",
            "zone_id": "ZONE",
            "zone_name": "NAME",
            "present_images": "IMAGES",
            "withheld_removals": "WITHHELD",
            "last_status": "LAST",
            "last_complete_at": "LAST WHOLE LOOK",
            "gone_at": "GONE",
        },
        empty="No zone matches. Run 'syncer sync' first, or widen the filters.",
    )


@click.command()
@account_option
@_LIMIT
@output_option
@run
async def runs(account: str | None, limit: int | None, output: str | None) -> None:
    """Show runs, newest first."""
    await _show(
        settings(),
        "read_runs",
        (account, limit),
        output,
        table={
            "run_id": "RUN",
            "account": "ACCOUNT",
            "started_at": "STARTED",
            "status": "STATUS",
            "zones": "ZONES",
            "images": "IMAGES",
            "appeared": "APPEARED",
            "changed": "CHANGED",
            "removed": "REMOVED",
            "returned": "RETURNED",
            "withheld": "WITHHELD",
            "calls": "CALLS",
            "error_message": "WHY",
        },
        empty="No run yet: 'syncer sync' makes the first.",
    )


def _details(row: dict[str, Any]) -> None:
    """Add what a person wants to read of a change: each field, from what to what."""
    before, after = (msgspec.json.decode(str(row[side] or "{}")) for side in ("before", "after"))
    row["details"] = "; ".join(
        f"{name.removeprefix('image_')}: {before.get(name)} -> {after.get(name)}"
        for name in row["changed_fields"]
    )


_CHANGES_TABLE: Final = {
    "changed_at": "SEEN",
    "kind": "KIND",
    "zone_id": "ZONE",
    "image_id": "IMAGE",
    "image_name": "NAME",
    "details": "WHAT CHANGED",
}


@click.command()
@account_option
@service_option
@zone_option
@_IMAGE
@click.option(
    "--since", callback=_moment, metavar="TIME|AGE", help="Only changes seen since, e.g. 2d."
)
@click.option("--initial", is_flag=True, help="Also what a zone's first look found.")
@_LIMIT
@output_option
@run
async def changes(  # noqa: PLR0917  (click passes by name)
    account: str | None,
    services: tuple[str, ...],
    zones: tuple[str, ...],
    images_: tuple[str, ...],
    since: datetime | None,
    initial: bool,
    limit: int | None,
    output: str | None,
) -> None:
    """Show what appeared, changed, was removed or returned; --limit takes the newest."""
    arguments = (
        account,
        list(services) or None,
        _globs(zones),
        _globs(images_),
        since,
        initial,
        limit,
    )
    await show_changes(settings(), arguments, output)


async def show_changes(
    loaded: Settings,
    arguments: tuple[object, ...] = (None, None, None, None, None, False, None),
    output: str | None = None,
) -> None:
    """Print changes; ``arguments`` are those of ``read_changes.sql``."""
    await _show(
        loaded,
        "read_changes",
        arguments,
        output,
        table=_CHANGES_TABLE,
        derive=_details,
        empty="No change. (A zone's first look is left out: --initial shows it.)",
    )
