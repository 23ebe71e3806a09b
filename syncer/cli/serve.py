"""``syncer serve``: the daemon."""

from __future__ import annotations

import click

from syncer import app
from syncer.cli.common import crawled_option, run, settings
from syncer.cli.sentences import OfDaemon
from syncer.core.moment import duration


@click.command()
@click.option(
    "--every", metavar="TIME", help="Time from the start of a run to the next.  [default: 15m]"
)
@click.option(
    "--jitter",
    metavar="TIME",
    help="Delay each run by a random time, at most this.  [default: a tenth of --every, at most "
    "60s]",
)
@click.option(
    "--http",
    metavar="ADDR:PORT",
    help="Serve /livez, /readyz and /metrics there, or 'off'.  [default: 127.0.0.1:9464]",
)
@crawled_option
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service.")
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
