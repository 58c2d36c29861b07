import numpy as np
import pytest
import xgboost

from seedcore.ml.data.training_data import read_local
from seedcore.ml.training.fitting import booster_options
from seedcore.ml.training.splits import split
from seedcore.ml.training.train import as_probabilities
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.ml.tuning.trial_booster import TrialBooster, trial_data
from seedcore.schemas.ml.models import TrainRequest
from seedcore.settings import Settings


@pytest.mark.parametrize(("name", "label"), [("bundled:breast_cancer", "target"), ("bundled:wine", "target")])
def test_a_booster_that_continues_is_the_one_that_was_trained_at_once(settings: Settings, name: str, label: str):
    table = read_local(TrainRequest(name="m", data_source=name, label_column=label), settings).table
    data = trial_data(table, 3)
    params = resolve_params({"max_depth": 3, "learning_rate": 0.2})
    booster = TrialBooster(data)
    booster.begin({**params, "max_depth": 1})
    booster.advance(2)
    booster.begin(params)
    for _ in range(3):
        found = booster.advance(4)
    matrix = xgboost.DMatrix(data.fit.matrix, label=data.fit.targets, missing=np.nan)
    whole = xgboost.train(booster_options(data.task, data.n_classes, params, 1), matrix, 12)
    answers = as_probabilities(data.task, whole.inplace_predict(data.valid.matrix))
    right = float(np.mean(answers.argmax(axis=1) == data.valid.targets))
    assert booster.rounds == 12
    assert found["accuracy"] == pytest.approx(right)


def test_trials_never_see_the_rows_that_training_holds_out(settings: Settings):
    table = read_local(TrainRequest(name="m", data_source="bundled:wine", label_column="target"), settings).table
    data = trial_data(table, 3)
    seen = {tuple(row) for row in np.vstack([data.fit.matrix, data.valid.matrix])}
    held = {tuple(row) for row in table.matrix[split(table, 3).held]}
    assert held
    assert not seen & held
    assert len(data.fit.targets) + len(data.valid.targets) + len(held) == len(table.targets)
