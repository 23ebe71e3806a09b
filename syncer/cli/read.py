"""The reading commands: what is stored, as the views of schema ``syncer`` show it."""

from __future__ import annotations

from functools import partial

import click

from syncer.cli.command import Command
from syncer.cli.common import accounts_option, output_option, run
from syncer.cli.show import LIMIT, Filters, filters, open_snapshot, require_images, show
from syncer.config.settings import Settings


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
        answer = await reader.ask(
            "read/images", *filters.place, filters.image, presence, withheld, filters.limit
        )
        table = {
            "service": "SERVICE",
            "zone_id": "ZONE",
            "image_id": "IMAGE",
            "image_name": "NAME",
            "image_version": "VERSION",
            "image_size_gib": "GIB",
            "image_status": "STATUS",
            "presence": "PRESENCE",
            "changed_at": "CHANGED",
        }
        if withheld:
            table["withheld_since"] = "WITHHELD SINCE"
        await show(
            answer,
            output,
            table=table,
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
    loaded: Settings | None, filters: Filters | None = None, output: str | None = None
) -> None:
    """Print zones; without settings these are loaded."""
    chosen = filters or Filters()
    async with open_snapshot(loaded, chosen=chosen) as reader:
        await show(
            await reader.ask("read/zones", *chosen.place, chosen.limit),
            output,
            table={
                "service": "SERVICE",
                "zone_id": "ZONE",
                "zone_name": "NAME",
                "present_images": "IMAGES",
                "withheld_removals": "WITHHELD",
                "approved_removals": "APPROVED",
                "last_status": "LAST",
                "last_complete_at": "LAST WHOLE LOOK",
                "gone_at": "GONE",
            },
            empty="No zone matches. Run 'syncer sync' first, or widen the filters.",
        )


@click.command(cls=Command)
@accounts_option
@LIMIT
@output_option
@run
async def runs(accounts: tuple[str, ...], limit: int | None, output: str | None) -> None:
    """Show runs, newest first."""
    async with open_snapshot() as reader:
        await show(
            await reader.ask("read/runs", list(accounts) or None, limit),
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
            await reader.ask("read/spread", *filters.place, filters.image, filters.limit),
            output,
            table={
                "service": "SERVICE",
                "image_name": "NAME",
                "differs": "DIFFERS IN",
                "offered": "IN ZONES",
                "missing_zones": "MISSING IN",
                "image_versions": "VERSIONS",
                "image_sizes": "SIZES",
                "image_statuses": "STATUSES",
            },
            empty="All zones offer the same (or nothing is stored: 'syncer sync').",
            derive=lambda row: row | {"offered": len(row["zones"])},
            if_none=partial(require_images, reader, filters),
        )
