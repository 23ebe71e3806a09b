"""``syncer approve`` and ``syncer retire``: a person's word on what the API no longer shows."""

from __future__ import annotations

import click

from syncer.cli.command import Command
from syncer.cli.common import account_option, check_services, run, say, settings
from syncer.cli.names import complete, complete_service
from syncer.config.machine import operator
from syncer.core.errors import ConfigError
from syncer.store import approvals
from syncer.store.open import open_store
from syncer.zenlayer.sources import SOURCES

_service_option = click.option(
    "--service",
    metavar="NAME",
    show_default="the one that has it",
    callback=check_services,
    shell_complete=complete_service,
    help=f"Service: {', '.join(SOURCES)}.",
)


@click.command(cls=Command)
@account_option
@_service_option
@click.argument("zone", required=False, shell_complete=complete("zone"))
@click.option(
    "--run",
    "run_id",
    type=click.IntRange(1, 2**63 - 1),
    metavar="N",
    show_default="of a zone",
    shell_complete=complete("run"),
    help="Approve what run N withheld as a whole, in every zone.",
)
@click.option(
    "--max",
    "max_removals",
    type=click.IntRange(1, 2**31 - 1),
    required=True,
    help="Approve them if there are at most N, else none.",
    metavar="N",
)
@run
async def approve(
    account: str | None,
    service: str | None,
    zone: str | None,
    run_id: int | None,
    max_removals: int,
) -> None:
    """Approve the withheld removals of ZONE, or those of a run.

    Of a zone it holds once, for the next whole look: if that finds at most --max removals, the
    guard lets them pass (each image is still asked for by id). Of a run it holds for the very
    images that the run withheld. See what they are first, with 'syncer images --withheld'.
    """
    if (zone is None) == (run_id is None):
        raise ConfigError(
            "name a ZONE, or a run with --run" + ("" if zone is None else ", not both")
        )
    if run_id is not None and (account, service) != (None, None):
        raise ConfigError("--run names all there is: leave out --account and --service")
    loaded = settings()
    async with (
        open_store(loaded.database) as server,
        server.session(name="syncer approve") as connection,
    ):
        if run_id is not None:
            of_run = await approvals.approve_run(
                connection,
                run_id=run_id,
                max_removals=max_removals,
                by=operator(),
                timing=server.timing,
            )
            for one in of_run:
                say(
                    f"Approved: {one.withheld} removals in {one.zone} of account {one.account}, "
                    "at its next whole look."
                )
            return
        assert zone is not None  # noqa: S101  (one of both is given)
        approved = await approvals.approve(
            connection,
            account=account,
            service=service,
            zone_id=zone,
            max_removals=max_removals,
            by=operator(),
            timing=server.timing,
        )
    _print(approved)


def _print(approved: approvals.Approved) -> None:
    where = f"{approved.zone} of account {approved.account}"
    say(
        f"Approved: at most {approved.max_removals} removals in {where}, at its next whole look.",
        f"Withheld there now: {approved.withheld}.",
    )
    if approved.withheld > approved.max_removals:
        say(
            f"That is more than {approved.max_removals}: unless some are seen again, nothing will "
            "pass.",
            err=True,
        )
    if approved.gone:
        say("The zone is gone: the approval waits until it returns.", err=True)


@click.command(cls=Command)
@account_option
@_service_option
@click.argument("zone", shell_complete=complete("zone"))
@run
async def retire(account: str | None, service: str | None, zone: str) -> None:
    """Say that ZONE is gone for this account.

    Its images are unknown from now on, and it is asked for again only when it is listed. For a zone
    that an account has lost for good and that the API neither lists nor lets go of.
    """
    loaded = settings()
    async with (
        open_store(loaded.database) as server,
        server.session(name="syncer retire") as connection,
    ):
        retired = await approvals.retire(
            connection,
            account=account,
            service=service,
            zone_id=zone,
            by=operator(),
            timing=server.timing,
        )
    where = f"{retired.zone} of account {retired.account}"
    if retired.again:
        say(f"{where} was retired before.")
    else:
        say(f"Retired: {where}. Its images are unknown until it is listed again.")
    if retired.listed:
        say("It is listed still: the next run reads it again.", err=True)
