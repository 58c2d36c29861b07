"""Keeps the number of series bounded: what comes after the first values of a label is counted as `other`."""

from collections import defaultdict

from seedcore.telemetry.metrics.catalogue import MetricSpec

OTHER = "other"
_SERIES_OF_HISTOGRAM = 2
_SERIES_OF_VALUE = 16
_REMEMBERED = 8
"""Keys by series: so many are remembered before what is folded is folded each time."""

SeriesKey = tuple[str, ...]


class LabelBounds:
    """The values that labels may have, the first that came; one for all metrics of a process.

    A label has at most `limit` values; a metric at most 16 times as many series, a histogram twice.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: defaultdict[str, set[str]] = defaultdict(set)
        self._series: defaultdict[str, set[SeriesKey]] = defaultdict(set)
        self._folded: defaultdict[str, dict[SeriesKey, SeriesKey]] = defaultdict(dict)

    def fold(self, spec: MetricSpec, key: SeriesKey) -> SeriesKey:
        """The series that counts `key`."""
        known = self._folded[spec.name]
        found = known.get(key)
        if found is None:
            found = self._fold(spec, key)
            if len(known) < _REMEMBERED * _SERIES_OF_VALUE * self.limit:
                known[key] = found
        return found

    def _fold(self, spec: MetricSpec, key: SeriesKey) -> SeriesKey:
        if len(key) != len(spec.labels):
            raise ValueError(f"{spec.name} has the labels {spec.labels}, not {len(key)} values")
        folded = tuple(self._bound(name, value) for name, value in zip(spec.labels, key, strict=True))
        series = self._series[spec.name]
        if folded not in series:
            each = _SERIES_OF_HISTOGRAM if spec.kind == "histogram" else _SERIES_OF_VALUE
            if len(series) >= each * self.limit:
                return (OTHER,) * len(key)
            series.add(folded)
        return folded

    def _bound(self, name: str, value: str) -> str:
        values = self._values[name]
        if value not in values:
            if len(values) >= self.limit:
                return OTHER
            values.add(value)
        return value
