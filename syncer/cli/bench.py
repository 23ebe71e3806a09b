"""``syncer bench``: how close a run is to what the network, the parser and PostgreSQL allow."""

from __future__ import annotations

import click
import msgspec

from syncer.cli.common import run


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--zones", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--images", type=click.IntRange(min=10), default=5000, show_default=True)
@click.option(
    "--large",
    type=click.IntRange(min=1),
    default=200_000,
    show_default=True,
    help="Images of each of two large zones.",
)
@click.option(
    "--calls",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Zones read under a limit of 20 calls a second.",
)
@click.option("--only", metavar="GOALS", help="Measure only what these need, as in G1,G6.")
@click.option("--peers", is_flag=True, help="Also measure the vendor's SDK and dlt (G8 to G10).")
@click.option("--database-url", metavar="URL", help="Not the embedded PostgreSQL but this one.")
@click.option("--pg-bin", metavar="DIR", help="The embedded PostgreSQL's programs.")
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
    database_url: str | None,
    pg_bin: str | None,
    as_json: bool,
) -> int:
    """Measure runs beside the floors of their work: fetching, decoding, COPY, latency.

    Serves images of its own and stores them in databases of its own (syncer_bench...), which it
    drops at the end. Checks what is stored after each run. The default takes a quarter of an hour
    and 2 GB; --images 500 shows the picture in five minutes. --peers takes half an hour more, and
    what syncer's extra `peers` installs.
    """
    from syncer.bench import scenarios as chapters  # noqa: PLC0415  (start-up: not for --help)
    from syncer.bench import table  # noqa: PLC0415  (start-up: not for --help)
    from syncer.bench.fixture import open_stage  # noqa: PLC0415
    from syncer.bench.goals import judge  # noqa: PLC0415
    from syncer.bench.programs import PEERS  # noqa: PLC0415
    from syncer.bench.runner import Course, Size  # noqa: PLC0415

    chosen = chapters.choose(only, peers=peers)
    size = Size(zones=zones, images=images, large=large, calls=calls, rounds=rounds)
    async with open_stage(database_url, pg_bin) as stage:
        course = Course(stage, size, lambda line: click.echo(line, err=True))
        await chapters.measure(course, chosen)
    goals = judge(course.samples, size, chosen)
    about = table.machine(stage.version, PEERS if chapters.BESIDE_PEERS & chosen else ())
    if as_json:
        told = table.document(goals, course.samples, size, about)
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
        return 0
    click.echo(", ".join(f"{name} {value}" for name, value in about.items()))
    cells = [table.HEADINGS, *table.rows(goals)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
    return 0
