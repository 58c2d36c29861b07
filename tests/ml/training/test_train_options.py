"""Categories, weights, time, early stopping, devices: what a training takes besides numbers and parameters."""

import threading

import numpy as np
import pytest

from seedcore.errors import InvalidInputError, NotConfiguredError
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.inline_rows import from_rows
from seedcore.ml.training.train import TrainedModel, TrainingOptions, train
from seedcore.ml.training.xgboost_params import resolve_params

LIMITS = TrainLimits(10_000)
PARAMS = {"num_boost_round": 20}


def fit(table: Table, **options) -> TrainedModel:
    return train(table, resolve_params(PARAMS), threading.Event(), TrainingOptions(**options))


def coloured(n: int = 400) -> Table:
    rng = np.random.default_rng(0)
    colours = [f"c{k}" for k in range(12)]
    rows = []
    for _ in range(n):
        k = int(rng.integers(0, 12))
        rows.append([colours[k] if rng.random() > 0.05 else None, float(rng.random()), k % 3 == 0])
    return from_rows(["colour", "noise", "y"], rows, ColumnRoles("y"), LIMITS)


def test_categories_are_learnt_as_categories():
    trained = fit(coloured())
    assert trained.metrics["accuracy"] > 0.85
    assert next(iter(trained.importance)) == "colour"
    assert sum(trained.importance.values()) == pytest.approx(1)
    assert b"feature_types" in trained.ubj


def test_metrics_have_intervals_around_them():
    trained = fit(coloured())
    for name, (low, high) in trained.intervals.items():
        assert low <= trained.metrics[name] <= high
    assert {"accuracy", "logloss", "auc", "calibration_error"} <= trained.intervals.keys()


def test_a_row_without_weight_counts_for_nothing():
    rng = np.random.default_rng(0)
    rows = [[x := float(rng.random()), x > 0.5, 1] for _ in range(200)]
    rows += [[x := float(rng.random()), x < 0.5, 0] for _ in range(200)]
    roles = ColumnRoles("y", weight="w")
    table = from_rows(["x", "y", "w"], rows, roles, LIMITS)
    assert table.columns == ("x",)
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(fit(table).ubj))
    low, high = booster.inplace_predict(np.array([[0.1], [0.9]], dtype=np.float32))
    assert low < 0.1
    assert high > 0.9


@pytest.mark.parametrize("weight", [-1, None, "much", float("inf"), True])
def test_a_weight_is_a_number_that_is_not_negative(weight):
    rows = [[1.0, i % 2, 1.0] for i in range(12)]
    rows[3][2] = weight
    if weight is True:
        from_rows(["x", "y", "w"], rows, ColumnRoles("y", weight="w"), LIMITS)
        return
    with pytest.raises(InvalidInputError, match="weight") as caught:
        from_rows(["x", "y", "w"], rows, ColumnRoles("y", weight="w"), LIMITS)
    assert caught.value.errors[0].field == "rows.3"


def test_weights_that_are_all_0_are_refused():
    with pytest.raises(InvalidInputError, match="all weights are 0"):
        from_rows(["x", "y", "w"], [[1.0, i % 2, 0] for i in range(12)], ColumnRoles("y", weight="w"), LIMITS)


def test_times_are_numbers_or_iso_8601():
    rows = [[1.0, i % 2, f"2026-01-01T00:00:{i:02}Z"] for i in range(12)]
    rows[0][2] = "2026-01-02"
    table = from_rows(["x", "y", "t"], rows, ColumnRoles("y", time="t"), LIMITS)
    assert table.times is not None
    assert table.times.argmax() == 0
    rows[5][2] = "yesterday"
    with pytest.raises(InvalidInputError, match="ISO 8601"):
        from_rows(["x", "y", "t"], rows, ColumnRoles("y", time="t"), LIMITS)


def test_with_time_the_metrics_are_of_the_newest_rows():
    """What held in the past does not hold any more: only the newest rows show it."""
    rng = np.random.default_rng(0)
    rows = [[x := float(rng.random()), (x > 0.5) == (t < 400), t] for t in range(500)]
    with_time = from_rows(["x", "y", "t"], rows, ColumnRoles("y", time="t"), LIMITS)
    without = from_rows(["x", "y"], [row[:2] for row in rows], ColumnRoles("y"), LIMITS)
    assert fit(with_time).metrics["accuracy"] < 0.1
    assert fit(without).metrics["accuracy"] > 0.7


def test_the_oldest_rows_must_hold_two_classes():
    rows = [[1.0, t >= 90, t] for t in range(100)]
    with pytest.raises(InvalidInputError) as caught:
        fit(from_rows(["x", "y", "t"], rows, ColumnRoles("y", time="t"), LIMITS))
    assert caught.value.errors[0].field == "time_column"


def test_early_stopping_finds_the_rounds_on_rows_of_their_own():
    rng = np.random.default_rng(0)
    rows = [[float(x := rng.random()), bool(x + rng.normal() * 0.5 > 0.5)] for _ in range(500)]
    table = from_rows(["x", "y"], rows, ColumnRoles("y"), LIMITS)
    params = resolve_params({"num_boost_round": 500})
    seen = []
    options = TrainingOptions(early_stopping=5, report=lambda done, total: seen.append((done, total)))
    trained = train(table, params, threading.Event(), options)
    rounds = int(trained.metrics["rounds"])
    assert rounds < 50
    assert trained.metrics["n_train"] + trained.metrics["n_stopping"] + trained.metrics["n_valid"] == 500
    import xgboost

    assert xgboost.Booster(model_file=bytearray(trained.ubj)).num_boosted_rounds() == rounds
    # Progress is of both fits, and ends at its total.
    assert [done for done, _ in seen] == list(range(1, 2 * rounds + 6))
    assert seen[-1][0] == seen[-1][1]


def test_regression_has_a_scale_of_losses():
    rng = np.random.default_rng(0)
    rows = [[x := float(rng.random()), 10 * x + float(rng.normal())] for _ in range(500)]
    trained = fit(from_rows(["x", "y"], rows, ColumnRoles("y"), LIMITS))
    assert trained.loss_scale == pytest.approx(2.6, abs=1)
    assert trained.reference.shape == (500, 1)


def test_cuda_without_its_build_says_what_to_install():
    with pytest.raises(NotConfiguredError, match=r"seedcore\[gpu\]"):
        fit(coloured(), device="cuda")
