"""The model that benchmarks of serving ask: breast cancer, 30 columns, 100 rounds."""

import threading
from pathlib import Path
from typing import Any

import xgboost
from sklearn.datasets import load_breast_cancer

from seedcore.ml.data.training_data import read_local
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training.model_draft import train_request
from seedcore.schemas.ml.models import TrainRequest
from seedcore.settings import load_settings

_SET = load_breast_cancer()
COLUMNS = [str(name) for name in _SET.feature_names]
ROUNDS = 100


def training_request(name: str = "m") -> dict[str, Any]:
    """The body of `POST /ml/xgboost/train`."""
    rows = [
        [*map(float, row), "benign" if label else "malignant"]
        for row, label in zip(_SET.data, _SET.target, strict=True)
    ]
    return {
        "name": name,
        "columns": [*COLUMNS, "diagnosis"],
        "rows": rows,
        "label_column": "diagnosis",
        "params": {"num_boost_round": ROUNDS},
    }


def feature_rows() -> list[list[float]]:
    """The rows to ask about."""
    return [list(map(float, row)) for row in _SET.data]


def trained_store(folder: Path) -> tuple[ModelStore, list[list[float]]]:
    """(a store with the model as version 1 of `m`, rows to ask about)."""
    store = ModelStore(folder)
    store.prepare()
    request = TrainRequest.model_validate(training_request())
    data = read_local(request, load_settings(data_dir=folder.parent / "data"))
    manifest, trained = train_request(request, data, threading.Event())
    store.save(trained.ubj, manifest)
    return store, feature_rows()


def bare_booster(store: ModelStore) -> xgboost.Booster:
    """The same model as XGBoost alone has it."""
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(store.load("m", 1)[1]))
    return booster
