"""Spans and figures for OpenTelemetry: the extra `mlkit[otel]`. Imported only where a collector is configured."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as Started
from opentelemetry.trace import Status, StatusCode

from mlkit import __version__
from mlkit.api.telemetry import Telemetry
from mlkit.errors import MlkitError
from mlkit.progress import Fact, Span

_TIMEOUT = 2  # seconds that a command waits for its collector at the end, for each of the two
_NEVER = 24 * 3600 * 1000.0  # milliseconds; figures go once, at the end
_UNITS = {"duration": "s", "moved": "By"}


class OtelTracer:
    """A tracer of OpenTelemetry's. A collector that is away costs two seconds, and no run fails for it."""

    def __init__(self, telemetry: Telemetry) -> None:
        # The SDK complains on stderr of a collector that is away; that is for whoever runs the collector.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        resource = Resource.create({"service.name": telemetry.service, "service.version": __version__})
        headers = dict(telemetry.headers)
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._spans.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(f"{telemetry.endpoint}/v1/traces", headers=headers, timeout=_TIMEOUT),
                export_timeout_millis=_TIMEOUT * 1000,
            )
        )
        exporter = OTLPMetricExporter(f"{telemetry.endpoint}/v1/metrics", headers=headers, timeout=_TIMEOUT)
        reader = PeriodicExportingMetricReader(
            exporter, export_interval_millis=_NEVER, export_timeout_millis=_TIMEOUT * 1000
        )
        self._figures = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._spans.get_tracer("mlkit", __version__)
        self._meter = self._figures.get_meter("mlkit", __version__)

    @contextmanager
    def span(self, name: str, **facts: Fact) -> Iterator[Span]:
        """See Tracer."""
        with self._tracer.start_as_current_span(
            name, attributes=_named(facts), record_exception=False, set_status_on_exception=False
        ) as started:
            try:
                yield _Noting(started)
            except MlkitError as error:
                # The code and no message: messages name what people keep to themselves.
                started.set_status(Status(StatusCode.ERROR, error.code))
                raise
            except BaseException as error:
                started.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def measure(self, name: str, value: float, **facts: Fact) -> None:
        """See Tracer."""
        histogram = self._meter.create_histogram(f"mlkit.{name}", unit=_UNITS.get(name, "1"))
        histogram.record(value, _named(facts))

    def close(self) -> None:
        """Send what there is."""
        self._spans.shutdown()
        self._figures.shutdown(timeout_millis=_TIMEOUT * 1000)


class _Noting:
    def __init__(self, started: Started) -> None:
        self._started = started

    def note(self, **facts: Fact) -> None:
        self._started.set_attributes(_named(facts))


def _named(facts: dict[str, Fact]) -> dict[str, Fact]:
    return {f"mlkit.{name}": value for name, value in facts.items()}
