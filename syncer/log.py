"""The only configuration of structlog: events go to stderr, pretty on a terminal, else JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_SECRET_NAMES: Final = ("secret", "token", "password", "authorization", "dsn", "url", "credential")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(log_format: str, level: str) -> None:
    """Set structlog up for the process.

    Format ``auto`` is console on a terminal, else JSON; level ``auto`` is warning on a terminal,
    where people have a progress bar and a summary, else info.
    """
    if level == "auto":
        level = "warning" if sys.stderr.isatty() else "info"
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            _redact,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries speak through the standard library; what they warn of is seen, no more.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")


def _redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name in event:
        if any(word in name.lower() for word in _SECRET_NAMES):
            event[name] = "***"
    return event
