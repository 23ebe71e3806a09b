"""``syncer bench``: how close a run is to what the network, the parser and PostgreSQL allow."""

from __future__ import annotations

import click
import msgspec

from syncer.cli.common import run


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--zones", type=click.IntRange(min=100), default=200, show_default=True)
@click.option("--images", type=click.IntRange(min=100), default=5000, show_default=True)
@click.option(
    "--large",
    type=click.IntRange(min=100),
    default=200_000,
    show_default=True,
    help="Images of each of two large zones.",
)
@click.option("--database-url", metavar="URL", help="Not the embedded PostgreSQL but this one.")
@click.option("--pg-bin", metavar="DIR", help="The embedded PostgreSQL's programs.")
@click.option("--json", "as_json", is_flag=True, help="Print everything measured as JSON.")
@run
async def bench(  # noqa: PLR0917  (one option each)
    rounds: int,
    zones: int,
    images: int,
    large: int,
    database_url: str | None,
    pg_bin: str | None,
    as_json: bool,
) -> int:
    """Measure runs beside the floors of their work: fetching, decoding, COPY, latency.

    Serves images of its own and stores them in databases of its own (syncer_bench…), which it
    drops at the end. Checks what is stored after each run. The default takes a quarter of an hour
    and 2 GB; --images 500 shows the picture in two minutes.
    """
    from syncer.bench import table  # noqa: PLC0415  (start-up: not for --help)
    from syncer.bench.course import Course, Size  # noqa: PLC0415
    from syncer.bench.goals import judge  # noqa: PLC0415
    from syncer.bench.stage import open_stage  # noqa: PLC0415

    size = Size(zones=zones, images=images, large=large, rounds=rounds)
    async with open_stage(database_url, pg_bin) as stage:
        course = Course(stage, size, lambda line: click.echo(line, err=True))
        await course.run()
    goals = judge(course.samples, size)
    if as_json:
        told = table.document(goals, course.samples, size, stage.version)
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
        return 0
    about = table.machine(stage.version)
    click.echo(", ".join(f"{name} {value}" for name, value in about.items()))
    cells = [table.HEADINGS, *table.rows(goals)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
    return 0
