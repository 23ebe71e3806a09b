"""``syncer prune``: delete history and scans older than they are to be kept."""

from __future__ import annotations

from typing import Final

import click

from syncer.cli.columns import count, whole
from syncer.cli.command import Command
from syncer.cli.common import crawled_option, fail, output_option, run, settings
from syncer.cli.output import each, write
from syncer.cli.sentences import ON_STOPPING
from syncer.core.moment import duration

COLUMNS: Final = ("table", "why", "rows")


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(cls=Command)
@click.option(
    "--keep", metavar="AGE", show_default="SYNCER_KEEP", help="How long to keep, e.g. 400d."
)
@crawled_option
@click.option("--all-accounts", is_flag=True, help="Every account in the database.")
@click.option(
    "--thin-after",
    metavar="AGE",
    default="30d",
    show_default=True,
    callback=_seconds,
    help="Thin out scans that found nothing new once they are older.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing; print what would be deleted.")
@output_option
@run
async def prune(  # noqa: PLR0917  (one option each)
    keep: str | None,
    accounts: tuple[str, ...],
    all_accounts: bool,
    thin_after: float,
    dry_run: bool,
    output: str | None,
) -> int:
    """Delete history and scans older than they are to be kept.

    What is there now or was last known is kept with its last change, at any age. Answers about the
    time that is kept do not change; about the time before, everything is unknown. Age is counted
    from the last look at a zone, not from now: while syncer is switched off nothing grows old.
    Can be stopped at any time, and can run during a sync.
    """
    from syncer import app  # noqa: PLC0415  (start-up: aiohttp)

    if accounts and all_accounts:
        raise click.UsageError("give --account or --all-accounts, not both")
    loaded = settings(account=accounts, keep=keep, sentences=ON_STOPPING)
    pruned = await app.prune(
        loaded, all_accounts=all_accounts, thin_after=thin_after, dry_run=dry_run
    )
    rows = [
        {"table": "image_history", "why": "older", "rows": pruned.versions},
        {"table": "zone_scans", "why": "older", "rows": pruned.scans},
        {"table": "zone_scans", "why": "thinned", "rows": pruned.thinned},
        {"table": "runs", "why": "older", "rows": pruned.runs},
    ]
    table = [
        whole("table", "TABLE", title=True),
        whole("why", "WHY", title=True),
        count("rows", "WOULD BE DELETED" if dry_run else "DELETED"),
    ]
    await write(each(rows), COLUMNS, output, table=table)
    if pruned.stopped:
        fail(3, "stopped by a signal: the next prune deletes the rest")
    return 0
