"""Recording spans: the only importer of OpenTelemetry, loaded only where traces are asked for.

OpenTelemetry itself reads its variables: where the collector is, headers, sampling, batches.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, get_current_span

from syncer import __version__
from syncer.core.errors import ApiError
from syncer.core.model import Fault
from syncer.secrets import redacted
from syncer.serve.timing import Timing
from syncer.tracing import Attributes, Span, recorded

_INHERITED: Final = frozenset({"syncer.account", "syncer.run_id", "syncer.service", "syncer.zone"})
"""The attributes that a span has from the span around it."""
_inherited: ContextVar[dict[str, str | int | float | bool]] = ContextVar("inherited")
_log = structlog.get_logger()


@contextlib.contextmanager
def exporting(timing: Timing = Timing()) -> Iterator[None]:  # noqa: B008  (frozen)
    """Record spans and send them to the collector.

    A collector that does not answer delays the end of the program by ``timing.last_spans``, and
    nothing else. Raises ValueError or RuntimeError where one of the variables is wrong.
    """
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # see _Exporter
    ours = Resource.create({"service.name": "syncer", "service.version": __version__})
    exporter = _Exporter(OTLPSpanExporter())
    provider = TracerProvider(
        resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        with recorded(partial(_Recorded, provider.get_tracer("syncer", __version__))):
            yield
    finally:
        # Its own timeouts do not hold: it would wait half a minute for a dead collector.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(timing.last_spans)
        if last.is_alive():
            exporter.lost()


class _Exporter(SpanExporter):
    """Warns when the collector stops taking spans: once, until it has taken some again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._taken = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._taken = True
        else:
            self.lost()
        return result

    def lost(self) -> None:
        """Warn that spans were lost."""
        if self._taken:
            self._taken = False
            advice = "see to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, or unset it"
            _log.warning("traces.lost", advice=advice)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Recorded(Span):
    """A span that is recorded; log lines within it have the id of the trace."""

    __slots__ = ("_attributes", "_inherits", "_name", "_remote", "_span", "_stack", "_tracer")

    def __init__(self, tracer: Tracer, name: str, attributes: Attributes, remote: bool) -> None:  # noqa: FBT001
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._remote = remote

    def __enter__(self) -> Self:
        self._inherits = dict(_inherited.get({}))
        with contextlib.ExitStack() as stack:
            token = _inherited.set(self._inherits)
            stack.callback(_inherited.reset, token)
            first = not get_current_span().get_span_context().is_valid
            self._span = stack.enter_context(
                self._tracer.start_as_current_span(
                    self._name,
                    kind=SpanKind.CLIENT if self._remote else SpanKind.INTERNAL,
                    attributes=self._inherits,
                    record_exception=False,  # a traceback may show secrets
                    set_status_on_exception=False,
                )
            )
            if first:
                trace_id = f"{self._span.get_span_context().trace_id:032x}"
                stack.enter_context(structlog.contextvars.bound_contextvars(trace_id=trace_id))
            self._stack = stack.pop_all()
        self.set_attributes(self._attributes)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ApiError):
            self.set_fault(error)
        elif error is not None:
            self.set_fault(Fault(code=type(error).__name__, message=str(error)))
        self._stack.close()

    def set_attributes(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""
        for name, value in attributes.items():
            if value is not None:
                safe = redacted(value) if isinstance(value, str) else value
                self._span.set_attribute(name, safe)
                if name in _INHERITED:
                    self._inherits[name] = safe

    def set_fault(self, fault: Fault | ApiError | None) -> None:
        """Record why this part of the run did not succeed (None: it did)."""
        if fault is not None:
            self.set_attributes({"error.type": fault.code, "syncer.request_id": fault.request_id})
            self._span.set_status(Status(StatusCode.ERROR, redacted(fault.message)[:500]))
