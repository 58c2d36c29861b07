import numpy as np
import pytest
from sklearn import metrics as reference

from seedcore.ml.training import evaluation


@pytest.mark.parametrize("ties", [False, True])
def test_two_classes_agree_with_scikit_learn(ties: bool):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 200).astype(np.float32)
    p = np.clip(0.4 * targets + rng.random(200) * 0.6, 0.01, 0.99)
    if ties:
        p = np.round(p, 1).clip(0.1, 0.9)
    found = evaluation.classification(targets, np.column_stack([1 - p, p])).metrics
    assert found["accuracy"] == pytest.approx(np.mean(targets == (p > 0.5)))
    assert found["logloss"] == pytest.approx(reference.log_loss(targets, p))
    assert found["auc"] == pytest.approx(reference.roc_auc_score(targets, p))


def test_regression_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    guess = truth + rng.normal(size=50) * 0.3
    found = evaluation.regression(truth, guess).metrics
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, guess))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, guess))
    assert found["r2"] == pytest.approx(reference.r2_score(truth, guess))


def test_r2_is_left_out_where_the_targets_do_not_vary():
    assert "r2" not in evaluation.regression(np.ones(3), np.zeros(3)).metrics
