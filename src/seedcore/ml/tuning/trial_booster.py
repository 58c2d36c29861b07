"""Trains one trial after the other on the same rows: a booster that continues between reports, in one thread."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seedcore.ml.data.column_encoder import Floats, feature_types
from seedcore.ml.data.dataset import Table
from seedcore.ml.training import evaluation
from seedcore.ml.training.fitting import booster_options
from seedcore.ml.training.splits import Rows, split
from seedcore.ml.training.train import as_probabilities, task_of
from seedcore.schemas.ml.models import Task
from seedcore.telemetry.lean_imports import without


@dataclass(frozen=True, slots=True)
class TrialRows:
    """Rows with their targets, and their weights where they have some."""

    matrix: Floats
    targets: Floats
    weights: Floats | None


@dataclass(frozen=True, slots=True)
class TrialData:
    """What trials fit, and what they are scored on. Rows that training holds out are in neither part.

    Attributes:
        feature_types: as XGBoost names them; None: all are numbers.
    """

    task: Task
    n_classes: int
    feature_types: list[str] | None
    fit: TrialRows
    valid: TrialRows


def trial_data(table: Table, seed: int) -> TrialData:
    """The rows of a search, without those that training holds out for the seed; a fifth of the rest validates."""
    parts = split(table, seed, stopping=True)
    return TrialData(
        task_of(table),
        len(table.labels),
        feature_types(table.schema),
        _rows(table, parts.fitting),
        _rows(table, parts.stopping),
    )


def _rows(table: Table, rows: Rows) -> TrialRows:
    weights = None if table.weights is None else table.weights[rows]
    return TrialRows(table.matrix[rows], table.targets[rows], weights)


class TrialBooster:
    """Boosts trials one after the other; the matrices are made once."""

    def __init__(self, data: TrialData) -> None:
        with without("sklearn"):  # its classes for scikit-learn take a second to import
            import xgboost

        def matrix(rows: TrialRows) -> xgboost.DMatrix:
            return xgboost.DMatrix(
                rows.matrix,
                label=rows.targets,
                weight=rows.weights,
                missing=np.nan,
                feature_types=data.feature_types,
                enable_categorical=data.feature_types is not None,
                nthread=1,
            )

        self._data, self._fit, self._valid = data, matrix(data.fit), matrix(data.valid)
        self._booster: Any = None
        self.rounds = 0

    def begin(self, params: dict[str, float | int]) -> None:
        """Start a trial without trees; the one before is dropped."""
        import xgboost

        options = booster_options(self._data.task, self._data.n_classes, params, threads=1)
        # With both matrices in its cache a booster adds its new trees to the predictions that it has made before.
        self._booster = xgboost.Booster(options, cache=[self._fit, self._valid])
        self.rounds = 0

    def advance(self, rounds: int) -> dict[str, float]:
        """Add `rounds` trees; the metrics on the validation rows."""
        for _ in range(rounds):
            self._booster.update(self._fit, self.rounds)
            self.rounds += 1
        answers = self._booster.predict(self._valid)
        if self._data.task == "regression":
            return evaluation.regression(self._data.valid.targets, answers).metrics
        return evaluation.classification(self._data.valid.targets, as_probabilities(self._data.task, answers)).metrics
