"""``syncer serve``: the daemon."""

from __future__ import annotations

import click

from syncer.cli.command import Command
from syncer.cli.common import crawled_option, crawled_service_option, http_option, run, settings
from syncer.cli.sentences import OfDaemon
from syncer.core.moment import duration


@click.command(cls=Command)
@click.option(
    "--every",
    metavar="TIME",
    show_default="SYNCER_EVERY, 15m",
    help="Time from the start of a run to the next.",
)
@click.option(
    "--jitter",
    metavar="TIME",
    show_default="a tenth of --every, at most 60s",
    help="Delay each run by a random time, at most this.",
)
@http_option
@crawled_option
@crawled_service_option
@run
async def serve(
    every: str | None,
    jitter: str | None,
    http: str | None,
    accounts: tuple[str, ...],
    services: tuple[str, ...],
) -> int:
    """Run at start, then at fixed intervals, until SIGTERM or SIGINT; SIGHUP starts a run at once.

    A long run does not shift the next one. After a failure the next run comes sooner, after a
    refusal (credentials) later. Under systemd it sends READY, STATUS and WATCHDOG.
    """
    from syncer import app  # noqa: PLC0415  (start-up: aiohttp)

    try:
        late = None if jitter is None else duration(jitter)
    except ValueError as error:
        raise click.UsageError(f"--jitter: {error}") from None
    says = OfDaemon()
    loaded = settings(
        crawling=True,
        sentences=says.sentences(),
        every=every,
        http=http,
        account=accounts,
        services=",".join(services) or None,
    )
    says.several = len(loaded.accounts) > 1
    await app.serve(loaded, jitter=late)
    return 0
