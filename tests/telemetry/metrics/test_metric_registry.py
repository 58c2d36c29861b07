"""The counting in a process: declared metrics alone, bounded series, taken away whole."""

import threading

import pytest

from seedcore.telemetry.metrics import counter, gauge, histogram
from seedcore.telemetry.metrics.metric_registry import MetricDeltas, MetricRegistry

WAIT = "seedcore_task_wait_seconds"


def test_what_was_counted_is_taken_once() -> None:
    registry = MetricRegistry()
    registry.counters["seedcore_decisions_total"].add(2, route="fast")
    registry.counters["seedcore_decisions_total"].add_all({("fast",): 1, ("plan",): 4})
    registry.gauges["seedcore_valve_evidence"].set(1.5, stream="a")
    registry.gauges["seedcore_valve_evidence"].set(2.5, stream="a")
    taken = registry.take()
    assert taken.counts == {"seedcore_decisions_total": {("fast",): 3, ("plan",): 4}}
    assert taken.values == {"seedcore_valve_evidence": {("a",): 2.5}}
    assert not registry.take()


def test_a_histogram_counts_by_the_bounds_that_hold_the_value() -> None:
    registry = MetricRegistry()
    waits = registry.histograms[WAIT]
    key = ("default", "echo")
    waits.observe_all({key: [-1.0, 0.005, 0.006, 9999.0]})
    row = registry.take().histograms[WAIT][key]
    assert row[:-1] == [2, 1, *[0] * 8, 1]
    assert row[-1] == pytest.approx(9999.011)


def test_further_values_of_a_label_are_counted_as_other() -> None:
    registry = MetricRegistry(max_types=3)
    waits = registry.histograms[WAIT]
    waits.observe_all({("default", f"type{n}"): [1.0] for n in range(10_000)})
    rows = registry.take().histograms[WAIT]
    assert list(rows) == [("default", "type0"), ("default", "type1"), ("default", "type2"), ("default", "other")]
    assert sum(rows["default", "other"][:-1]) == 9997


def test_a_metric_has_bounded_series_however_labels_combine() -> None:
    registry = MetricRegistry(max_types=8)
    dead = registry.counters["seedcore_dead_total"]
    dead.add_all({(f"q{a}", f"t{b}", f"c{c}"): 1 for a in range(8) for b in range(8) for c in range(8)})
    rows = registry.take().counts["seedcore_dead_total"]
    assert len(rows) == 8 * 16 + 1
    assert sum(rows.values()) == 512
    assert rows["other", "other", "other"] == 512 - 128


def test_what_was_kept_and_what_came_later_are_added() -> None:
    registry = MetricRegistry()
    for value in (1.0, 2.0):
        registry.counters["seedcore_decisions_total"].add(value, route="fast")
        registry.gauges["seedcore_valve_evidence"].set(value, stream="a")
        registry.histograms[WAIT].observe(value, queue="q", type="t")
        if value == 1.0:
            kept = registry.take()
    kept.add(registry.take())
    assert kept.counts == {"seedcore_decisions_total": {("fast",): 3}}
    assert kept.values == {"seedcore_valve_evidence": {("a",): 2.0}}
    assert sum(kept.histograms[WAIT]["q", "t"][:-1]) == 2
    assert kept.histograms[WAIT]["q", "t"][-1] == 3.0


def test_threads_lose_nothing() -> None:
    registry = MetricRegistry()
    counted, taken = registry.counters["seedcore_decisions_total"], MetricDeltas()

    def count() -> None:
        for _ in range(5_000):
            counted.add(1, route="fast")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.add(registry.take())
    taken.add(registry.take())
    assert taken.counts == {"seedcore_decisions_total": {("fast",): 20_000}}


def test_what_is_not_declared_is_an_error() -> None:
    with pytest.raises(KeyError, match="not in the catalogue"):
        counter("seedcore_nothing_total")
    with pytest.raises(KeyError, match="it is a gauge of the database"):
        gauge("seedcore_queue_depth")
    with pytest.raises(KeyError, match="it is a counter of the process"):
        histogram("seedcore_dead_total")
    with pytest.raises(ValueError, match="has the labels"):
        counter("seedcore_dead_total").add(1, queue="default")
    with pytest.raises(ValueError, match="has the labels"):
        counter("seedcore_decisions_total").add_all({("a", "b"): 1})


def test_nothing_is_counted_when_metrics_are_off() -> None:
    registry = MetricRegistry(enabled=False)
    registry.counters["seedcore_decisions_total"].add(2, route="fast")
    registry.histograms[WAIT].observe(1.0, queue="a", type="b")
    registry.gauges["seedcore_valve_evidence"].set(1.5, stream="a")
    assert not registry.take()
