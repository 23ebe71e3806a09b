"""The reading commands: what is stored, as the views of schema ``syncer`` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncer.cli.common import account_option, output_option, run
from syncer.cli.show import LIMIT, Filters, filters, reader, show

if TYPE_CHECKING:
    from syncer.config.settings import Settings


@click.command()
@filters()
@click.option("--presence", type=click.Choice(["present", "absent", "unknown"]), help="Only these.")
@click.option("--withheld", is_flag=True, help="Only those whose removal the guard withholds.")
@run
async def images(
    filters: Filters, presence: str | None, withheld: bool, output: str | None
) -> None:
    """Show images ever seen: their current or last known state."""
    async with reader() as opened:
        answer = await opened.ask(
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
        )


@click.command()
@filters(images=False)
@run
async def zones(filters: Filters, output: str | None) -> None:
    """Show zones: when each was last wholly seen, and what the guard withholds."""
    await show_zones(None, filters, output)


async def show_zones(
    loaded: Settings | None, filters: Filters | None = None, output: str | None = None
) -> None:
    """Print zones."""
    chosen = filters or Filters()
    async with reader(loaded) as opened:
        await show(
            await opened.ask("read/zones", *chosen.place, chosen.limit),
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


@click.command()
@account_option
@LIMIT
@output_option
@run
async def runs(account: str | None, limit: int | None, output: str | None) -> None:
    """Show runs, newest first."""
    async with reader() as opened:
        await show(
            await opened.ask("read/runs", account, limit),
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


@click.command()
@filters()
@run
async def spread(filters: Filters, output: str | None) -> None:
    """Show images that zones do not offer alike: missing, or other versions, sizes, statuses.

    Images are compared by name within a service. --zone takes names that such a zone offers or
    lacks. Ids differ between zones as a rule, and alone are no difference.
    """
    async with reader() as opened:
        await show(
            await opened.ask("read/spread", *filters.place, filters.image, filters.limit),
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
        )
