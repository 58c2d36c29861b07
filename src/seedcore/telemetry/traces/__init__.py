"""Traces: one seam to OpenTelemetry. Nothing of it is imported before an exporter is set."""
