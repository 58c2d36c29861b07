"""Losses of a model: the detector, and the accuracy of the newest outcomes."""

import json

import numpy as np
import pytest

from seedcore.ml.monitoring.accuracy_window import WINDOW, AccuracyWindow, accuracy_of, accuracy_with_interval
from seedcore.ml.monitoring.change_time import PredictionMark
from seedcore.ml.monitoring.loss_monitor import LossMonitor


def feed(monitor: LossMonitor, wrong: float, count: int, first: int = 0, seed: int = 0) -> None:
    losses = (np.random.default_rng(seed).random(count) < wrong).astype(float).tolist()
    for start in range(0, count, 20):
        part = losses[start : start + 20]
        where = [PredictionMark(first + start + i, float(first + start + i)) for i in range(len(part))]
        monitor.observe(part, where, float(first + start))


def test_wilsons_interval_is_the_published_one():
    found = accuracy_with_interval(0.9, 100)
    assert (found.low, found.high) == (pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4))
    assert accuracy_of([0.0] * 50).high == pytest.approx(1.0)


def test_it_stays_closed_while_the_model_is_as_good_as_on_held_out_rows_and_opens_when_it_is_worse():
    monitor = LossMonitor(accuracy_with_interval(0.95, 180), 10_000.0)
    feed(monitor, 0.05, 2_000)
    assert (monitor.state, monitor.window.alarms.open) == ("closed", False)
    feed(monitor, 0.4, 300, first=2_000)
    assert monitor.state == "open"
    assert monitor.alarms.since is not None
    assert 1_950 < monitor.alarms.since.seq < 2_040
    assert monitor.alarms.seen - 2_000 < 80
    assert monitor.window.alarms.open
    accuracy = monitor.accuracy_report()
    assert accuracy is not None
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] < 0.75


def test_a_world_that_is_harder_from_the_beginning_becomes_what_is_expected():
    monitor = LossMonitor(accuracy_with_interval(0.97, 100), 10_000.0)
    feed(monitor, 0.07, 400)
    accuracy = monitor.accuracy_report()
    assert accuracy is not None
    assert accuracy["expected"]["of"] == "after_promotion"
    assert monitor.state == "closed"


def test_without_held_out_rows_it_learns_from_the_first_outcomes():
    monitor = LossMonitor(None, 10_000.0)
    feed(monitor, 0.1, WINDOW - 20)
    assert monitor.report() == {"state": "learning", "learned": WINDOW - 20, "needed": WINDOW, "evidence": None}
    feed(monitor, 0.1, 20, first=WINDOW - 20)
    assert monitor.state == "closed"
    feed(monitor, 0.7, 100, first=WINDOW)
    assert monitor.state == "open"


def test_it_closes_when_the_model_is_right_again():
    monitor = LossMonitor(accuracy_with_interval(0.95, 180), 10_000.0)
    feed(monitor, 0.05, 400)
    feed(monitor, 0.8, 60, first=400)
    assert monitor.state == "open"
    feed(monitor, 0.05, 600, first=460)
    assert monitor.state == "closed"


@pytest.mark.parametrize("held_out", [accuracy_with_interval(0.9, 100), None])
def test_a_restart_changes_nothing(held_out):
    monitor = LossMonitor(held_out, 10_000.0)
    feed(monitor, 0.1, 150)
    again = LossMonitor.from_json(json.loads(json.dumps(monitor.to_json())))
    for one in (monitor, again):
        feed(one, 0.6, 250, first=150, seed=3)
    assert json.dumps(again.to_json()) == json.dumps(monitor.to_json())
    assert again.report() == monitor.report()


def test_windows_of_a_model_as_good_as_expected_hardly_ever_alarm():
    window, expected = AccuracyWindow(), accuracy_with_interval(0.9, 200)
    losses = (np.random.default_rng(1).random(100 * WINDOW) < 0.1).astype(float).tolist()
    window.observe(losses, [PredictionMark(i, 0.0) for i in range(len(losses))], expected.low, 0.0)
    assert window.alarms.alarms == 0
