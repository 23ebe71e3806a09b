"""``syncer completion``: the script that completes commands, options and names in a shell."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from syncer.cli.command import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and names in a shell.

    Accounts, zones, images, baselines and runs are completed from the database, as far as it
    answers at once; no embedded server is started for it. In zsh, put the script into a folder of
    $fpath, under the name _syncer.
    """
    program = click.get_current_context().find_root()
    kind = get_completion_class(shell) or ShellComplete
    # Not source() of the kind: for bash it starts one, to ask how old it is.
    script = ShellComplete.source(kind(program.command, {}, "syncer", "_SYNCER_COMPLETE"))
    click.echo(script.strip())
