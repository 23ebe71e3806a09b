"""``syncer worker``: accounts shared by many machines."""

from __future__ import annotations

import click

from syncer import app
from syncer.cli.common import crawled_option, run, say, settings
from syncer.cli.sentences import OfDaemon


@click.command()
@crawled_option
@click.option(
    "--at-once",
    metavar="N",
    help="Accounts that are crawled side by side.  [default: SYNCER_ACCOUNTS_AT_ONCE, 8]",
)
@click.option(
    "--http",
    metavar="ADDR:PORT",
    help="Serve /livez, /readyz and /metrics there, or 'off'.  [default: 127.0.0.1:9464]",
)
@click.option(
    "--forget",
    metavar="NAME",
    help="Have an account crawled by no worker any more, and end; its history stays.",
)
@run
async def worker(
    accounts: tuple[str, ...], at_once: str | None, http: str | None, forget: str | None
) -> int:
    """Crawl accounts whose turn it is, beside workers on other machines, until SIGTERM or SIGINT.

    Start any number of them, each with the settings of the accounts it has credentials of, and one
    database. An account is crawled at its interval by one of those that have it. Asked to end, a
    worker takes no more accounts and finishes those under way; asked again, it stops them; asked a
    third time, it gives up. SIGHUP makes its accounts due at once. It needs the extra
    'distributed', and 'syncer db upgrade' made with it. SYNCER_QUEUE_URL is the same database
    through a pooler, if that is to be used for the queue.
    """
    if forget is not None:
        known = await app.forget(settings(), forget)
        if not known:
            raise click.UsageError(
                f"--forget: no worker crawls an account {forget!r}, or one does right now"
            )
        say(f"No worker crawls {forget} any more, until one is started that has its credentials.")
        return 0
    says = OfDaemon()
    loaded = settings(
        crawling=True,
        sentences=says.sentences(),
        account=accounts,
        accounts_at_once=at_once,
        http=http,
    )
    says.several = len(loaded.accounts) > 1
    await app.work(loaded)
    return 0
