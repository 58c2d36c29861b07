"""What a change cost: seconds and failures of tasks before and after, with intervals that hold."""

import numpy as np
import pytest

from seedcore.energy.cost_change import failures_change, seconds_change
from seedcore.tasks.monitoring.task_lookup import SpentSums


def spent(seconds: list[float], failures: int = 0) -> SpentSums:
    return SpentSums(len(seconds), failures, sum(seconds), sum(s * s for s in seconds), len(seconds))


def test_few_tasks_are_no_change():
    few, many = spent([1.0] * 29), spent([2.0] * 100)
    assert seconds_change(few, many).change is None
    assert (seconds_change(few, many).before, seconds_change(few, many).after) == (1.0, 2.0)
    assert failures_change(many, few).low is None
    nothing = spent([])
    assert (seconds_change(nothing, many).before, failures_change(nothing, many).before) == (None, None)


def test_the_intervals_hold_the_true_change_about_19_times_in_20():
    rng = np.random.default_rng(11)
    held = {"seconds": 0, "failures": 0}
    for _ in range(400):
        before = spent(rng.exponential(1.0, 200).tolist(), int(rng.binomial(200, 0.05)))
        after = spent(rng.exponential(1.3, 150).tolist(), int(rng.binomial(150, 0.10)))
        seconds, failures = seconds_change(before, after), failures_change(before, after)
        assert seconds.low is not None
        assert seconds.high is not None
        assert failures.low is not None
        assert failures.high is not None
        held["seconds"] += seconds.low <= 0.3 <= seconds.high
        held["failures"] += failures.low <= 0.05 <= failures.high
    assert all(number >= 0.92 * 400 for number in held.values())


def test_no_failure_at_all_is_not_certainty():
    found = failures_change(spent([1.0] * 50), spent([1.0] * 50))
    assert found.change == 0.0
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.02 < 0.02 < found.high
    assert found.before == pytest.approx(0.0)
