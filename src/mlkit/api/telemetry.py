"""Where spans and figures are sent, by the standard variables of OpenTelemetry. Nothing here sends any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlkit.progress import Tracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SPOKEN = ("", "http/protobuf")


@dataclass(frozen=True, slots=True, repr=False)
class Telemetry:
    """A collector that speaks OTLP over HTTP."""

    endpoint: str
    """Its base URL; `/v1/traces` and `/v1/metrics` follow."""
    headers: Mapping[str, str]
    """Sent with each request; often a token, so never shown."""
    service: str

    def __repr__(self) -> str:
        return f"Telemetry({self.endpoint}, {self.service})"


def read_telemetry(environ: Mapping[str, str]) -> Telemetry | None:
    """What OTEL_* say (OpenTelemetry specification, "Environment Variable Specification"); None where nothing is sent.

    Nothing is sent either where they ask for gRPC, which mlkit does not speak.
    """
    endpoint = environ.get(ENDPOINT, "").strip()
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    spoken = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
    if not endpoint.startswith(("http://", "https://")) or is_off or spoken not in _SPOKEN:
        return None
    pairs = [pair.partition("=") for pair in environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")]
    headers = {name.strip(): value.strip() for name, separator, value in pairs if separator and name.strip()}
    return Telemetry(endpoint.rstrip("/"), headers, environ.get("OTEL_SERVICE_NAME") or "mlkit")


@contextmanager
def tracing(telemetry: Telemetry | None) -> Iterator[Tracer]:
    """A tracer that sends what it is told at the end, where a collector is configured and `mlkit[otel]` is there."""
    from mlkit.progress import NoTracer

    if telemetry is None:
        yield NoTracer()
        return
    try:
        from mlkit.api.otel import OtelTracer
    except ImportError:
        # The variable is for all programs of a machine; that this one cannot serve it is no news each time.
        yield NoTracer()
        return
    tracer = OtelTracer(telemetry)
    try:
        yield tracer
    finally:
        tracer.close()
