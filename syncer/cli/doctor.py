"""``syncer doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from syncer import log
from syncer.cli.common import output_option, run
from syncer.cli.output import default_format, each, write
from syncer.core.errors import ConfigError
from syncer.core.moment import duration

_LEAVE: Final = 5.0
"""Seconds for all that was opened to be closed, once everything is told."""
_COLUMNS: Final = ("check", "status", "message", "advice")


@click.command()
@click.option("--account", metavar="NAME", help="Account, the name of these credentials.")
@click.option(
    "--max-age",
    metavar="TIME",
    help="Zones not wholly seen for so long are stale.  [default: 2h, or three times SYNCER_EVERY]",
)
@click.option("-v", "--all", "defaults", is_flag=True, help="Show settings left at their default.")
@output_option
@run
async def doctor(
    account: str | None, max_age: str | None, defaults: bool, output: str | None
) -> int:
    """Look at everything a sync needs; say what is wrong, and what to do about it.

    Settings and where each came from, the API, the database, and what is stored. Nothing is
    changed. The exit code is 1 if a line failed, else 0.
    """
    try:
        oldest = None if max_age is None else duration(max_age)
    except ValueError as error:
        raise click.UsageError(f"--max-age: {error}") from None
    from syncer.cli.findings import show  # noqa: PLC0415  (start-up: not for --help)
    from syncer.config.settings import survey  # noqa: PLC0415
    from syncer.doctor import visit  # noqa: PLC0415
    from syncer.doctor.finding import exit_code  # noqa: PLC0415

    loaded = survey({"account": account})
    if wrong := [fault.message for fault in loaded.faults if fault.message.startswith("--")]:
        raise ConfigError(*wrong)
    log.configure("auto", "error")  # what a sync would log of it is told in a line
    output = output or default_format()
    late = False
    last_resort = threading.Timer(_LEAVE, os._exit)
    try:
        with _waiting() as waiting:
            async with visit(loaded, max_age=oldest, defaults=defaults) as (findings, late):
                waiting.close()
                code = exit_code(findings)
                if output == "table":
                    show(findings)
                else:
                    rows = [msgspec.structs.asdict(found) for found in findings]
                    await write(each(rows), _COLUMNS, output, table={}, empty="")
                sys.stdout.flush()
                # A resolver's thread, a dead file system, a server that does not stop: what cannot
                # be cancelled ends with the process.
                last_resort.args = (code,)
                last_resort.daemon = True
                last_resort.start()
    finally:
        if not late:
            last_resort.cancel()
    return code


@contextlib.contextmanager
def _waiting() -> Iterator[contextlib.ExitStack]:
    """Show on a terminal that something is going on, until the stack is closed."""
    with contextlib.ExitStack() as shown:
        if sys.stdout.isatty() and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  (start-up: only for people)

            shown.enter_context(Console(stderr=True).status("looking"))
        yield shown
