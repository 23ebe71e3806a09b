"""``syncer asof`` and ``syncer diff``: what was there at an instant, what differs between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import click
import msgspec

from syncer.cli.changes import details
from syncer.cli.columns import KIND, SEEN, WHAT_CHANGED, WHICH_IMAGE, count, time, whole
from syncer.cli.command import Command
from syncer.cli.common import counted, run, say
from syncer.cli.names import complete
from syncer.cli.show import (
    Filters,
    filters,
    moment_type,
    open_snapshot,
    require_images,
    say_last_runs,
    show,
)
from syncer.core.errors import ConfigError
from syncer.core.moment import Moment
from syncer.store.reading import Reader

_NOW: Final = "now"
_DRIFT, _UNKNOWN = 6, 3
_WHY: Final[Mapping[bool | None, tuple[str, str]]] = {
    True: ("it was gone", "they were gone"),
    False: ("there had been no whole look at it", "there had been no whole look at them"),
    None: ("what was known is no longer kept",) * 2,
}
"""Why nothing is known of a zone, or of several."""
_TO_COME: Final = ("it has not come yet",) * 2
"""The same, of an instant that is ahead."""


@click.command(cls=Command)
@click.argument(
    "moment", metavar="T", callback=moment_type(runs=True), shell_complete=complete("run")
)
@filters()
@run
async def asof(moment: Moment, filters: Filters, output: str | None) -> None:
    """Show the images that were there at T.

    T is a time (UTC unless it says else), an age such as 2d, or the number of a run. observed_at is
    the last look at an image before T. Zones about which nothing is known at T are named on stderr:
    their images are unknown, not absent.
    """
    async with open_snapshot(chosen=filters) as reader:
        (at,), chosen = await _instants(reader, (moment,), filters)
        answer = await reader.ask("read/asof", *chosen.place, chosen.image, at, chosen.limit)
        await show(
            reader,
            answer,
            output,
            chosen=chosen,
            table=[
                *WHICH_IMAGE,
                whole("image_version", "VERSION", leave=4),
                count("image_size", "GIB", leave=3),
                whole("image_status", "STATUS"),
                time("valid_from", "SINCE", leave=2),
                time("observed_at", "LAST LOOKED AT", leave=1),
            ],
            empty=f"No image is known to have been there at {at:%Y-%m-%d %H:%M:%S}Z.",
            if_none=partial(require_images, reader, chosen),
        )
        _say_unknown(await reader.all("read/uncovered", *chosen.place, at))


def _say_unknown(zones: Sequence[Mapping[str, Any]]) -> None:
    """Name zones about which nothing is known, one line for each account and cause."""
    groups = dict[tuple[str, tuple[str, str]], list[str]]()
    for zone in zones:
        why = _TO_COME if zone["to_come"] else _WHY[zone["gone"]]
        groups.setdefault((zone["account"], why), []).append(f"{zone['service']}/{zone['zone_id']}")
    for (account, why), names in groups.items():
        said = why[len(names) > 1]
        say(f"unknown at that time: {counted(names)} of account {account}: {said}", err=True)


@click.command(cls=Command)
@click.argument(
    "first", metavar="T1", callback=moment_type(runs=True), shell_complete=complete("run")
)
@click.argument(
    "last",
    metavar="[T2]",
    default=_NOW,
    callback=moment_type(runs=True),
    shell_complete=complete("run"),
)
@filters()
@click.option("--exit-code", is_flag=True, help="Exit 6 for drift, 3 where a zone was unknown.")
@run
async def diff(
    first: Moment, last: Moment, filters: Filters, exit_code: bool, output: str | None
) -> int:
    """Show what differs between T1 and T2 (default: now).

    Each is a time (UTC unless it says else), an age such as 2d, or the number of a run (the state
    at its end; then only its account is compared). A zone that was gone, or without a whole look,
    has one row of kind unknown: its images are not compared.
    """
    async with open_snapshot(chosen=filters) as reader:
        (one, two), chosen = await _instants(reader, (first, last), filters)
        if one > two:
            if last.ago == timedelta():
                raise ConfigError(f"T1 ({one.isoformat()}) is in the future")
            raise ConfigError(f"T1 ({one.isoformat()}) is after T2 ({two.isoformat()}): swap them")
        differences = _Differences(chosen.limit)
        shown = await show(
            reader,
            await reader.ask("read/diff", *chosen.place, chosen.image, one, two),
            output,
            chosen=chosen,
            table=[KIND, *WHICH_IMAGE, SEEN, WHAT_CHANGED],
            empty="No difference.",
            derive=differences.derive,
            if_none=partial(require_images, reader, chosen),
        )
        if not shown:
            await say_last_runs(reader, chosen, output, empty=True)
    return differences.exit_code if exit_code else 0


class _Differences:
    """Turns rows of ``read/diff`` into what is shown, at most ``limit``; counts all in its code."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._kinds: set[str] = set()

    def derive(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return the row as it is shown; None where the limit is reached."""
        self._kinds.add(row["kind"])
        if self._left is not None:
            if self._left == 0:
                return None
            self._left -= 1
        shown = details(row)
        shown["details"] = row["reason"] or shown["details"]
        return shown

    @property
    def exit_code(self) -> int:
        """6 where anything drifted, else 3 where a zone was unknown, else 0."""
        if self._kinds - {"unknown"}:
            return _DRIFT
        return _UNKNOWN if self._kinds else 0


async def _instants(
    reader: Reader, moments: tuple[Moment, ...], chosen: Filters
) -> tuple[list[datetime], Filters]:
    """Return the instants, and the filters: a run's number means its account."""
    resolved = [await reader.resolve(moment) for moment in moments]
    accounts = {account for _, account in resolved if account is not None}
    if not chosen.accounts and accounts:
        if len(accounts) > 1:
            raise ConfigError(
                f"the runs are of different accounts ({', '.join(sorted(accounts))}): "
                "give times, or --account"
            )
        chosen = msgspec.structs.replace(chosen, accounts=(accounts.pop(),))
    return [at for at, _ in resolved], chosen
