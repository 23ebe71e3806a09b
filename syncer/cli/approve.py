"""``syncer approve``: approve the withheld removals of a zone."""

from __future__ import annotations

import click

from syncer.cli.common import account_option, run, settings
from syncer.config.machine import operator
from syncer.store import approvals
from syncer.store.open import open_store
from syncer.zenlayer.sources import SOURCES


@click.command()
@account_option
@click.option("--service", metavar="NAME", help=f"Service: {', '.join(SOURCES)}.")
@click.argument("zone")
@click.option(
    "--max",
    "max_removals",
    type=click.IntRange(1, 2**31 - 1),
    required=True,
    help="Approve them if there are at most N, else none.",
    metavar="N",
)
@run
async def approve(account: str | None, service: str | None, zone: str, max_removals: int) -> None:
    """Approve the withheld removals of ZONE.

    Holds once, for the next whole look at the zone: if it finds at most --max removals, the guard
    lets them pass (each image is still asked for by id). See what they are first, with
    'syncer images --withheld --zone ZONE'.
    """
    loaded = settings()
    async with (
        open_store(loaded.database) as server,
        server.session(name="syncer approve") as connection,
    ):
        approved = await approvals.approve(
            connection,
            account=account,
            service=service,
            zone_id=zone,
            max_removals=max_removals,
            by=operator(),
        )
    where = f"{approved.zone} of account {approved.account}"
    click.echo(
        f"Approved: at most {max_removals} removals in {where}, at its next whole look.\n"
        f"Withheld there now: {approved.withheld}."
    )
    if approved.withheld > max_removals:
        click.echo(
            f"That is more than {max_removals}: unless some are seen again, nothing will pass.",
            err=True,
        )
    if approved.gone:
        click.echo("The zone is gone: the approval waits until it returns.", err=True)
