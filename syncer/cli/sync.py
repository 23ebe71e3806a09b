"""``syncer sync``: one run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from syncer.cli.columns import ACCOUNT, IMAGE, NAME, SERVICE, ZONE, listed, whole
from syncer.cli.command import Command
from syncer.cli.common import (
    check_globs,
    counted,
    courtesy,
    crawled_option,
    crawled_service_option,
    not_zone_option,
    output_option,
    run,
    say,
    settings,
    zone_option,
)
from syncer.cli.output import each, is_table, show_text, write
from syncer.cli.sentences import OfRun
from syncer.core.added import values_of
from syncer.core.diff import Columns
from syncer.core.hints import approve_command, approve_run_command, number, withheld_command
from syncer.core.model import TRACKED, name_of
from syncer.core.normalise import printable
from syncer.store.runs import Counts
from syncer.sync.accounts import Ended, exit_code, require_matches, unmatched_as_known

if TYPE_CHECKING:
    from syncer.sync.progress import Progress
    from syncer.sync.report import Report

_APPROVALS_SHOWN: Final = 5
"""The most commands that are offered where removals of many zones are withheld."""
RECORD_COLUMNS: Final = (
    *("account", "run_id", "status", "exit_code", "seconds"),
    *Counts.__struct_fields__,
    *("error_code", "error_message", "request_id"),
)
"""What is printed of each run."""
PLANNED_COLUMNS: Final = (
    *("account", "service", "zone_id", "image_id", "kind"),
    *("image_name", "changed_fields", "before", "after"),
)
"""What is printed of each change that a dry run found, as in ``image_changes``."""


@click.command(cls=Command)
@crawled_option
@crawled_service_option
@zone_option
@not_zone_option
@click.option("--dry-run", is_flag=True, help="Write nothing; print what would change.")
@click.option("--full", is_flag=True, help="Compare every row, even of zones that read the same.")
@output_option
@run
async def sync(  # noqa: PLR0917  (one option each)
    accounts: tuple[str, ...],
    services: tuple[str, ...],
    zones: tuple[str, ...],
    not_zones: tuple[str, ...],
    dry_run: bool,
    full: bool,
    output: str | None,
) -> int:
    """Crawl every zone once and store what is there.

    All accounts of the settings are crawled side by side, unless --account names some. Credentials
    come from a table [accounts.NAME] of the settings file, or from ZENLAYER_ACCESS_KEY_ID and
    ZENLAYER_ACCESS_KEY_SECRET, or ZENLAYER_TOKEN. Without SYNCER_DATABASE_URL or PG* variables an
    embedded PostgreSQL is used.
    """
    from syncer import app  # noqa: PLC0415  (start-up: aiohttp)

    check_globs(zones + not_zones)
    says = OfRun(summed_up=is_table(output))
    loaded = settings(
        crawling=True,
        sentences=says.sentences(),
        account=accounts,
        services=",".join(services) or None,
    )
    says.several = several = len(loaded.accounts) > 1
    runs = [
        app.run_options(
            each, zones=zones, not_zones=not_zones, full=full, dry_run=dry_run, beside=several
        )
        for each in loaded.accounts
    ]
    with _progress_bar() as progress:
        ended = await app.sync(loaded, runs, progress=progress)
    if several and all(one.left_out for one in ended):
        require_matches(ended, zones + not_zones)
    with contextlib.nullcontext() if dry_run else courtesy():
        await _print(ended, output, dry_run=dry_run)
    if several:
        require_matches(ended, zones + not_zones)
        if unmatched := unmatched_as_known(ended, zones + not_zones):
            say(f"syncer: {unmatched}", err=True)
    return exit_code(ended)


async def _print(ended: Sequence[Ended], output: str | None, *, dry_run: bool) -> None:
    """Print the runs, or for a dry run what they would have changed."""
    reports = [one.report for one in ended if one.report is not None]
    if dry_run:
        services = {zone.zone.ref.service for report in reports for zone in report.zones}
        await write(
            each(
                row | {"fields": [name.removeprefix("image_") for name in row["changed_fields"]]}
                for report in reports
                for row in _planned(report)
            ),
            PLANNED_COLUMNS,
            output,
            table=[
                whole("kind", "WOULD BE", title=True),
                *([ACCOUNT] if len(ended) > 1 else []),
                *([SERVICE] if len(services) > 1 else []),
                ZONE,
                IMAGE,
                NAME,
                listed("fields", "FIELDS"),
            ],
            empty="Nothing would change.",
        )
    elif not is_table(output):
        records = [dict.fromkeys(RECORD_COLUMNS) | _record(one) for one in ended]
        await write(each(records), RECORD_COLUMNS, output)
    if is_table(output):
        show = partial(summary, reports[0]) if len(ended) == 1 else partial(overview, ended)
        show_text(show(dry_run=dry_run))
        return
    for one in ended:
        whose = f"account {one.account}: " if len(ended) > 1 else ""
        messages = _messages(one)
        if one.report is not None and one.report.still_gone:
            messages += (_still_gone(one.report),)
        say(*(f"syncer: {whose}{message}" for message in messages), err=True)


def _messages(one: Ended) -> tuple[str, ...]:
    """Return why a run is not all done."""
    if one.error is not None:
        return one.error.lines
    fault = one.report.fault if one.report is not None else None
    return () if fault is None else (fault.message,)


def _record(one: Ended) -> dict[str, Any]:
    """Return a run as one flat record; what is not known is not in it."""
    if one.report is not None:
        return {**one.report.wide(), "exit_code": one.exit_code}
    return {
        "account": one.account,
        "status": one.status,
        "exit_code": one.exit_code,
        "error_code": type(one.error).__name__.upper(),
        "error_message": str(one.error),
    }


def overview(ended: Sequence[Ended], *, dry_run: bool) -> str:
    """Return the runs of several accounts for people; the last lines have one for each."""
    details, last = list[str](), list[str]()
    for one in ended:
        if one.report is None:
            last += [f"{one.account}: {one.status}: {line}" for line in _messages(one)]
            continue
        first, *rest = summary(one.report, dry_run=dry_run).splitlines()
        if one.left_out and not one.report.still_gone:
            first = "left out: no zone of it is selected."
        elif rest:
            details += [f"Account {one.account}:", *(f"  {line}" for line in rest)]
        last.append(f"{one.account}: {first}")
    return "\n".join(map(printable, details + last))


def summary(report: Report, *, dry_run: bool) -> str:
    """Return the run in a few lines for people."""
    if report.still_gone:
        return printable(f"{_still_gone(report)}.")
    counts = report.counts
    name = "Dry run" if dry_run else f"Run {report.run_id}"
    kinds = [
        (counts.appeared, "appeared"),
        (counts.changed, "changed"),
        (counts.removed, "removed"),
        (counts.returned, "returned"),
    ]
    changes = ", ".join(f"{n:,} {kind}" for n, kind in kinds if n) or "no change"
    seen = f"{report.zones_read}, {number(counts.images, 'image')}"
    calls = number(counts.calls, "call")
    lines = [f"{name} {report.status}: {seen}, {changes} ({calls})."]
    lines += _undone(report)
    if counts.withheld:
        are = "is" if counts.withheld == 1 else "are"
        lines.append(
            f"{number(counts.withheld, 'removal')} {are} withheld: it is rare that this many are "
            f"real. See them with '{withheld_command()}'; if they are really gone:"
        )
        commands = list(_approvals(report))
        lines.extend(f"  {command}" for command in commands[:_APPROVALS_SHOWN])
        if len(commands) > _APPROVALS_SHOWN:
            lines.append(f"  and {len(commands) - _APPROVALS_SHOWN:,} more, a zone each")
    return "\n".join(map(printable, lines))


def _still_gone(report: Report) -> str:
    """Return why nothing was read: every zone that is selected is gone."""
    zones = report.still_gone
    if len(zones) == 1:
        return f"{zones[0]} is gone: read again when the API lists it"
    return f"{counted(zones)} are gone: read again when the API lists them"


def _undone(report: Report) -> Iterator[str]:
    """Yield what was not done, one line for each cause, and which zones are gone."""
    stopped = report.stopped.message if report.stopped else ""
    groups = dict[tuple[str, str], list[str]]()
    for written in report.zones:
        if written.fault is not None and (verb := _UNDONE.get(written.status)):
            why = written.fault.message
            verb = "not read" if (verb, why) == ("failed", stopped) else verb
            groups.setdefault((verb, why), []).append(str(written.zone.ref))
    if report.unread:
        groups.setdefault(("not read", stopped), [])
    gone = {key: groups.pop(key) for key in list(groups) if key[0] == _UNDONE["gone"]}
    lines = [
        f"{counted(zones, more=report.unread if verb == 'not read' else 0)} {verb}: {why}"
        for (verb, why), zones in groups.items()
    ]
    fault = report.fault
    said = {why for _, why in groups}
    if report.stopped is not None and groups:
        said.add(fault.message if fault and fault.code == report.stopped.code else "")
    if fault is not None and fault.message not in said:
        lines.insert(0, fault.message)
    for at, line in enumerate(lines):
        yield f"  {line}" if at else f"Not all done: {line}"
    for (verb, why), zones in gone.items():
        yield f"No failure: {counted(zones)} {verb}: {why}"


_UNDONE: Final = {"failed": "failed", "incomplete": "read in part", "gone": "gone"}


def _approvals(report: Report) -> Iterator[str]:
    """Yield the commands that approve what is withheld: what the run withheld, then by zone."""
    count = sum(len(one.withheld) for one in report.removals if one.rule is not None)
    if report.run_id is not None and count:
        yield approve_run_command(run_id=report.run_id, max_removals=count)
    for written in report.zones:
        if written.withheld:
            zone = written.zone.ref
            yield approve_command(
                account=report.account,
                service=zone.service,
                zone=zone.zone_id,
                max_removals=len(written.withheld),
            )


def _planned(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the changes that a dry run found, in the columns of ``image_changes``."""
    for written in report.zones:
        if written.diff is None:
            continue
        names = {
            "account": report.account,
            "service": written.zone.ref.service,
            "zone_id": written.zone.ref.zone_id,
        }
        for image in written.diff.appeared:
            yield {
                **names,
                "image_id": image.image_id,
                "kind": "appeared",
                "image_name": name_of(image.tracked),
                "changed_fields": [],
                "before": None,
                "after": _named(Columns(image.tracked, image.added)),
            }
        for change in written.diff.changes:
            yield {
                **names,
                "image_id": change.image.image_id,
                "kind": change.kind,
                "image_name": name_of(change.image.tracked),
                "changed_fields": list(change.fields),
                "before": _named(change.before),
                "after": _named(Columns(change.image.tracked, change.image.added)),
            }
    removed = [(one.zone.ref, "removed", one.removed) for one in report.removals]
    withheld = [(one.zone.ref, "withheld", one.withheld) for one in report.zones]
    withheld += [(one.zone.ref, "withheld", one.withheld) for one in report.removals]
    for zone, kind, ids in removed + withheld:
        names = {"account": report.account, "service": zone.service, "zone_id": zone.zone_id}
        for image_id in ids:
            yield {
                **names,
                "image_id": image_id,
                "kind": kind,
                "image_name": None,
                "changed_fields": [],
                "before": None,
                "after": None,
            }


def _named(columns: Columns) -> dict[str, str | None]:
    return dict(zip(TRACKED, columns.tracked, strict=True)) | values_of(columns.added)


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from syncer.cli import bar  # noqa: PLC0415  (start-up: rich is for people)

    with bar.opened() as progress:
        yield progress
