"""The only configuration of structlog: events go to stderr, pretty on a terminal, else JSON."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from syncer import streams
from syncer.core.normalise import printable, printable_lines
from syncer.secrets import STARS, redacted


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Make a module look as if it were not installed, unless it was imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # import raises ImportError
    try:
        yield
    finally:
        del sys.modules[module]


# structlog imports rich wherever it is installed, and has no switch against it. That takes 50 ms of
# each command, for tracebacks that we never print: they show local variables, which may be secret.
with _without("rich"):
    import structlog

_SECRET_NAMES: Final = ("secret", "token", "password", "authorization", "dsn", "url", "credential")
_OF_LINES: Final = ("exception", "stack")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


Sentence = Callable[[Mapping[str, Any]], str | None]
"""Says what an event is, in a sentence for people; None: nothing that is worth a line."""


class Causes:
    """Which causes were logged: of many lines with one cause, one is worth reading."""

    def __init__(self) -> None:
        self._logged = set[Hashable]()

    def is_new(self, cause: Hashable) -> bool:
        """Return whether a cause was not asked about before; from now on it was."""
        new = cause not in self._logged
        self._logged.add(cause)
        return new

    def forget(self) -> None:
        """Begin anew: what comes from now on is news."""
        self._logged.clear()


def configure(
    log_format: str,
    level: str,
    *,
    sentences: Mapping[str, Sentence] = MappingProxyType({}),
    fit: Callable[[str], str] = str,
) -> None:
    """Set structlog up for the process.

    Format ``auto`` is console on a terminal, else JSON; level ``auto`` is info, but on a terminal
    warning, where people have a progress bar, a summary, and events that have ``sentences``.
    ``fit`` breaks a line that is longer than the terminal is wide.
    """
    stderr = sys.stderr
    talks = log_format == level == "auto" and sys.stderr.isatty()
    if level == "auto":
        level = "warning" if sys.stderr.isatty() and not talks else "info"
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            # Not rich's: it shows local variables, which may be secret.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    if console and stderr.isatty():
        renderer = partial(_fitted, renderer, fit)
    shared: list[structlog.typing.Processor] = [
        _report_lost_lines,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
    ]
    # JSON escapes all that is not ASCII.
    last = [_redact, _printable] if console else [_redact]
    if talks:
        last.insert(0, partial(_say, sentences))
    structlog.configure(
        processors=[*shared, *last, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.PrintLogger(_above_a_bar(stderr)),
        cache_logger_on_first_use=False,
    )
    _take_libraries([*last, renderer], shared)


def _take_libraries(
    last: list[structlog.typing.Processor], shared: list[structlog.typing.Processor]
) -> None:
    """Show warnings and errors of libraries, which log through the standard library."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *last,
            ],
        )
    )
    handler.addFilter(_is_news)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


class _Handler(logging.StreamHandler[Any]):
    """Writes to stderr, or to what stands for it."""

    @property
    def stream(self) -> Any:  # noqa: ANN401  (whatever stands for it)
        """The stream."""
        return _above_a_bar(self._stderr)

    @stream.setter
    def stream(self, stderr: object) -> None:
        """Take the stream."""
        self._stderr = stderr


def _above_a_bar(stderr: Any) -> Any:  # noqa: ANN401
    """Return what stands for stderr now: with a progress bar, what writes lines above it."""
    now = sys.stderr
    return now if getattr(now, "rich_proxied_file", None) is stderr else stderr


def _fitted(
    renderer: structlog.typing.Processor,
    fit: Callable[[str], str],
    logger: Any,  # noqa: ANN401  (of structlog, or of the standard library)
    method: str,
    event: MutableMapping[str, Any],
) -> str:
    """Render a line, and break it where it is too long."""
    return "\n".join(map(fit, str(renderer(logger, method, event)).split("\n")))


def _say(
    sentences: Mapping[str, Sentence],
    _logger: object,
    method: str,
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """Put a sentence in the place of an event that has one; of others, keep what is a warning."""
    name = event["event"]
    if name in sentences:
        if (text := sentences[name](event)) is None:
            raise structlog.DropEvent
        return {"event": text, "timestamp": event["timestamp"]}
    if _LEVELS.get(method, _LEVELS["error"]) < _LEVELS["warning"]:
        raise structlog.DropEvent
    return event


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a library's line says something new.

    asyncpg leaves futures of lost connections behind, whose errors asyncio logs with a traceback;
    whoever used the connection was given an error of it already.
    """
    error = record.exc_info[1] if record.exc_info else None
    return record.name != "asyncio" or not type(error).__module__.startswith("asyncpg.")


def _report_lost_lines(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if lost := streams.take_lost_lines():
        structlog.get_logger().warning("log.lines_lost", lines=lost)
    return event


def _redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        secret = any(word in name.lower() for word in _SECRET_NAMES)
        event[name] = STARS if secret else _clean(value)
    return event


def _printable(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Make each text of an event one line (a traceback: as it has) that steers no terminal."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable_lines(value) if name in _OF_LINES else printable(value)
    return event


def _clean(value: object) -> object:
    """Star what is secret in a value and, where it is a collection, in its items."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {name: _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return redacted(value if isinstance(value, str) else repr(value))
