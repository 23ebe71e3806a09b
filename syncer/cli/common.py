"""What every command shares: the event loop, errors as one line with its exit code, options."""

from __future__ import annotations

import contextlib
import errno
import functools
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

import anyio
import click

from syncer import log, streams
from syncer.cli.names import complete, complete_service
from syncer.cli.output import FORMATS, fitted_log, show_text
from syncer.config.parsers import EVERY_SERVICE, unknown_service
from syncer.config.settings import Settings, load_with_faults
from syncer.core.errors import OutputFailed, SyncerError, leaves_of, unwrapped
from syncer.core.glob import fault
from syncer.core.hints import number
from syncer.core.normalise import printable
from syncer.secrets import redacted
from syncer.zenlayer.sources import SOURCES

F = TypeVar("F", bound=Callable[..., Any])
_NAMED: Final = 4
"""As many zones are named where one line is for them all."""
_SHOWN: Final = 60
"""Letters of a glob that an error repeats."""


def settings(
    *,
    crawling: bool = False,
    sentences: Mapping[str, log.Sentence] = MappingProxyType({}),
    **flags: object,
) -> Settings:
    """Load the settings under the given flags and set the log up.

    ``crawling``: every account must have credentials. ``sentences`` are said
    on a terminal.
    """
    loaded = load_with_faults(flags, options=option_names())
    checked = loaded.checked(crawling=crawling, reading=not crawling)
    log.configure(checked.log_format, checked.log_level, sentences=sentences, fit=fitted_log)
    if loaded.unknown:
        from structlog import get_logger  # noqa: PLC0415  (not before ``log``, which tames it)

        for variable in loaded.unknown:
            get_logger().warning("setting.ignored", name=variable.name, advice=variable.advice)
    return checked


def option_names() -> dict[str, str]:
    """Return how each parameter of the command is spelt on the command line, as errors name it."""
    command = click.get_current_context().command
    return {each.name: each.opts[0] for each in command.params if each.name and each.opts}


def say(*lines: str, err: bool = False) -> None:
    """Print lines that may hold what came from outside; each stays one line, unless folded."""
    show_text("\n".join(printable(redacted(line)) for line in lines), err=err)


def counted(zones: Sequence[str], *, more: int = 0) -> str:
    """Return a zone by name; of many, how many they are and the first. ``more`` have no name."""
    count = len(zones) + more
    if count == len(zones) == 1:
        return f"zone {zones[0]}"
    named = ", ".join(zones[:_NAMED]) + (", ..." if count > _NAMED else "")
    return number(count, "zone") + (f" ({named})" if zones else "")


def fail(code: int, *lines: str) -> NoReturn:
    """Print the lines on stderr and end the program with an exit code."""
    say(*(f"syncer: {line}" for line in lines), err=True)
    raise SystemExit(code)


def run(command: Callable[..., Awaitable[int | None]]) -> Callable[..., None]:
    """Run an async command; its result is the exit code, a named error one line and its code."""

    @functools.wraps(command)
    def wrapper(*args: object, **kwargs: object) -> None:
        _check_text()
        try:
            with unwrapped():  # also what is printed while a task group is open
                code = anyio.run(functools.partial(command, *args, **kwargs))
        except SyncerError as error:
            fail(error.exit_code, *error.lines)
        except OSError as error:
            fail(1, _of_the_system(error))
        except BaseExceptionGroup as group:  # of a task group, in which several tasks met it
            leaves = list(leaves_of(group))
            system = [leaf for leaf in leaves if isinstance(leaf, OSError)]
            if not system or not all(isinstance(leaf, OSError | SyncerError) for leaf in leaves):
                raise
            fail(1, _of_the_system(system[0]))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        raise SystemExit(code or 0)

    return wrapper


def _of_the_system(error: OSError) -> str:
    """Return what the system refused, and what to do about it."""
    said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return f"{said}: let it have more at once (ulimit -n; LimitNOFILE of a unit)"
    return said


@contextlib.contextmanager
def courtesy() -> Iterator[None]:
    """What is printed within changes no exit code: what was done is done, shown or not."""
    streams.wait_for_no_reader()
    try:
        yield
        sys.stdout.flush()
    except OutputFailed as error:
        say(f"syncer: {error}", err=True)


