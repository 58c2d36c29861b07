"""What this process has counted since the last export: updates of dicts, which the export takes away whole."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from seedcore.telemetry.metrics.catalogue import BY_NAME, CATALOGUE, MetricSpec
from seedcore.telemetry.metrics.label_bounds import LabelBounds, SeriesKey

DEFAULT_MAX_TYPES = 64

_M = TypeVar("_M")
_Key = TypeVar("_Key", bound=SeriesKey)


@dataclass(slots=True)
class MetricDeltas:
    """What was counted since the last export, by metric and series.

    Attributes:
        counts: of counters, what is to be added.
        values: of gauges, what was set last.
        histograms: counts by bucket (not cumulative; the last is above all bounds), then the sum of what was observed.
    """

    counts: dict[str, dict[SeriesKey, float]] = field(default_factory=dict)
    values: dict[str, dict[SeriesKey, float]] = field(default_factory=dict)
    histograms: dict[str, dict[SeriesKey, list[float]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts or self.values or self.histograms)

    def add(self, later: "MetricDeltas") -> None:
        """Add what was counted after this."""
        for name, counts in later.counts.items():
            kept = self.counts.setdefault(name, {})
            for key, amount in counts.items():
                kept[key] = kept.get(key, 0) + amount
        for name, values in later.values.items():
            self.values.setdefault(name, {}).update(values)
        for name, rows in later.histograms.items():
            known = self.histograms.setdefault(name, {})
            for key, row in rows.items():
                before = known.get(key)
                known[key] = list(row) if before is None else [a + b for a, b in zip(before, row, strict=True)]


class _MetricBase:
    """A metric of the registry. The lock is the registry's; it is held for the update of a dict."""

    def __init__(self, spec: MetricSpec, registry: "MetricRegistry") -> None:
        self.spec, self._registry, self._lock = spec, registry, registry.lock
        self._names = set(spec.labels)

    def _key(self, labels: Mapping[str, str]) -> SeriesKey:
        if labels.keys() != self._names:
            raise ValueError(f"{self.spec.name} has the labels {self.spec.labels}, not {tuple(labels)}")
        return tuple([labels[name] for name in self.spec.labels])


class CounterMetric(_MetricBase):
    """A count that only grows."""

    def __init__(self, spec: MetricSpec, registry: "MetricRegistry") -> None:
        super().__init__(spec, registry)
        self.pending: dict[SeriesKey, float] = {}

    def add(self, amount: float = 1, /, **labels: str) -> None:
        """Add to one series."""
        self.add_all({self._key(labels): amount})

    def add_all(self, amounts: Mapping[_Key, float]) -> None:
        """Add to many series: by the values of the labels, in the catalogue's order."""
        if not self._registry.enabled:
            return
        with self._lock:
            fold, pending = self._registry.bounds.fold, self.pending
            for key, amount in amounts.items():
                series = fold(self.spec, key)
                pending[series] = pending.get(series, 0) + amount


class GaugeMetric(_MetricBase):
    """A value that is set."""

    def __init__(self, spec: MetricSpec, registry: "MetricRegistry") -> None:
        super().__init__(spec, registry)
        self.pending: dict[SeriesKey, float] = {}

    def set(self, value: float, /, **labels: str) -> None:
        """Set one series."""
        key = self._key(labels)
        if self._registry.enabled:
            with self._lock:
                self.pending[self._registry.bounds.fold(self.spec, key)] = value


class HistogramMetric(_MetricBase):
    """Counts of what was observed, by bucket."""

    def __init__(self, spec: MetricSpec, registry: "MetricRegistry") -> None:
        super().__init__(spec, registry)
        self.pending: dict[SeriesKey, list[float]] = {}
        self._empty = [0] * (len(spec.bounds) + 2)

    def observe(self, value: float, /, **labels: str) -> None:
        """Observe one value."""
        self.observe_all({self._key(labels): (value,)})

    def observe_all(self, observed: Mapping[_Key, Sequence[float]]) -> None:
        """Observe a batch, by the values of the labels; a negative value counts as 0, since clocks differ."""
        if not self._registry.enabled:
            return
        with self._lock:
            fold, pending, bounds = self._registry.bounds.fold, self.pending, self.spec.bounds
            for key, values in observed.items():
                series = fold(self.spec, key)
                row = pending.get(series)
                if row is None:
                    row = pending[series] = list(self._empty)
                total = 0.0
                for value in values:
                    # The first bucket takes what is negative.
                    row[bisect_left(bounds, value)] += 1
                    if value > 0:
                        total += value
                row[-1] += total


class MetricRegistry:
    """Every process metric of the catalogue; a name or a label that is not in it is an error.

    Attributes:
        enabled: counts at all.
        lock: held for each update; any thread may count.
        bounds: which series there may be.
    """

    def __init__(self, *, enabled: bool = True, max_types: int = DEFAULT_MAX_TYPES) -> None:
        self.enabled, self.lock = enabled, Lock()
        self.bounds = LabelBounds(max_types)
        specs = [spec for spec in CATALOGUE if spec.source == "process"]
        self.counters = {s.name: CounterMetric(s, self) for s in specs if s.kind == "counter"}
        self.gauges = {s.name: GaugeMetric(s, self) for s in specs if s.kind == "gauge"}
        self.histograms = {s.name: HistogramMetric(s, self) for s in specs if s.kind == "histogram"}

    def configure(self, *, enabled: bool, max_types: int) -> None:
        """Take the settings of the process; what was counted before stays."""
        with self.lock:
            self.enabled = enabled
            if max_types != self.bounds.limit:
                self.bounds = LabelBounds(max_types)

    def take(self) -> MetricDeltas:
        """What was counted since the last call, which is forgotten here."""
        taken = MetricDeltas()
        with self.lock:
            for counted in self.counters.values():
                if counted.pending:
                    taken.counts[counted.spec.name], counted.pending = counted.pending, {}
            for gauge_metric in self.gauges.values():
                if gauge_metric.pending:
                    taken.values[gauge_metric.spec.name], gauge_metric.pending = gauge_metric.pending, {}
            for observed in self.histograms.values():
                if observed.pending:
                    taken.histograms[observed.spec.name], observed.pending = observed.pending, {}
        return taken


REGISTRY = MetricRegistry()
"""Of this process."""


def counter(name: str) -> CounterMetric:
    """A counter of the catalogue: `counter("seedcore_fallbacks_total").add(1, fallback="http")`."""
    return _found(REGISTRY.counters, name, "counter")


def gauge(name: str) -> GaugeMetric:
    """A gauge of the catalogue."""
    return _found(REGISTRY.gauges, name, "gauge")


def histogram(name: str) -> HistogramMetric:
    """A histogram of the catalogue."""
    return _found(REGISTRY.histograms, name, "histogram")


def _found(metrics: Mapping[str, _M], name: str, kind: str) -> _M:
    if name not in metrics:
        spec = BY_NAME.get(name)
        why = "it is not in the catalogue" if spec is None else f"it is a {spec.kind} of the {spec.source}"
        raise KeyError(f"{name} is no {kind} that a process counts: {why}")
    return metrics[name]
