"""Metrics: one catalogue, counted in each process, exported once a second."""

from seedcore.telemetry.metrics.metric_registry import counter, gauge, histogram

__all__ = ["counter", "gauge", "histogram"]
