"""``syncer schema``: the JSON Schema of what a command prints with -o json or ndjson."""

from __future__ import annotations

from importlib.resources import files

import click

from syncer.cli.command import Command
from syncer.core.nearest import did_you_mean

_ENDING = ".json"


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1)
def schema(command: tuple[str, ...]) -> None:
    """Print the JSON Schema of what COMMAND prints with -o json or -o ndjson.

    It is that of a line of ndjson and of the array of json alike. Without COMMAND the commands
    that have one are named.
    """
    folder = files("syncer.cli") / "schemas"
    known = sorted(f.name.removesuffix(_ENDING) for f in folder.iterdir() if _ENDING in f.name)
    if not command:
        click.echo("\n".join(known))
        return
    name = "-".join(word.strip("-") for word in command)
    if name not in known:
        meant = did_you_mean(name, known)
        raise click.UsageError(
            f"there is no schema of {' '.join(command)!r}: see them with 'syncer schema'{meant}"
        )
    click.echo((folder / f"{name}{_ENDING}").read_text("utf-8"), nl=False)
