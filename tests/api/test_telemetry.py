"""Spans and figures at a collector that speaks OTLP."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import CommandLine, write_project

from mlkit.api.run_report import Run, render_metrics
from mlkit.api.telemetry import Telemetry, read_telemetry
from mlkit.spec.digest import Digest

E = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Collector(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        bodies = [body for path, _, body in self.bodies if path == "/v1/traces"]
        return [
            span
            for body in bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        bodies = [body for path, _, body in self.bodies if path == "/v1/metrics"]
        return {
            metric.name: metric
            for body in bodies
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.sdk", reason="mlkit[otel] is not installed")
    with Collector() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def mlkit(tmp_path: Path) -> CommandLine:
    (tmp_path / "home").mkdir()
    return CommandLine(tmp_path / "home", write_project(tmp_path / "project"))


def facts(span: Any) -> dict[str, object]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }  # fmt: skip


def test_a_command_its_steps_and_its_figures_reach_the_collector(
    mlkit: CommandLine, collector: Collector, tmp_path: Path
) -> None:
    mlkit.ok("pack", ".", "-t", "digits:1.2", "-q")
    environ = {E: collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-token=secret", "OTEL_SERVICE_NAME": "node-7"}

    done = mlkit.process("unpack", "digits:1.2", "-d", tmp_path / "out", env=environ)

    assert done.code == 0, done.stderr
    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {"mlkit unpack", "unpack", "unpack files"}
    assert spans["unpack"].parent_span_id == spans["mlkit unpack"].span_id
    assert spans["unpack files"].parent_span_id == spans["unpack"].span_id
    known = facts(spans["unpack"])
    assert (known["mlkit.reference"], known["mlkit.version"]) == ("digits:1.2", "1.2")
    assert str(known["mlkit.digest"]).startswith("sha256:")
    assert facts(spans["unpack files"])["mlkit.files"] == 6
    assert set(collector.metrics) == {"mlkit.duration", "mlkit.moved"}
    assert collector.metrics["mlkit.duration"].unit == "s"
    assert all(headers["x-token"] == "secret" for _, headers, _ in collector.bodies)
    assert b"node-7" in collector.bodies[0][2]


def test_an_error_is_told_by_its_code_and_not_by_its_words(mlkit: CommandLine, collector: Collector) -> None:
    done = mlkit.process("unpack", "secret-project:1", "-d", "out", env={E: collector.url})

    assert done.code == 3
    spans = {span.name: span for span in collector.spans}
    assert spans["unpack"].status.message == "E_NOTFOUND"
    assert not spans["unpack"].events


def test_a_collector_that_is_away_costs_little_and_fails_nothing(mlkit: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="mlkit[otel] is not installed")
    mlkit.ok("pack", ".", "-t", "digits:1.2", "-q")
    began = time.monotonic()

    done = mlkit.process("unpack", "digits:1.2", "-d", tmp_path / "out", "-q", env={E: "http://127.0.0.1:1"})

    assert (done.code, done.stderr) == (0, "")
    assert time.monotonic() - began < 60


def test_nothing_of_opentelemetry_is_imported_where_no_collector_is_configured(tmp_path: Path) -> None:
    code = """
import sys
import mlkit
with mlkit.session() as session:
    mlkit.list_kits(session=session)
import mlkit.api.run_report, mlkit.api.transfer, mlkit.cli.context
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    environ = {"HOME": str(tmp_path), "MLKIT_HOME": str(tmp_path / "store")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ)


def test_a_collector_without_the_extra_is_passed_over(mlkit: CommandLine, tmp_path: Path) -> None:
    code = """
import sys
for name in ("opentelemetry", "opentelemetry.sdk"):
    sys.modules[name] = None
from mlkit.api.telemetry import Telemetry, tracing
with tracing(Telemetry("http://127.0.0.1:1", {}, "mlkit")) as tracer, tracer.span("x", a=1) as span:
    span.note(b=2)
    tracer.measure("duration", 1.0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {E: ""},
        {E: "collector:4317"},
        {E: "http://c:4318", "OTEL_SDK_DISABLED": "True"},
        {E: "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_nothing_is_sent_where_the_variables_say_so(environ: dict[str, str]) -> None:
    assert read_telemetry(environ) is None


def test_the_standard_variables_say_where_and_secrets_are_not_shown() -> None:
    found = read_telemetry({E: " https://c:4318/ ", "OTEL_EXPORTER_OTLP_HEADERS": "a=b=c, d = e ,bad,=x"})

    assert found == Telemetry("https://c:4318", {"a": "b=c", "d": "e"}, "mlkit")
    assert "b=c" not in repr(found)


def test_whatever_a_reference_holds_is_one_label() -> None:
    run = Run("pull", 'a"b\\c\nd\x1b', Digest.of(b""), "1")

    text = render_metrics(run, at=1.5)

    assert 'reference="a\\"b\\\\c\\nd?"' in text
    assert 'mlkit_last_run_timestamp_seconds{command="pull"} 1.5\n' in text
