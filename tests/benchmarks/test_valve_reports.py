"""What reports cost the valve is measured on reports that lose and invent nothing."""

import numpy as np
import pytest

from benchmarks.valve import reports
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
