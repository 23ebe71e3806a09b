"""``syncer asof`` and ``syncer diff``: what was there at an instant, and between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import click
import msgspec

from syncer.cli.changes import details
from syncer.cli.common import run
from syncer.cli.show import Filters, filters, moment_type, reader, show
from syncer.core.errors import ConfigError
from syncer.core.model import TRACKED, Tracked
from syncer.core.moment import Moment
from syncer.core.normalise import changed_fields

if TYPE_CHECKING:
    from datetime import datetime

    from syncer.store.reading import Reader

_NOW: Final = "now"
_DRIFT, _UNKNOWN = 6, 3
_WHY: Final = {
    True: "it was gone",
    False: "it had not been wholly looked at",
    None: "what was known is no longer kept",
}


@click.command()
@click.argument("moment", metavar="T", callback=moment_type(runs=True))
@filters()
@run
async def asof(moment: Moment, filters: Filters, output: str | None) -> None:
    """Show the images that were there at T: a time, an age such as 2d, or a run's number.

    observed_at says when an image was last looked at before. Zones of which nothing is known at T
    are named on stderr: their images are unknown, not absent.
    """
    async with reader() as opened:
        (at,), chosen = await _instants(opened, (moment,), filters)
        answer = await opened.ask("read/asof", *chosen.place, chosen.image, at, chosen.limit)
        await show(
            answer,
            output,
            table={
                "service": "SERVICE",
                "zone_id": "ZONE",
                "image_id": "IMAGE",
                "image_name": "NAME",
                "image_version": "VERSION",
                "image_size": "GIB",
                "image_status": "STATUS",
                "valid_from": "SINCE",
                "observed_at": "LAST LOOKED AT",
            },
            empty=f"No image is known to have been there at {at:%Y-%m-%d %H:%M:%S}Z.",
        )
        for zone in await opened.all("read/uncovered", *chosen.place, at):
            why = _WHY[zone["gone"]]
            click.echo(
                f"unknown at that time: zone {zone['service']}/{zone['zone_id']} of account "
                f"{zone['account']} ({why})",
                err=True,
            )


@click.command()
@click.argument("first", metavar="T1", callback=moment_type(runs=True))
@click.argument("last", metavar="[T2]", default=_NOW, callback=moment_type(runs=True))
@filters()
@click.option("--exit-code", is_flag=True, help="Exit 6 for drift, 3 where a zone was unknown.")
@run
async def diff(
    first: Moment, last: Moment, filters: Filters, exit_code: bool, output: str | None
) -> int:
    """Show what differs between T1 and T2 (default: now).

    Each is a time, an age such as 2d, or the number of a run (the state at its end; then only its
    account is compared). Of a zone that was gone or not wholly looked at there is one row of kind
    unknown: what it held is not compared.
    """
    seen: set[str] = set()
    async with reader() as opened:
        (one, two), chosen = await _instants(opened, (first, last), filters)
        if one > two:
            raise ConfigError(f"T1 ({one.isoformat()}) is after T2 ({two.isoformat()}): swap them")
        answer = await opened.ask("read/diff", *chosen.place, chosen.image, one, two)
        left = chosen.limit

        def derive(row: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal left
            if row["kind"] == "changed":
                row["changed_fields"] = changed_fields(
                    _values(row["before"]), _values(row["after"])
                )
                if not row["changed_fields"]:
                    return None
            seen.add(row["kind"])
            if left is not None:
                if left == 0:
                    return None
                left -= 1
            shown = details(row)
            shown["details"] = row["reason"] or shown["details"]
            return shown

        await show(
            answer,
            output,
            table={
                "kind": "KIND",
                "zone_id": "ZONE",
                "image_id": "IMAGE",
                "image_name": "NAME",
                "changed_at": "SEEN",
                "details": "WHAT CHANGED",
            },
            empty="No difference.",
            derive=derive,
        )
    if not exit_code:
        return 0
    return _DRIFT if seen - {"unknown"} else _UNKNOWN if seen else 0


def _values(text: object) -> Tracked:
    values = msgspec.json.decode(str(text), type=dict[str, str | None])
    return cast("Tracked", tuple(values[name] for name in TRACKED))


async def _instants(
    opened: Reader, moments: tuple[Moment, ...], chosen: Filters
) -> tuple[list[datetime], Filters]:
    """Return the instants, and the filters: a run's number means its account."""
    resolved = [await opened.resolve(moment) for moment in moments]
    accounts = {account for _, account in resolved if account is not None}
    if chosen.account is None and accounts:
        if len(accounts) > 1:
            raise ConfigError(
                f"the runs are of different accounts ({', '.join(sorted(accounts))}): "
                "give times, or --account"
            )
        chosen = msgspec.structs.replace(chosen, account=accounts.pop())
    return [at for at, _ in resolved], chosen
