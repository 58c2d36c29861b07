"""Sets OpenTelemetry up: the provider, which skills' own spans go through too, and where spans are sent."""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TextIO

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import version as sdk_version
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from seedcore import __version__
from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.settings.telemetry import pairs_of
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.span_queue import SpanExport, SpanQueue
from seedcore.telemetry.traces.trace_sampling import TraceSampling
from seedcore.telemetry.traces.tracing import Tracing

_provider: TracerProvider | None = None


def exporting(
    settings: Settings, instance: str, exporter: SpanExport | None = None, stream: TextIO = sys.stdout
) -> Tracing:
    """A tracing whose spans go to `exporter`: the one that the settings name when None.

    Raises:
        SettingsError: the exporter's package is not installed.
    """
    queue = SpanQueue(
        exporter or _exporter(settings, stream),
        max_spans=settings.otel_bsp_max_queue_size,
        batch=min(settings.otel_bsp_max_export_batch_size, settings.otel_bsp_max_queue_size),
        delay_s=settings.otel_bsp_schedule_delay / 1000,
    )
    return made(settings, instance, queue.add, queue.flush)


def made(
    settings: Settings, instance: str, add: Callable[[ReadableSpan], None], flush: Callable[[float], object]
) -> Tracing:
    """A tracing that hands its spans to `add`."""
    return Tracing(_provider_of(settings, instance), add, TraceSampling(settings), flush)


class _ToActive(SpanProcessor):
    """Hands the spans of skills' own tracers on to what this process traces by now."""

    def on_start(self, span: object, parent_context: Context | None = None) -> None:
        """Nothing: a span that has not ended is not sent."""

    def on_end(self, span: ReadableSpan) -> None:
        """Hand it on."""
        if (current := tracing.active()) is not None:
            current.add(span)


def _provider_of(settings: Settings, instance: str) -> TracerProvider:
    """The provider of this process; OpenTelemetry allows one, and the first one stays."""
    global _provider
    if _provider is None:
        # A skill's spans belong to its task's trace; without one that is recorded they would be traces of their own.
        _provider = TracerProvider(
            ParentBased(ALWAYS_OFF), Resource(_resource(settings, instance)), shutdown_on_exit=False
        )
        _provider.add_span_processor(_ToActive())
        trace.set_tracer_provider(_provider)
    return _provider


def _resource(settings: Settings, instance: str) -> Mapping[str, str | int]:
    return {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version.__version__,
        "service.version": __version__,
        "service.instance.id": instance,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        **pairs_of(settings.otel_resource_attributes),
        "service.name": settings.otel_service_name,
    }


def _exporter(settings: Settings, stream: TextIO) -> SpanExport:
    if settings.otel_traces_exporter == "console":
        return ConsoleSpanExporter(out=stream, formatter=lambda span: span.to_json(indent=None) + "\n")
    try:
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER=otlp needs the extra `otel`: pip install 'seedcore[otel]' ({error})."
        ) from error
    given, certificate = settings.otel_exporter_otlp_headers, settings.otel_exporter_otlp_certificate
    return OTLPSpanExporter(
        endpoint=settings.otel_traces_url,
        certificate_file=None if certificate is None else str(certificate),
        headers=pairs_of(given.get_secret_value()) if given is not None else {},
        timeout=settings.otel_exporter_otlp_timeout,
        compression=Compression(settings.otel_exporter_otlp_compression),
    )
