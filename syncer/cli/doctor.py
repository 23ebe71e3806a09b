"""``syncer doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import click
import msgspec

from syncer import log
from syncer.cli.command import Command
from syncer.cli.common import crawled_option, option_names, output_option, run
from syncer.cli.output import each, is_table, write
from syncer.config.settings import LoadedSettings, load_with_faults
from syncer.core.errors import ConfigError
from syncer.core.moment import duration
from syncer.doctor.checks import Timing
from syncer.doctor.finding import Finding, exit_code

_COLUMNS: Final = ("check", "status", "message", "advice")


@click.command(cls=Command)
@crawled_option
@click.option(
    "--max-age",
    metavar="TIME",
    show_default="2h, or three times SYNCER_EVERY",
    help="Zones without a whole look for longer are stale.",
)
@click.option("-v", "--all", "defaults", is_flag=True, help="Show settings left at their default.")
@output_option
@run
async def doctor(
    accounts: tuple[str, ...], max_age: str | None, defaults: bool, output: str | None
) -> int:
    """Check everything a sync needs; say what is wrong, and what to do about it.

    Settings and where each came from, the API, the database, and what is stored. Nothing is
    changed. The exit code is 1 if a line failed, else 0.
    """
    try:
        oldest = None if max_age is None else duration(max_age)
    except ValueError as error:
        raise click.UsageError(f"--max-age: {error}") from None
    loaded = load_with_faults({"account": accounts}, options=option_names())
    if wrong := [fault.message for fault in loaded.faults if fault.message.startswith("--")]:
        raise ConfigError(*wrong)
    log.configure("auto", "error")  # what a sync would log of it has a line
    return await check_and_show(loaded, max_age=oldest, defaults=defaults, output=output)


async def check_and_show(
    loaded: LoadedSettings,
    *,
    max_age: float | None = None,
    defaults: bool = False,
    output: str | None = None,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> int:
    """Run the checks and print what they found; return the exit code.

    What cannot be cancelled (a resolver's thread, a dead file system, a server that does not stop)
    ends with the process, soon after everything is printed.
    """
    from syncer.doctor.run import run_checks  # noqa: PLC0415  (start-up: aiohttp)

    timed_out = False
    last_resort = threading.Timer(timing.close, os._exit)
    try:
        with _waiting() as waiting:
            async with run_checks(
                loaded, max_age=max_age, defaults=defaults, timing=timing
            ) as results:
                waiting.close()
                timed_out = results.timed_out
                code = exit_code(results.findings)
                await show_findings(results.findings, output)
                last_resort.args = (code,)
                last_resort.daemon = True
                last_resort.start()
    finally:
        if not timed_out:
            last_resort.cancel()
    return code


async def show_findings(findings: Sequence[Finding], output: str | None) -> None:
    """Print the findings: for people, or as JSON or CSV."""
    if is_table(output):
        from syncer.cli.findings import show  # noqa: PLC0415  (start-up: rich is for people)

        show(findings)
    else:
        rows = [msgspec.structs.asdict(found) for found in findings]
        await write(each(rows), _COLUMNS, output)
    sys.stdout.flush()


@contextlib.contextmanager
def _waiting() -> Iterator[contextlib.ExitStack]:
    """Show on a terminal that something is going on, until the stack is closed."""
    with contextlib.ExitStack() as shown:
        if sys.stdout.isatty() and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  (start-up: rich is for people)

            shown.enter_context(Console(stderr=True).status("looking"))
        yield shown
