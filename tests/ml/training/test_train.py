import threading
import time

import numpy as np
import pytest

from seedcore.errors import DeadlineError
from seedcore.ml.data.dataset import ColumnRoles, TrainLimits
from seedcore.ml.data.inline_rows import from_rows
from seedcore.ml.training.splits import split
from seedcore.ml.training.train import train
from seedcore.ml.training.xgboost_params import resolve_params
from tests.ml.support import flowers


def table(**kwargs):
    made = flowers(**kwargs)
    return from_rows(made["columns"], made["rows"], ColumnRoles("kind"), TrainLimits(10_000))


def test_the_same_seed_gives_the_same_model_and_metrics():
    params = resolve_params({"seed": 5, "subsample": 0.7, "num_boost_round": 20})
    one, two = (train(table(), params, threading.Event()) for _ in range(2))
    other = train(table(), resolve_params({"seed": 6, "subsample": 0.7, "num_boost_round": 20}), threading.Event())
    assert (one.ubj, one.metrics) == (two.ubj, two.metrics)
    assert other.ubj != one.ubj


def test_a_fifth_of_each_class_is_held_out():
    made = table(n=92)
    parts = split(made, 0)
    held = parts.held
    assert sorted([*parts.fitting, *held]) == list(range(92))
    assert [int((made.targets[held] == code).sum()) for code in range(3)] == [6, 6, 6]


def test_metrics_are_of_held_out_rows_not_of_those_learnt():
    """Labels that nothing explains: a model that were measured on its own rows would look perfect."""
    rng = np.random.default_rng(0)
    rows = [[float(rng.random()), int(rng.integers(0, 2))] for _ in range(400)]
    made = from_rows(["x", "y"], rows, ColumnRoles("y"), TrainLimits(1000))
    trained = train(made, resolve_params({"max_depth": 10}), threading.Event())
    assert trained.metrics["accuracy"] < 0.7
    assert (trained.metrics["n_train"], trained.metrics["n_valid"]) == (320, 80)


def test_a_stopped_training_ends_soon_and_keeps_nothing():
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(DeadlineError):
        train(table(n=3000), resolve_params({"num_boost_round": 5000, "max_depth": 12}), stop)
    assert time.monotonic() - begun < 5
