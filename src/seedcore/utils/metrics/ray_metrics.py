"""Exports what a process has counted on Ray's metrics port: `ray_seedcore_…`, on every node."""

import time
from typing import Any

from seedcore.telemetry.metrics.catalogue import BY_NAME, MetricSpec
from seedcore.telemetry.metrics.label_bounds import SeriesKey
from seedcore.telemetry.metrics.metric_export import MetricSink
from seedcore.telemetry.metrics.metric_registry import MetricDeltas
from seedcore.utils.ray_connection import current_connection

EVERY_S = 5.0
"""Ray itself collects every ten seconds; a call costs 9 µs."""


def ray_sinks() -> list[MetricSink]:
    """Ray's metrics port as a sink, in a process that Ray started; else none."""
    connection = current_connection()
    return [RayMetrics()] if connection is not None and connection.mode == "worker" else []


class RayMetrics:
    """A `MetricSink` over `ray.util.metrics`, for a process that is connected to Ray.

    Ray 2.60 takes a histogram only value by value, and adds `_total` to the name of a counter that lacks it. So the
    buckets of a histogram are counters too: `…_bucket_total` with the label `le`, `…_sum_total` and `…_count_total`.
    """

    def __init__(self) -> None:
        # Ray's classes have no types.
        self._metrics: dict[str, Any] = {}
        self._kept, self._due = MetricDeltas(), 0.0

    async def write(self, deltas: MetricDeltas, *, last: bool = False) -> None:
        """Hand counts on to Ray, when they are due."""
        self._kept.add(deltas)
        if self._kept and (last or time.monotonic() >= self._due):
            self._due = time.monotonic() + EVERY_S
            kept, self._kept = self._kept, MetricDeltas()
            self._write(kept)

    def _write(self, deltas: MetricDeltas) -> None:
        for name, counts in deltas.counts.items():
            spec = BY_NAME[name]
            for key, amount in counts.items():
                self._add(name, spec, amount, _tags(spec, key))
        for name, values in deltas.values.items():
            spec = BY_NAME[name]
            for key, value in values.items():
                self._metric(name, spec, "gauge").set(float(value), _tags(spec, key))
        for name, rows in deltas.histograms.items():
            spec = BY_NAME[name]
            for key, row in rows.items():
                self._observe(spec, _tags(spec, key), row)

    def _observe(self, spec: MetricSpec, tags: dict[str, str], row: list[float]) -> None:
        *buckets, total = row
        below = 0.0
        for bound, count in zip((*map(str, spec.bounds), "+Inf"), buckets, strict=True):
            below += count
            self._add(f"{spec.name}_bucket", spec, below, {**tags, "le": bound}, "le")
        self._add(f"{spec.name}_count", spec, below, tags)
        self._add(f"{spec.name}_sum", spec, total, tags)

    def _add(self, name: str, spec: MetricSpec, amount: float, tags: dict[str, str], *more: str) -> None:
        if amount > 0:  # Ray refuses 0
            self._metric(name, spec, "counter", *more).inc(amount, tags)

    def _metric(self, name: str, spec: MetricSpec, kind: str, *more: str) -> Any:
        metric = self._metrics.get(name)
        if metric is None:
            from ray.util.metrics import Counter, Gauge

            made = Gauge if kind == "gauge" else Counter
            metric = self._metrics[name] = made(name, spec.help, (*spec.labels, *more))
        return metric


def _tags(spec: MetricSpec, key: SeriesKey) -> dict[str, str]:
    return dict(zip(spec.labels, key, strict=True))
