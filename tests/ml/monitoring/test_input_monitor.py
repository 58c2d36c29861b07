"""The valve over a model's inputs, on scikit-learn's digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from seedcore.errors import InvalidInputError
from seedcore.ml.monitoring.change_time import PredictionMark
from seedcore.ml.monitoring.input_monitor import InputMonitor


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(reference, later rows)."""
    images = load_digits().data.astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    return images[order[:900]], images[order[900:]]


def turned(rows: np.ndarray) -> np.ndarray:
    return np.rot90(rows.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)


def marks(first: int, count: int) -> list[PredictionMark]:
    return [PredictionMark(first + i, 1000.0 + first + i) for i in range(count)]


def test_it_stays_closed_on_what_the_model_was_trained_on_and_opens_where_the_images_turn():
    reference, later = digits()
    monitor = InputMonitor([], 64, 10_000)
    monitor.learn(reference)
    monitor.observe(later[:600], marks(0, 600), 5.0)
    assert (monitor.state, monitor.alarms.alarms) == ("closed", 0)
    monitor.observe(turned(later[600:700]), marks(600, 100), 6.0)
    assert (monitor.state, monitor.alarms.opened_at) == ("open", 6.0)
    assert monitor.alarms.seen - 600 < 20
    assert monitor.alarms.since is not None
    assert abs(monitor.alarms.since.seq - 600) < 10
    assert monitor.alarms.peak >= 0.5


def test_with_few_reference_rows_it_learns_from_what_comes():
    reference, later = digits()
    monitor = InputMonitor([], 64, 10_000)
    monitor.learn(reference[:200])
    assert monitor.report() == {"state": "learning", "learned": 200, "needed": 500, "evidence": None}
    monitor.observe(later[:300], marks(0, 300), 0.0)
    assert (monitor.state, monitor.alarms.observed) == ("closed", 0)
    monitor.observe(turned(later[300:400]), marks(300, 100), 1.0)
    assert monitor.state == "open"


@pytest.mark.parametrize("rows", [100, 900])
def test_a_restart_changes_nothing(rows):
    reference, later = digits()
    monitor = InputMonitor([], 64, 10_000)
    monitor.learn(reference[:rows])
    monitor.observe(later[:50], marks(0, 50), 0.0)
    again = InputMonitor.from_bytes(monitor.to_bytes(), [], 64)
    for one in (monitor, again):
        one.observe(turned(later[50:90]), marks(50, 40), 1.0)
    assert again.report() == monitor.report()
    assert again.alarms == monitor.alarms


def test_other_bytes_are_refused():
    with pytest.raises(InvalidInputError, match="not the state of a monitor"):
        InputMonitor.from_bytes(b"nonsense", [], 64)


def test_too_many_features_are_said_to_be_unwatched():
    monitor = InputMonitor([], 5_000, 10_000)
    monitor.learn(np.zeros((10, 5_000), dtype=np.float32))
    assert monitor.state == "unwatched"
    assert "5000 features" in str(monitor.report()["reason"])
