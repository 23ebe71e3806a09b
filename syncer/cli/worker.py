"""``syncer worker``: accounts shared by many machines."""

from __future__ import annotations

import click

from syncer.cli.command import Command
from syncer.cli.common import crawled_option, http_option, run, say, settings
from syncer.cli.names import complete
from syncer.cli.sentences import OfDaemon


@click.command(cls=Command)
@crawled_option
@click.option(
    "--at-once",
    "accounts_at_once",
    metavar="N",
    show_default="SYNCER_ACCOUNTS_AT_ONCE, 8",
    help="Accounts that are crawled side by side.",
)
@http_option
@click.option(
    "--forget",
    metavar="NAME",
    show_default="none",
    shell_complete=complete("account"),
    help="Have an account crawled by no worker any more, and end; its history stays.",
)
@run
async def worker(
    accounts: tuple[str, ...], accounts_at_once: str | None, http: str | None, forget: str | None
) -> int:
    """Crawl accounts whose turn it is, beside workers on other machines, until SIGTERM or SIGINT.

    Start any number of them, each with the settings of the accounts it has credentials of, and one
    database. An account is crawled at its interval by one of those that have it. Asked to end, a
    worker takes no more accounts and finishes those under way; asked again, it stops them; asked a
    third time, it gives up. SIGHUP makes its accounts due at once. It needs the extra
    'distributed', and 'syncer db upgrade' made with it. SYNCER_QUEUE_URL is the same database
    through a pooler, if that is to be used for the queue.
    """
    from syncer import app  # noqa: PLC0415  (start-up: aiohttp)

    if forget is not None:
        await app.forget(settings(), forget)
        say(f"No worker crawls {forget} any more, until one is started that has its credentials.")
        return 0
    says = OfDaemon()
    loaded = settings(
        crawling=True,
        sentences=says.sentences(),
        account=accounts,
        accounts_at_once=accounts_at_once,
        http=http,
    )
    says.several = len(loaded.accounts) > 1
    await app.work(loaded)
    return 0
