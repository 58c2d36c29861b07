"""What reports cost the valve is measured on reports that lose and invent nothing."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.valve import reports
from seedcore.changepoint.features import TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitor import RECENT, StreamMonitor
from seedcore.worker.decisions.stream_samples import SAMPLE


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_task_is_reported_once_within_an_interval_of_its_claim(workers: int):
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(1 / 200, 1_000))
    made = list(reports.reports(times, workers, rng))
    assert sorted(n for _, _, claimed in made for n in claimed) == list(range(1_000))
    assert [at for at, _, _ in made] == sorted(at for at, _, _ in made)
    for at, _, claimed in made:
        assert all(0 <= at - times[n] <= reports.EVERY_S + 1e-9 for n in claimed)
        assert claimed == sorted(claimed)


def test_of_many_tasks_a_report_has_a_sample():
    pool, _ = reports._streams()["text"]
    assert SAMPLE // 2 <= len(reports._report(pool[:2_500])["tasks"]) <= SAMPLE
    assert len(reports._rows(pool[:620])) == 620


def test_an_alarm_by_reports_comes_later_by_an_interval_at_most_when_the_shift_is_plain():
    before, after = reports._texts(reports.BEFORE, 0), reports._texts(reports.AFTER, 2)
    found = reports._delay(before, after, 100, 1, 10_000, 1)
    assert found is not None
    at_once, reported = found
    assert 1 <= at_once <= reported <= at_once + 1.5 * 100 * reports.EVERY_S


def test_an_unchanged_stream_seldom_alarms():
    alarms, observed = reports._alarms("text", 100, 2, 10_000, 1_000, 0)
    assert alarms <= 2
    assert 1_000 <= observed < 1_000 + 4 * SAMPLE


@pytest.mark.parametrize(
    ("workers", "places", "same"), [(1, True, True), (2, True, True), (4, True, True), (2, False, False)]
)
def test_a_monitor_sees_the_stream_in_its_order_however_many_workers_report_it(workers: int, places: bool, same: bool):
    """So an autocorrelated stream looks the same to it while workers come and go, and the false-alarm budget holds."""
    rng = np.random.default_rng(workers)
    pool, stream = reports._streams()["number, AR(1) 0.5"]
    tasks = [replace(pool[n], seq=place) for place, n in enumerate(stream(rng, 3_000))]
    times = np.cumsum(rng.exponential(1 / 100, len(tasks)))
    watched = reports.Watched(StreamMonitor(TASK_COLUMNS), places)
    for at, worker, claimed in reports.reports(times, workers, rng):
        watched.report(at, worker, [tasks[n] for n in claimed])
    monitor = watched.monitor
    assert monitor.observed > len(tasks) - 100
    # In the beginning it is not known yet which workers report.
    expected = reports._rows(tasks[: monitor.observed])[-RECENT:]
    assert (monitor.recent == expected).all() == same
    assert (_autocorrelation(monitor.recent) > 0.4) == same


def _autocorrelation(rows: np.ndarray) -> float:
    level = max(rows.T, key=lambda column: len(np.unique(column)))
    return float(np.corrcoef(level[:-1], level[1:])[0, 1])


@pytest.mark.parametrize("workers", [2, 4])
def test_an_alarm_comes_later_by_two_intervals_at_most_when_several_workers_report(workers: int):
    before, after = reports._texts(reports.BEFORE, 0), reports._texts(reports.AFTER, 2)
    found = reports._delay(before, after, 100, workers, 10_000, 1)
    assert found is not None
    at_once, reported = found
    assert 1 <= at_once <= reported <= at_once + 2.5 * 100 * reports.EVERY_S
