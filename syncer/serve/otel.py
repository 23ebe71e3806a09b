"""What records spans: the only importer of OpenTelemetry, loaded only where traces are asked for.

OpenTelemetry reads its variables by itself: where the collector is, headers, sampling, batches.
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
from syncer.tracing import Attributes, Span, recorded

_LAST_SPANS: Final = 2.0
"""Seconds that the end of the program waits at most for a collector."""
_SHARED: Final = frozenset({"syncer.account", "syncer.run_id", "syncer.service", "syncer.zone"})
_shared: ContextVar[dict[str, str | int | float | bool]] = ContextVar("shared")
_log = structlog.get_logger()


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Record spans and send them to the collector. Raises ValueError, RuntimeError: no such can be.

    A collector that does not answer costs the end of the program two seconds, and nothing else.
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
        # It has no limit of its own that holds, and would wait half a minute for a dead collector.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SPANS)
        if last.is_alive():
            exporter.lost()


class _Exporter(SpanExporter):
    """Warns once when the collector does not take spans, and again when it did in between."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._well = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._well = True
        else:
            self.lost()
        return result

    def lost(self) -> None:
        """Warn that spans were lost."""
        if self._well:
            self._well = False
            advice = "see to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, or unset it"
            _log.warning("traces.lost", advice=advice)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Recorded(Span):
    """A span that is recorded; the log lines inside of it bear the trace's id."""

    __slots__ = ("_attributes", "_name", "_remote", "_span", "_stack", "_told", "_tracer")

    def __init__(self, tracer: Tracer, name: str, attributes: Attributes, remote: bool) -> None:  # noqa: FBT001
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._remote = remote

    def __enter__(self) -> Self:
        self._told = dict(_shared.get({}))
        with contextlib.ExitStack() as stack:
            token = _shared.set(self._told)
            stack.callback(_shared.reset, token)
            first = not get_current_span().get_span_context().is_valid
            self._span = stack.enter_context(
                self._tracer.start_as_current_span(
                    self._name,
                    kind=SpanKind.CLIENT if self._remote else SpanKind.INTERNAL,
                    attributes=self._told,
                    record_exception=False,  # a traceback says nothing here, and may say too much
                    set_status_on_exception=False,
                )
            )
            if first:
                trace_id = f"{self._span.get_span_context().trace_id:032x}"
                stack.enter_context(structlog.contextvars.bound_contextvars(trace_id=trace_id))
            self._stack = stack.pop_all()
        self.tell(self._attributes)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ApiError):
            self.failed(error)
        elif error is not None:
            self.failed(Fault(code=type(error).__name__, message=str(error)))
        self._stack.close()

    def tell(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""
        for name, value in attributes.items():
            if value is not None:
                safe = redacted(value) if isinstance(value, str) else value
                self._span.set_attribute(name, safe)
                if name in _SHARED:
                    self._told[name] = safe

    def failed(self, fault: Fault | ApiError | None) -> None:
        """Say why that part of the run did not succeed, if so."""
        if fault is not None:
            self.tell({"error.type": fault.code, "syncer.request_id": fault.request_id})
            self._span.set_status(Status(StatusCode.ERROR, redacted(fault.message)[:500]))
