"""The valves' metrics: evidence as it is, and each alarm once, however often a Coordinator restarts."""

from collections.abc import Iterator

import pytest

from seedcore.coordinator.monitors.stream_monitors import MonitoredStream, StreamMonitors
from seedcore.telemetry.metrics.metric_registry import REGISTRY

ALARMS, EVIDENCE = "seedcore_valve_alarms_total", "seedcore_valve_evidence"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    REGISTRY.configure(enabled=True, max_types=64)
    REGISTRY.take()
    yield
    REGISTRY.take()


def test_alarms_since_the_start_are_counted_once() -> None:
    stream = MonitoredStream("x:echo")
    stream.work.alarms = 7
    StreamMonitors().restore([stream])
    assert ALARMS not in REGISTRY.take().counts
    stream.work.alarms, stream.outcome.alarms = 8, 1
    for _ in range(2):
        stream.update_status(0.5)
    assert REGISTRY.take().counts[ALARMS] == {("x:echo",): 2}


def test_evidence_is_that_of_the_status() -> None:
    stream = MonitoredStream("x:echo")
    stream.update_status(0.5)
    assert EVIDENCE not in REGISTRY.take().values
    stream.work.evidence, stream.outcome.evidence = 0.25, 0.125
    stream.update_status(0.5)
    assert REGISTRY.take().values[EVIDENCE] == {("x:echo",): pytest.approx(stream.status.evidence, abs=1e-3)}
