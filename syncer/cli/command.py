"""What the help of all commands has in common: what may be repeated, and examples."""

from __future__ import annotations

import re
from typing import Final

import click

_REPEATED: Final = "may be repeated"
_IN_WORDS: Final = re.compile(r"\[default: \(([^()]*)\)(?=[;\]])")


class Command(click.Command):
    """A command whose help says which options may be repeated, and ends with examples."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog, and the examples."""
        super().format_epilog(ctx, formatter)
        _write_examples(ctx, formatter)


class Group(click.Group):
    """The same, of a command that has commands."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options and the commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with all of its first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog, and the examples."""
        super().format_epilog(ctx, formatter)
        _write_examples(ctx, formatter)

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the names of the commands, and the first sentence of each."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        return [(name, one.get_short_help_str(limit=1000)) for name, one in found if one]


def _write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    with formatter.section("Options"):
        formatter.write_dl(
            [
                (spelt, _with_extras(option, text))
                for option in command.get_params(ctx)
                if isinstance(option, click.Option)
                and (record := option.get_help_record(ctx)) is not None
                for spelt, text in [record]
            ]
        )


def _with_extras(option: click.Option, text: str) -> str:
    """Add that an option may be repeated; a default in words needs no parentheses."""
    text = _IN_WORDS.sub(r"[default: \1", text)
    if not option.multiple:
        return text
    return f"{text[:-1]}; {_REPEATED}]" if text.endswith("]") else f"{text}  [{_REPEATED}]"


def _write_examples(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    from syncer.cli.examples import EXAMPLES  # noqa: PLC0415  (start-up: only --help shows them)

    with formatter.section("Examples"):
        for text, line in EXAMPLES[path_of(ctx)]:
            formatter.write(f"{'':>{formatter.current_indent}}# {text}\n")
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def path_of(ctx: click.Context) -> str:
    """Return the names of a command after the program's, such as ``db status``."""
    names = []
    while ctx.parent is not None:
        names.append(ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(reversed(names))
