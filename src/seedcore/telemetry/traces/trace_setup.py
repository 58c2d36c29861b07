"""Turns traces on, when the settings name an exporter; else nothing of OpenTelemetry is imported."""

from seedcore.settings import Settings
from seedcore.telemetry.traces.tracing import Tracing, use


def configure_traces(settings: Settings, instance: str) -> Tracing | None:
    """Trace from now on as the settings say; `instance` is what this process is called in the traces.

    Raises:
        SettingsError: the exporter's package is not installed.
    """
    if settings.otel_sdk_disabled or settings.otel_traces_exporter == "none":
        return use(None)
    from seedcore.telemetry.traces.pipeline import exporting

    return use(exporting(settings, instance))
