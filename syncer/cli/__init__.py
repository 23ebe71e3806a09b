"""The command line: parse, call ``app``, print. Each command's module is loaded when it is used."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import sys
from collections.abc import MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import click
from click.exceptions import NoArgsIsHelpError

from syncer import __version__, streams
from syncer.cli.command import Group
from syncer.core.errors import OutputFailed
from syncer.core.nearest import nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS: Final = {
    "demo": ("demo", "Simulator, embedded PostgreSQL, two syncs with drift between: see it work."),
    "sync": ("sync", "Crawl every zone once and store what is there (for cron)."),
    "serve": ("serve", "The daemon: runs at fixed intervals, health and metrics over HTTP."),
    "worker": ("worker", "Crawl accounts whose turn it is, beside workers on other machines."),
    "images": ("read", "Images: current or last known state."),
    "zones": ("read", "Zones: freshness, images, withheld removals."),
    "runs": ("read", "Runs, newest first."),
    "changes": ("changes", "What appeared, changed, was removed or returned; --follow goes on."),
    "history": ("changes", "The timeline of one image, in all zones."),
    "diff": ("compare", "What differs between two instants."),
    "asof": ("compare", "Which images were there at an instant."),
    "spread": ("read", "Images that differ between zones."),
    "check": ("pins", "Is what I pinned still there and unchanged?"),
    "baseline": ("pins", "Baselines to check against: save, list, delete."),
    "approve": ("approve", "Approve the withheld removals of a zone or of a run."),
    "retire": ("approve", "Say that a zone is gone for this account."),
    "prune": ("prune", "Delete history and scans older than they are to be kept."),
    "doctor": ("doctor", "What is wrong, and what to do about it."),
    "db": ("db", "The database: upgrade, status, url, roles, dump, move, repair-clock."),
    "completion": ("completion", "The script that completes commands and names in a shell."),
    "schema": ("schema", "The JSON Schema of what a command prints."),
    "simulate": ("simulate", "An API simulator, for trying and testing."),
    "bench": ("bench", "How close a run is to what network, parser and PostgreSQL allow."),
}

INTERRUPTED: Final = 130
"""Exit code where Ctrl-C came before anything was begun, as of a shell."""
GARBAGE_THRESHOLD: Final = 50_000
"""How many new containers there must be before Python looks for garbage among them."""
_LONGEST: Final = 1000
"""Letters of an error of usage that are shown: an argument may have any number."""


class _LazyGroup(Group):
    """Imports a command's module when the command is used, so that none waits for the others'."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"syncer.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click knows none by name before it is loaded
            raise click.NoSuchCommand(
                error.command_name, possibilities=_COMMANDS, ctx=ctx
            ) from None

    def _main_shell_completion(
        self, ctx_args: MutableMapping[str, Any], prog_name: str, complete_var: str | None = None
    ) -> None:
        with contextlib.suppress(KeyError, ValueError):  # what a shell would have set is not there
            super()._main_shell_completion(ctx_args, prog_name, complete_var)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        names = [
            CompletionItem(name, help=text)
            for name, text in self.summaries(ctx)
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)  # its options

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, text) for name, (_, text) in _COMMANDS.items()]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  (whatever a command returns)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # before a command could say what it means to it
            raise SystemExit(INTERRUPTED) from None
        except click.NoSuchOption as error:
            likely = [one for one in error.possibilities or () if nearest(error.option_name, [one])]
            named = click.NoSuchOption(error.option_name, error.message, likely)
            raise click.UsageError(_shown(named.format_message()), error.ctx) from error
        except NoArgsIsHelpError:  # whose message is the help
            raise
        except click.UsageError as error:
            raise click.UsageError(_shown(error.format_message()), error.ctx) from error


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 partial, 4 removals "
    "withheld, 5 another run is at work, 6 drift found.",
)
@click.version_option(__version__, prog_name="syncer")
def cli() -> None:
    """Keep a trustworthy inventory of Zenlayer Cloud images in PostgreSQL."""


def main() -> None:
    """Run the command line."""
    streams.protect()
    sys.excepthook = _print_redacted_traceback
    _tune_garbage_collection()
    try:
        try:
            cli(prog_name="syncer")
        finally:
            streams.finish()
    except OutputFailed as error:
        from syncer.cli.common import say  # noqa: PLC0415  (start-up: --help needs none)

        say(*(f"syncer: {line}" for line in error.lines), err=True)
        sys.exit(error.exit_code)


def _shown(message: str) -> str:
    """Return an error of usage, which may quote any argument, as one line without secrets."""
    from syncer.core.normalise import printable  # noqa: PLC0415  (start-up: --help needs none)
    from syncer.secrets import redacted  # noqa: PLC0415

    shown = printable(redacted(message))
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    if not sys.stderr.isatty():
        return shown
    from syncer.cli.output import fitted  # noqa: PLC0415

    return "\n".join(fitted(shown, before=len("Error: ")))


def _tune_garbage_collection() -> None:
    """Make Python look for cyclic garbage rarely, and not when the process ends.

    A run makes next to none; looking for it took a tenth of a run, and 70 ms of a short command.
    """
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def _print_redacted_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a bug, without what the error may quote: secrets, escapes."""
    import traceback  # noqa: PLC0415  (start-up: --help needs none of them)

    from syncer.core.normalise import printable_lines  # noqa: PLC0415
    from syncer.secrets import redacted  # noqa: PLC0415

    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable_lines(redacted(text)))
