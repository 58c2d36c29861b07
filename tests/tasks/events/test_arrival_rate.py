"""Many within a moment are a flow; a trickle, and what is long past, are not."""

import pytest

from seedcore.tasks.events import arrival_rate
from seedcore.tasks.events.arrival_rate import WINDOW_S, ArrivalRate


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(arrival_rate, "time", clock)
    return clock


def test_many_at_once_flow_until_the_window_has_passed(clock):
    many = ArrivalRate(10)
    many.record(10)
    assert many.high
    clock.now += WINDOW_S * 0.9
    many.record(0)
    assert many.high
    clock.now += WINDOW_S * 0.2
    many.record(0)
    assert not many.high


def test_few_within_the_window_do_not_flow_however_long_they_come(clock):
    few = ArrivalRate(10)
    for _ in range(100):
        few.record(3)
        clock.now += WINDOW_S / 2.5
        assert not few.high


def test_a_steady_stream_flows_on(clock):
    stream = ArrivalRate(10)
    for n in range(100):
        stream.record(1)
        clock.now += WINDOW_S / 20
        assert stream.high == (n >= 9)
