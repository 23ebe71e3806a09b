"""``syncer check`` and ``syncer baseline``: whether what is pinned is still there, unchanged."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from syncer.cli.columns import ACCOUNT, SERVICE, WHICH_IMAGE, count, text, time, whole
from syncer.cli.command import Command, Group
from syncer.cli.common import (
    accounts_option,
    check_globs,
    image_option,
    output_option,
    run,
    say,
    service_option,
    settings,
    zone_option,
)
from syncer.cli.names import complete, complete_pinned
from syncer.cli.output import each, is_table, write
from syncer.cli.show import (
    Filters,
    filters,
    moment_type,
    open_snapshot,
    require_accounts,
    require_zones,
    show,
)
from syncer.config.machine import operator
from syncer.core.errors import ConfigError
from syncer.core.glob import regex
from syncer.core.hints import number
from syncer.core.moment import Moment, duration
from syncer.core.nearest import did_you_mean
from syncer.core.pinfile import MAX_BYTES, parse
from syncer.core.pins import COLUMNS, Pin, PinAnswer, exit_code, selected, summary
from syncer.store import baselines
from syncer.store.baselines import Saved, listed
from syncer.store.open import open_store
from syncer.store.reading import Reader, stored_accounts, zone_ids


def _duration(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return timedelta(seconds=duration(text))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error)) from None


@click.command(cls=Command)
@click.argument("pinned", metavar="NAME|FILE", shell_complete=complete_pinned)
@filters()
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=_duration,
    show_default="any",
    help="A zone without a whole look for longer is unknown.",
)
@run
async def check(
    pinned: str, filters: Filters, max_age: timedelta | None, output: str | None
) -> int:
    """Check whether pinned images are still there and unchanged.

    NAME is a baseline ('syncer baseline save'). FILE (- for standard input) is CSV with a header,
    or JSON lines, of zone_id and image_id; other columns of 'syncer images' are compared where they
    have a value. What 'syncer images' prints with -o csv or ndjson is such a file. Semicolons and
    tabs may separate the columns too; blanks round a cell count where it is quoted.

    Each pin is present, changed, removed or unknown, as is what was never seen. A table shows what
    is not present, other formats all. --limit limits what is shown, not what is checked.

    Exit code: 6 if anything changed or was removed, else 3 if anything is unknown, else 0.
    """
    from_file = _from_file(pinned)
    async with open_snapshot() as reader:
        pins = await _pins(reader, pinned, from_file)
        pins = selected(pins, filters.accounts, filters.services, filters.zones)
        answers = await baselines.answers(
            reader,
            pins,
            accounts=list(filters.accounts) or None,
            services=list(filters.services) or None,
            images=filters.images,
            max_age=max_age,
        )
    if not answers:
        raise ConfigError(f"no pin of {pinned} matches the filters")
    await _print(answers, output, filters.limit)
    if is_table(output):
        say(summary(answers), err=True)
    return exit_code(answer.status for answer in answers)


def _from_file(pinned: str) -> list[Pin] | None:
    """Return the pins of a file, or None where the argument can only be a baseline's name."""
    if pinned == "-":
        return parse(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    try:
        if not _is_path(pinned) and not Path(pinned).is_file():
            return None
        with Path(pinned).open("rb") as file:
            return parse(file.read(MAX_BYTES + 1), pinned)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{pinned} cannot be read: {why}") from None


def _is_path(pinned: str) -> bool:
    return os.sep in pinned


async def _pins(reader: Reader, pinned: str, from_file: list[Pin] | None) -> list[Pin]:
    if from_file is not None and (pinned == "-" or _is_path(pinned)):
        return from_file
    names = await baselines.names(reader)
    if from_file is None:
        if pinned in names:
            return await baselines.pins(reader, pinned)
        raise ConfigError(
            f"{pinned!r} is neither a file nor a baseline; baselines: {baselines.known(names)}"
            f"{did_you_mean(pinned, names)}"
        )
    if pinned in names:
        raise ConfigError(
            f"{pinned!r} is a file and a baseline: write .{os.sep}{pinned} for the file, or run "
            "this in another directory for the baseline"
        )
    return from_file


_TABLE: Final = (
    whole("status", "STATUS", title=True),
    *WHICH_IMAGE,
    text("reason", "WHY", least=32),
)


async def _print(answers: Sequence[PinAnswer], output: str | None, limit: int | None) -> None:
    as_table = is_table(output)
    shown = [a for a in answers if not as_table or a.status != "present"]
    several = {
        column.name
        for column in (ACCOUNT, SERVICE)
        if len({getattr(answer, column.name) for answer in answers}) > 1
    }
    await write(
        each(map(_row, shown[:limit])),
        COLUMNS,
        output,
        table=[column for column in _TABLE if not column.several or column.name in several],
        empty="All that is pinned is there and unchanged.",
    )
    if as_table and limit and len(shown) > limit:
        say(f"(the first {limit:,} of {len(shown):,})", err=True)


def _row(answer: PinAnswer) -> dict[str, Any]:
    replaced_by = answer.replaced_by and [msgspec.structs.asdict(one) for one in answer.replaced_by]
    return msgspec.structs.asdict(answer) | {
        "changed_fields": list(answer.changed_fields),
        "replaced_by": replaced_by,
    }


@click.group(cls=Group)
def baseline() -> None:
    """Baselines: copies of what was there, for 'syncer check' to compare with."""


@baseline.command()
@click.argument("name")
@click.option(
    "--at",
    "moment",
    metavar="TIME|AGE|RUN",
    callback=moment_type(runs=True),
    show_default="now",
    shell_complete=complete("run"),
    help="Save what was there then; a time is UTC.",
)
@accounts_option
@service_option
@zone_option
@image_option
@click.option("--replace", is_flag=True, help="Replace a baseline of this name.")
@run
async def save(  # noqa: PLR0917  (click passes by name)
    name: str,
    moment: Moment | None,
    accounts: tuple[str, ...],
    services: tuple[str, ...],
    zones: tuple[str, ...],
    images: tuple[str, ...],
    replace: bool,
) -> None:
    """Save the images that are there as the baseline NAME."""
    check_globs(zones)
    check_globs(images)
    baselines.check_name(name)
    asked: dict[str, Any] = {"service": services, "zone": zones, "image": images}
    scope = baselines.Scope(
        accounts=list(accounts) or None,
        services=list(services) or None,
        zones=[regex(glob) for glob in zones] or None,
        images=[regex(glob) for glob in images] or None,
        filters={option: list(values) for option, values in asked.items() if values},
    )
    loaded = settings()
    async with (
        open_store(loaded.database) as server,
        server.session(name="syncer baseline") as session,
    ):
        stored = await stored_accounts(session)
        require_accounts(accounts, loaded, stored)
        require_zones(zones, await zone_ids(session, accounts, services))
        saved = await baselines.save(
            session,
            name=name,
            moment=moment or Moment(ago=timedelta()),
            scope=scope,
            by=operator(),
            replace=replace,
        )
    _print_saved(name, saved, accounts or stored)


def _print_saved(name: str, saved: Saved, accounts: Sequence[str]) -> None:
    whose = f" of accounts {listed(accounts)}" if len(accounts) > 1 else ""
    say(
        f"Saved baseline {name}: {number(saved.images, 'image')} in {number(saved.zones, 'zone')}"
        f"{whose}, as of {saved.as_of:%Y-%m-%d %H:%M:%S}Z."
    )
    if saved.gone:
        say(f"Not in it: zones that were gone then: {listed(saved.gone)}", err=True)
    if saved.unseen:
        say(
            "Not all in it: zones without a whole look by then, or whose history is no "
            f"longer kept: {listed(saved.unseen)}",
            err=True,
        )


@baseline.command("list")
@output_option
@run
async def list_(output: str | None) -> None:
    """Show the baselines there are."""
    async with open_snapshot() as reader:
        await show(
            reader,
            await reader.ask("baseline/list"),
            output,
            table=[
                whole("name", "NAME", title=True),
                count("images", "IMAGES"),
                time("as_of", "AS OF"),
                time("saved_at", "SAVED", leave=1),
                text("saved_by", "BY", leave=2),
                text("filters", "FILTERS"),
            ],
            empty="No baseline yet: 'syncer baseline save NAME' saves one.",
        )


@baseline.command()
@click.argument("name", shell_complete=complete("baseline"))
@run
async def delete(name: str) -> None:
    """Delete the baseline NAME."""
    async with (
        open_store(settings().database) as server,
        server.session(name="syncer baseline") as session,
    ):
        await baselines.delete(session, name)
    say(f"Deleted baseline {name}.")
