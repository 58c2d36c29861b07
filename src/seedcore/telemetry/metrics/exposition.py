"""Prometheus' text format, version 0.0.4."""

from collections.abc import Iterable, Iterator

from seedcore.telemetry.metrics.catalogue import MetricSpec
from seedcore.telemetry.metrics.label_bounds import SeriesKey

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Sample = tuple[SeriesKey, float, list[int] | None]
"""A series of a metric: values of its labels, its value (of a histogram the sum), and a histogram's buckets."""


def exposed(metrics: Iterable[tuple[MetricSpec, Iterable[Sample]]]) -> str:
    """The page of these metrics, each with its help and type."""
    lines: list[str] = []
    for spec, samples in metrics:
        lines += [f"# HELP {spec.name} {spec.help}", f"# TYPE {spec.name} {spec.kind}"]
        for key, value, buckets in samples:
            labels = [f'{name}="{given.translate(_ESCAPES)}"' for name, given in zip(spec.labels, key, strict=True)]
            if buckets is None:
                lines.append(f"{spec.name}{_braced(labels)} {_number(value)}")
            else:
                lines += _histogram(spec, labels, value, buckets)
    return "\n".join([*lines, ""])


def _histogram(spec: MetricSpec, labels: list[str], total: float, buckets: list[int]) -> Iterator[str]:
    joined, below = ",".join(labels), 0
    before = f"{joined}," if joined else ""
    for bound, count in zip((*map(_number, spec.bounds), "+Inf"), buckets, strict=True):
        below += count
        yield f'{spec.name}_bucket{{{before}le="{bound}"}} {below}'
    yield f"{spec.name}_sum{_braced(labels)} {_number(total)}"
    yield f"{spec.name}_count{_braced(labels)} {below}"


def _braced(labels: list[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(float(value))
