"""``syncer bench``: how close a run is to what the network, the parser and PostgreSQL allow."""

from __future__ import annotations

import shutil
import sys

import click
import msgspec

from syncer.cli.command import Command
from syncer.cli.common import run
from syncer.config import parsers

_UNLIMITED = 1000  # columns, where the output is no terminal


@click.command(cls=Command)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How often each thing is measured.",
)
@click.option(
    "--zones",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Zones of the large account.",
)
@click.option(
    "--images",
    type=click.IntRange(min=10),
    default=5000,
    show_default=True,
    help="Images in each of its zones.",
)
@click.option(
    "--large",
    type=click.IntRange(min=1),
    default=200_000,
    show_default=True,
    help="Images in each of two zones too large for memory.",
)
@click.option(
    "--calls",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Zones read under a limit of 20 calls a second.",
)
@click.option(
    "--only",
    metavar="GOALS",
    show_default="all but --peers and --far",
    help="Measure only what these goals need, as in G1,G6.",
)
@click.option("--peers", is_flag=True, help="Also measure the vendor's SDK and dlt (G8 to G10).")
@click.option("--far", is_flag=True, help="Also measure an API 100 ms away over TLS (G13, G15).")
@click.option(
    "--database-url", metavar="URL", show_default="an embedded one", help="Use this PostgreSQL."
)
@click.option(
    "--pg-bin",
    metavar="DIR",
    show_default="where packages put them",
    help="Folder of the embedded PostgreSQL's programs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything measured as JSON.")
@run
async def bench(  # noqa: PLR0917  (one option each)
    rounds: int,
    zones: int,
    images: int,
    large: int,
    calls: int,
    only: str | None,
    peers: bool,
    far: bool,
    database_url: str | None,
    pg_bin: str | None,
    as_json: bool,
) -> int:
    """Measure runs beside the least their work can take: fetching, decoding, COPY, latency.

    Serves images of its own and stores them in databases of its own (syncer_bench...), which it
    drops at the end. Checks what is stored after each run. The default takes a quarter of an hour
    and 2 GB of disk; --images 500 gives a rough picture in five minutes. --peers and --far take
    longer, and need what syncer's extra `peers` installs; without them, what they measure is left
    out unless --only names it.
    """
    if database_url is not None:
        try:
            database_url = parsers.database_url(database_url).reveal()
        except ValueError as error:
            raise click.UsageError(f"--database-url: {error}") from None
    # The modules of the bench load slowly, which --help need not wait for.
    from syncer.bench import scenarios, table  # noqa: PLC0415
    from syncer.bench.fixture import open_fixture  # noqa: PLC0415
    from syncer.bench.goals import evaluate  # noqa: PLC0415
    from syncer.bench.programs import installed_competitors  # noqa: PLC0415
    from syncer.bench.runner import Runner, Workload  # noqa: PLC0415

    chosen = scenarios.choose_goals(only, peers=peers, far=far)
    workload = Workload(zones=zones, images=images, large=large, calls=calls, rounds=rounds)
    installed = installed_competitors()
    async with open_fixture(database_url, pg_bin) as fixture:
        runner = Runner(fixture, workload, progress=_progress, installed=installed)
        await scenarios.run_scenarios(runner, chosen)
        postgres = await fixture.postgres_version()
    goals = evaluate(runner.measurements, workload, chosen, installed)
    compared = installed if (scenarios.COMPETITOR_GOALS | {"G13"}) & chosen else ()
    about = table.machine(postgres, compared)
    if as_json:
        document = table.document(goals, runner.measurements, workload, about)
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
    click.echo(table.text(goals, about, width))
    return 0


def _progress(line: str) -> None:
    click.echo(line, err=True)
