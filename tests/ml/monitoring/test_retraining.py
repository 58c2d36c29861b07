"""Training again after a change: on scikit-learn's digits, upright and then turned or with other labels."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from seedcore.ml.data.dataset import Table
from seedcore.ml.monitoring.retraining import OLD_ROWS, newest_rows, retrain_on, with_labels
from seedcore.ml.training.xgboost_params import resolve_params

PARAMS = resolve_params({"num_boost_round": 15, "max_depth": 3})


def digits(count: int) -> Table:
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))[:count]
    return Table(
        tuple(f"p{i}" for i in range(64)),
        found.data[order].astype(np.float32),
        "digit",
        "integer",
        tuple(range(10)),
        found.target[order].astype(np.float32),
        times=np.arange(count, dtype=np.float64),
    )


def test_without_a_change_all_rows_count_alike():
    made = retrain_on(digits(300), None, PARAMS, threading.Event())
    assert (made.table.weights, made.fresh, made.old_weight) == (None, 300, 1.0)
    assert made.trained.metrics["accuracy"] > 0.6


def test_rows_from_before_the_change_are_left_out_where_they_contradict_what_is_true_now():
    table = digits(600)
    targets = table.targets.copy()
    targets[300:] = (targets[300:] + 1) % 10
    made = retrain_on(replace(table, targets=targets), 300.0, PARAMS, threading.Event())
    assert (made.fresh, made.old_weight) == (300, 0.0)
    assert made.trained.metrics["accuracy"] > 0.6


def test_rows_from_before_the_change_count_for_less_where_they_help():
    made = retrain_on(digits(500), 450.0, PARAMS, threading.Event())
    assert made.fresh == 50
    assert len(made.table.targets) == 50 + 50 * OLD_ROWS
    assert made.old_weight == pytest.approx(0.5 * 50 / 75)


def test_the_newest_rows_are_the_last_ones():
    assert newest_rows(digits(50), 10).times.tolist() == list(range(40, 50))  # type: ignore[union-attr]
    assert len(newest_rows(digits(50), 99).targets) == 50


def test_a_successor_knows_the_labels_of_its_parent_in_the_same_order():
    table = replace(digits(3), labels=("b", "d", "c"), targets=np.array([0, 1, 2], dtype=np.float32))
    widened = with_labels(table, ("a", "b", "c"))
    assert widened.labels == ("a", "b", "c", "d")
    assert widened.targets.tolist() == [1.0, 3.0, 2.0]
