"""Traces: what an OTLP collector receives of a run, and what a run is without one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from syncer import tracing
from syncer.app import traced
from syncer.config.settings import load
from syncer.secrets import remember
from syncer.simulator import Simulator, World
from tests.conftest import SECRET
from tests.support import Done, logged

HEADERS = "x-api-key=c0llector-key"


class Collector(ThreadingHTTPServer):
    """Receives OTLP over HTTP; answers with ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.bodies: list[bytes] = []
        self.keys: set[str | None] = set()
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name: str, at: str = "") -> list[Span]:
        """The spans of a name and a zone, in the order of time."""
        found = [s for s in self.spans if s.name == name and zone(s) == at]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def tree(self) -> dict[str, list[str]]:
        """The names of the spans within each span, by its name and zone."""
        names = {s.span_id: " ".join((s.name, zone(s))).strip() for s in self.spans}
        tree: dict[str, list[str]] = {}
        for one in sorted(self.spans, key=lambda s: (s.name, zone(s))):
            tree.setdefault(names.get(one.parent_span_id, ""), []).append(names[one.span_id])
        return tree


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        if self.server.status == 200:
            self.server.bodies.append(body)
            self.server.keys.add(self.headers["x-api-key"])
            for part in request.resource_spans:
                self.server.resources.append(attributes(part.resource))
                self.server.spans += [span for scope in part.scope_spans for span in scope.spans]
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def attributes(span: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def outcome_of(span: Span) -> tuple[Any, Any, Any]:
    """What came of a call: its status, its error, and which time it was."""
    found = attributes(span)
    names = ("http.response.status_code", "error.type", "http.request.resend_count")
    return found.get(names[0]), found.get(names[1]), found.get(names[2])


def zone(span: Span) -> str:
    return str(attributes(span).get("syncer.zone", ""))


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def otel(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """OpenTelemetry's variables, set for this process too."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": HEADERS,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def recording(otel: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Record what this process does, by OpenTelemetry's variables and others."""

    def record(**variables: str) -> AbstractContextManager[None]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return traced(load(environment=os.environ))

    return record


async def test_a_run_is_one_tree_of_spans(
    simulator: Simulator, otel: dict[str, str], collector: Collector, syncer: Any, db: Any
) -> None:
    """Run, zones, calls and writes: each in its place, what failed and what was retried as such."""
    simulator.add_fault("status=503,zone=FRA-A,times=1")
    simulator.add_fault(f"status=400,code=NO_{SECRET},zone=HKG-A")

    done = await syncer("sync", **otel, SYNCER_LOG_LEVEL="info")

    assert 3 == done.code
    zones = ["FRA-A", "HKG-A", "LAX-A", "SAO-A", "SEL-A", "SIN-E"]
    calls = {f"zone {zone}": [f"vm/DescribeImages {zone}"] for zone in zones}
    calls["zone FRA-A"] *= 2
    inside = [
        "vm/DescribeZones",
        *(f"{name} {z}" for name in ("zone", "zone.write") for z in zones),
    ]
    assert collector.tree() == {"": ["run"], "run": inside, **calls}

    (run,) = collector.named("run")
    assert Status.STATUS_CODE_ERROR == run.status.code
    about = {"syncer.account": "default", "syncer.run_id": 1}
    assert about.items() <= attributes(run).items()
    assert ("partial", 100, 8) == tuple(
        attributes(run)[f"syncer.{name}"] for name in ("status", "images", "calls")
    )

    first, second = collector.named("vm/DescribeImages", "FRA-A")
    port = int(simulator.endpoint.rpartition(":")[2])
    request = about | {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.full": f"{simulator.endpoint}/api/v2/vm",
        "syncer.service": "vm",
        "syncer.zone": "FRA-A",
        "syncer.action": "DescribeImages",
        "syncer.page": 1,
    }
    assert request.items() <= attributes(first).items()
    assert request.items() <= attributes(second).items()
    assert (503, "SERVICE_TEMPORARY_UNAVAILABLE", None) == outcome_of(first)
    assert (200, None, 1) == outcome_of(second)
    assert first.end_time_unix_nano <= second.start_time_unix_nano
    assert attributes(first)["syncer.request_id"] in {call.request_id for call in simulator.calls}
    assert Span.SPAN_KIND_CLIENT == first.kind

    (failed,) = collector.named("zone", "HKG-A")
    assert (Status.STATUS_CODE_ERROR, "NO_***") == (
        failed.status.code, attributes(failed)["error.type"]
    )  # fmt: skip
    assert "refused the request: NO_***" in failed.status.message
    assert SECRET.encode() not in b"".join(collector.bodies)
    (write,) = collector.named("zone.write", "FRA-A")
    assert ("postgresql", "changed", 20) == tuple(
        attributes(write)[name] for name in ("db.system.name", "syncer.status", "syncer.appeared")
    )

    assert {"c0llector-key"} == collector.keys
    service = {"service.name": "syncer", "deployment.environment.name": "test"}
    assert all(service.items() <= resource.items() for resource in collector.resources)
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert {run.trace_id.hex()} == {line["trace_id"] for line in lines}
    assert {s.trace_id for s in collector.spans} == {run.trace_id}


async def test_what_is_removed_is_asked_for_and_stored_in_spans(
    world: World, sync: Any, collector: Collector, recording: Any
) -> None:
    """The question by id stands in a span of its zone, as does what came of it."""
    await sync()
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    with recording(OTEL_SERVICE_NAME="mine"):
        await sync()
        await sync()
    tree = collector.tree()
    assert ["run", "run"] == tree[""]
    assert ["vm/DescribeImages FRA-A"] == tree["removals.confirm FRA-A"]
    assert ["removals.confirm FRA-A", "removals.judge", "removals.settle FRA-A"] == sorted(
        name for name in tree["run"] if name.startswith("removals")
    )
    assert tree["run"].count("zones.record") == 2
    assert {"mine"} == {resource["service.name"] for resource in collector.resources}
    assert 2 == len({span.trace_id for span in collector.spans})


async def test_no_secret_goes_to_a_collector(collector: Collector, recording: Any) -> None:
    """Not as an attribute, not in an error that went through a span."""
    remember(SECRET)
    with recording(), contextlib.suppress(ValueError), tracing.span("a") as outer:
        outer.set_attributes({"syncer.account": f"a {SECRET}"})
        with tracing.span("b", {"url.full": f"http://u:{SECRET}@h"}):
            raise ValueError(SECRET)
    assert ["a", "b"] == sorted(span.name for span in collector.spans)
    assert {"a ***"} == {attributes(span)["syncer.account"] for span in collector.spans}
    assert {"***"} == {span.status.message for span in collector.spans}
    assert SECRET.encode() not in b"".join(collector.bodies)


async def test_a_collector_that_refuses_is_warned_of_once(
    sync: Any, collector: Collector, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Spans are lost, the run is not; one line says so, and no library another."""
    collector.status = 400
    with logged("json") as text, recording(OTEL_BSP_SCHEDULE_DELAY="1"):
        report = await sync()
    assert 0 == report.exit_code
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert ["traces.lost"] == [line["event"] for line in lines if "trace" in line["event"]]
    assert [] == [line.name for line in caplog.records if "opentelemetry" in line.name]


async def test_a_collector_that_does_not_answer_holds_up_nothing(
    otel: dict[str, str], process: Any
) -> None:
    """The end of a run waits two seconds for it, not as long as its own timeout.

    In a process of its own: the exporter's thread goes on for half a minute.
    """
    with socket.create_server(("127.0.0.1", 0)) as deaf, anyio.fail_after(25):
        otel["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        otel["OTEL_EXPORTER_OTLP_TIMEOUT"] = "99"
        done = await process("sync", **otel, SYNCER_LOG_LEVEL="warning")
    (line,) = [json.loads(line) for line in done.err.splitlines()]
    assert (0, "traces.lost") == (done.code, line["event"])


async def test_a_variable_that_is_wrong_costs_the_traces_only(sync: Any, recording: Any) -> None:
    """What OpenTelemetry says of it is one line."""
    with logged("json") as text, recording(OTEL_BSP_MAX_QUEUE_SIZE="-1"):
        assert tracing.span("a") is tracing.span("b")
    (line,) = [json.loads(line) for line in text.getvalue().splitlines()]
    assert ("traces.not_recorded", True) == (line["event"], "positive" in line["error_message"])


async def _python(code: str, environment: dict[str, str]) -> Done:
    done = await anyio.run_process([sys.executable, "-c", code], check=False, env=environment)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


async def test_without_the_extra_one_line_says_how_to_get_it(
    environment: dict[str, str], otel: dict[str, str]
) -> None:
    """Asked for but not installed: a warning, and the run is done."""
    code = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
from syncer.cli import cli
cli(["sync"])"""
    done = await _python(code, environment | otel | {"SYNCER_LOG_LEVEL": "warning"})
    (line,) = [json.loads(line) for line in done.err.splitlines()]
    assert (0, "traces.not_recorded") == (done.code, line["event"])
    assert "pip install 'syncer[otel]'" in line["advice"]


async def test_where_no_traces_are_wanted_nothing_is_loaded(
    environment: dict[str, str], otel: dict[str, str]
) -> None:
    """Off means off: a whole run imports nothing of OpenTelemetry."""
    code = """
import atexit, sys
wanted = ("opentelemetry", "syncer.sync.run")
atexit.register(lambda: print([m for m in sys.modules if m.startswith(wanted)]))
from syncer.cli import cli
cli(["sync"])"""
    done = await _python(code, environment | otel | {"OTEL_SDK_DISABLED": "true"})
    assert (0, "['syncer.sync.run']") == (done.code, done.out.splitlines()[-1])