def output_option(function: F) -> F:
    """Add ``-o``: table on a terminal, else newline-delimited JSON."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default=None,
        show_default="table on a terminal, else ndjson",
        help="Format; csv-safe is for spreadsheets: a text like a formula gets a ' before it.",
    )(function)


def _globs_option(option: str, name: str, what: str, text: str, default: str) -> Callable[[F], F]:
    return click.option(
        option,
        name,
        multiple=True,
        metavar="GLOB",
        show_default=default,
        shell_complete=complete(what),
        help=text,
    )


zone_option: Final = _globs_option("--zone", "zones", "zone", "Zones by id.", "all")
"""Adds ``--zone GLOB``, repeatable."""
not_zone_option: Final = _globs_option(
    "--not-zone", "not_zones", "zone", "But not these zones, by id.", "none"
)
"""Adds ``--not-zone GLOB``, repeatable."""
image_option: Final = _globs_option("--image", "images", "image", "Images by id or name.", "all")
"""Adds ``--image GLOB``, repeatable."""


def check_globs(patterns: tuple[str, ...]) -> None:
    """Raise a usage error for a pattern that is not a glob, or too long to be searched for."""
    for pattern in patterns:
        if why := fault(pattern):
            shown = pattern if len(pattern) <= _SHOWN else f"{pattern[:_SHOWN]}..."
            raise click.UsageError(f"{shown!r}: {why}")


def _check_text() -> None:
    """Raise a usage error for an argument that is not UTF-8, unless it is the name of a file."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.params.get(parameter.name or "")
        for text in given if isinstance(given, tuple | list) else [given]:
            if isinstance(text, str) and (why := _no_text(text)):
                what = parameter.opts[0] if parameter.opts[0].startswith("-") else "argument"
                raise click.UsageError(f"{what} {text!r} {why}")


def _no_text(text: str) -> str | None:
    """Return why PostgreSQL would not take a text, or None."""
    if "\0" in text:
        return "holds a NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return None


def account_option(function: F) -> F:
    """Add ``--account``."""
    return click.option(
        "--account",
        metavar="NAME",
        show_default="the one that has it",
        shell_complete=complete("account"),
        help="Account.",
    )(function)


def _accounts_option(text: str, default: str) -> Callable[[F], F]:
    return click.option(
        "--account",
        "accounts",
        multiple=True,
        metavar="NAME",
        show_default=default,
        shell_complete=complete("account"),
        help=text,
    )


accounts_option: Final = _accounts_option("Only this account.", "all that are stored")
"""Adds ``--account``, repeatable, to what reads the store."""
crawled_option: Final = _accounts_option(
    "Only this account; where the settings have no tables of accounts: the credentials' name.",
    "all",
)
"""The same, to what goes by the accounts of the settings."""
crawled_service_option: Final = click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME",
    show_default="SYNCER_SERVICES",
    shell_complete=complete_service,
    help=f"Only this service: {', '.join(SOURCES)}, or all.",
)
"""Adds ``--service``, repeatable, to what crawls."""


http_option: Final = click.option(
    "--http",
    metavar="ADDR:PORT",
    show_default="SYNCER_HTTP, 127.0.0.1:9464",
    help="Serve /livez, /readyz and /metrics there, or 'off'.",
)
"""Adds ``--http``, to what serves for long."""


def check_services(
    _ctx: click.Context, _param: click.Parameter, given: tuple[str, ...] | str | None
) -> tuple[str, ...] | str | None:
    """Return the services of an option, none for ``all``; one that there is not is wrong usage."""
    for name in [given] if isinstance(given, str) else given or ():
        if name not in {*SOURCES, EVERY_SERVICE}:
            raise click.UsageError(f"--service: {unknown_service(name)}")
    if isinstance(given, str):
        return None if given == EVERY_SERVICE else given
    return () if given and EVERY_SERVICE in given else given


def service_option(function: F) -> F:
    """Add ``--service``, repeatable."""
    return click.option(
        "--service",
        "services",
        multiple=True,
        metavar="NAME",
        show_default="all",
        callback=check_services,
        shell_complete=complete_service,
        help=f"Service: {', '.join(SOURCES)}.",
    )(function)
