"""The reading commands: what is stored, as the views of schema ``syncer`` show it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import click
import msgspec

from syncer.cli.columns import (
    ACCOUNT,
    NAME,
    SERVICE,
    WHICH_IMAGE,
    ZONE,
    count,
    listed,
    text,
    time,
    whole,
)
from syncer.cli.command import Command
from syncer.cli.common import accounts_option, counted, output_option, run, say
from syncer.cli.output import is_table
from syncer.cli.show import (
    LIMIT,
    Filters,
    filters,
    open_snapshot,
    require_images,
    say_last_runs,
    show,
)
from syncer.config.settings import Settings
from syncer.core.model import NOT_READ


@click.command(cls=Command)
@filters()
@click.option(
    "--presence",
    type=click.Choice(["present", "absent", "unknown"]),
    show_default="all",
    help="Only such images.",
)
@click.option("--withheld", is_flag=True, help="Only images whose removal the guard withholds.")
@run
async def images(
    filters: Filters, presence: str | None, withheld: bool, output: str | None
) -> None:
    """Show every image ever seen, in its current or last known state."""
    async with open_snapshot(chosen=filters) as reader:
        await show(
            reader,
            await reader.ask(
                "read/images", *filters.place, filters.image, presence, withheld, filters.limit
            ),
            output,
            chosen=filters,
            table=[
                *WHICH_IMAGE,
                whole("image_version", "VERSION", leave=3),
                count("image_size_gib", "GIB", leave=2),
                whole("image_status", "STATUS"),
                *([] if presence else [whole("presence", "PRESENCE")]),
                time("changed_at", "CHANGED", leave=1),
                *([time("withheld_since", "WITHHELD SINCE")] if withheld else []),
            ],
            empty="The guard withholds no removal."
            if withheld
            else "No image matches. Run 'syncer sync' first, or widen the filters.",
            if_none=partial(require_images, reader, filters),
        )


@click.command(cls=Command)
@filters(images=False)
@run
async def zones(filters: Filters, output: str | None) -> None:
    """Show zones: the last whole look at each, its images, and what the guard withholds."""
    await show_zones(None, filters, output)


async def show_zones(
    loaded: Settings | None,
    filters: Filters | None = None,
    output: str | None = None,
    *,
    paged: bool = True,
) -> None:
    """Print zones; without settings these are loaded."""
    chosen = filters or Filters()
    undone = dict[tuple[str, str], list[tuple[str, str]]]()
    accounts = set[str]()

    def derive(row: dict[str, Any]) -> dict[str, Any]:
        accounts.add(row["account"])
        last = _STATUSES.get(row["last_status"], row["last_status"])
        if row["error_code"] in NOT_READ:  # as the run's own summary says it
            last = "not read"
        if row["error_message"]:
            cause = (last, row["error_message"])
            zone = (row["account"], f"{row['service']}/{row['zone_id']}")
            undone.setdefault(cause, []).append(zone)
        return row | {"last": last}

    async with open_snapshot(loaded, chosen=chosen) as reader:
        shown = await show(
            reader,
            await reader.ask("read/zones", *chosen.place, chosen.limit),
            output,
            chosen=chosen,
            table=[
                ACCOUNT,
                SERVICE,
                ZONE,
                text("zone_name", "NAME", leave=2),
                count("present_images", "IMAGES"),
                count("withheld_removals", "WITHHELD", zero=True),
                count("approved_removals", "APPROVED", zero=True, leave=1),
                whole("last", "LAST"),
                time("last_complete_at", "LAST WHOLE LOOK"),
                time("gone_at", "GONE"),
            ],
            derive=derive,
            empty="No zone matches. Run 'syncer sync' first, or widen the filters.",
            paged=paged,
        )
        causes = {why for _, why in undone}
        await say_last_runs(reader, chosen, output, empty=not shown, said=causes)
    if is_table(output):
        _say_undone(undone, several=len(accounts) > 1)


def _say_undone(undone: Mapping[tuple[str, str], list[tuple[str, str]]], *, several: bool) -> None:
    """Say why zones were not read whole, a cause a line."""
    for (status, why), zones in undone.items():
        names = [f"{account} {ref}" if several else ref for account, ref in zones]
        say(f"{counted(names)} {status}: {why}", err=True)


_STATUSES: Final = {"guarded": "withheld"}
"""Statuses that people know by another name."""


@click.command(cls=Command)
@accounts_option
@LIMIT
@output_option
@run
async def runs(accounts: tuple[str, ...], limit: int | None, output: str | None) -> None:
    """Show runs, newest first.

    In the table ZONES are those read whole, CHANGES +appeared ~changed -removed, and how many are
    back.
    """
    async with open_snapshot() as reader:
        await show(
            reader,
            await reader.ask("read/runs", list(accounts) or None, limit),
            output,
            chosen=Filters(accounts=accounts),
            table=[
                whole("run_id", "RUN", title=True),
                ACCOUNT,
                whole("status", "STATUS", title=True),
                time("started_at", "STARTED"),
                count("zones_read", "ZONES"),
                count("images", "IMAGES"),
                whole("counters", "CHANGES"),
                count("withheld", "WITHHELD", zero=True),
                count("calls", "CALLS", leave=1),
                text("error_message", "WHY", least=24),
            ],
            derive=lambda row: row | {"counters": _counters(row), "zones_read": _zones_read(row)},
            empty="No run yet: 'syncer sync' makes the first.",
        )


def _zones_read(row: Mapping[str, Any]) -> str:
    """Return how many zones were read whole; of how many, where that is not all."""
    read = row["zones"] - row["zones_failed"] - row["zones_incomplete"]
    return f"{read:,}" if read == row["zones"] else f"{read:,} of {row['zones']:,}"


def _counters(row: Mapping[str, Any]) -> str | None:
    """Return what a run changed, as ``+12 ~15 -8 2 back``."""
    signs = {"appeared": "+{:,}", "changed": "~{:,}", "removed": "-{:,}", "returned": "{:,} back"}
    return " ".join(sign.format(row[name]) for name, sign in signs.items() if row[name]) or None


@click.command(cls=Command)
@filters()
@run
async def spread(filters: Filters, output: str | None) -> None:
    """Show images that differ between zones: in version, size or status, or missing in some.

    Images are compared by name within a service. --zone shows the names that such a zone offers
    or lacks. Ids usually differ between zones, and do not count as a difference.
    """
    async with open_snapshot(chosen=filters) as reader:
        await show(
            reader,
            await reader.ask("read/spread", *filters.place, filters.image, filters.limit),
            output,
            chosen=filters,
            table=[
                ACCOUNT,
                SERVICE,
                msgspec.structs.replace(NAME, title=True),
                listed("differing", "DIFFERS IN", least=20),
                count("offered", "IN ZONES"),
                listed("missing_zones", "MISSING IN"),
                listed("image_versions", "VERSIONS"),
                listed("image_sizes", "SIZES", least=8, leave=2),
                listed("image_statuses", "STATUSES", least=10, leave=1),
            ],
            empty="All zones offer the same (or nothing is stored: 'syncer sync').",
            derive=lambda row: (
                row
                | {
                    "offered": len(row["zones"]),
                    "differing": [name.removeprefix("image_") for name in row["differs"]],
                }
            ),
            if_none=partial(require_images, reader, filters),
        )
