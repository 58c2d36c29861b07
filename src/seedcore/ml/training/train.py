"""Trains a model: measures it on a held-out fifth of the rows, then trains the stored model on all rows.

The metrics belong to a model that never saw the held-out rows. Both models are deterministic for the seed.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import DeadlineError, InvalidInputError
from seedcore.ml.data import dataset, dataset_files
from seedcore.ml.data.column_encoder import Floats
from seedcore.ml.data.dataset import Table
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.training import evaluation
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml import Task, TrainRequest
from seedcore.settings import Settings

if TYPE_CHECKING:
    import xgboost

HELD_OUT = 0.2
# Below this many rows a second thread costs more than it saves.
_ROWS_PER_THREAD = 20_000


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model in XGBoost's UBJSON format, with its metrics on the held-out rows."""

    ubj: bytes
    task: Task
    metrics: dict[str, float]
    params: dict[str, float | int]
    seconds: float


def train_request(
    request: TrainRequest, settings: Settings, stop: threading.Event
) -> tuple[ModelManifest, TrainedModel]:
    """Train on the request's table; (manifest without version and checksum, model).

    Raises:
        InvalidInputError: names the parameters, columns or cells that are wrong.
        DeadlineError: `stop` was set.
    """
    import xgboost

    params = resolve_params(request.params)
    table = _read_table(request, settings)
    trained = train(table, params, stop)
    manifest = ModelManifest(
        name=request.name,
        version=0,
        created_at=datetime.now(UTC),
        task=trained.task,
        features=list(table.columns),
        label_column=table.label_column,
        label_kind=table.label_kind,
        labels=list(table.labels),
        params=params,
        metrics=trained.metrics,
        n_rows=len(table.targets),
        sha256="",
        size_bytes=0,
        xgboost_version=xgboost.__version__,
    )
    return manifest, trained


def _read_table(request: TrainRequest, settings: Settings) -> Table:
    label, max_rows = request.label_column, settings.max_train_rows
    if request.dataset is not None:
        return dataset.from_records(request.dataset, label, max_rows)
    if request.rows is not None and request.columns is not None:
        return dataset.from_rows(request.columns, request.rows, label, max_rows)
    if not isinstance(request.data_source, str):
        raise InvalidInputError.for_field("data_source", "must be the name of a file")
    return dataset_files.load_file(settings.data_dir / "datasets", request.data_source, label, max_rows)


def task_of(table: Table) -> Task:
    """The kind of task that the labels define."""
    if table.label_kind == "number":
        return "regression"
    return "binary" if len(table.labels) == 2 else "multiclass"


def train(table: Table, params: dict[str, float | int], stop: threading.Event) -> TrainedModel:
    """Train on `table`.

    Args:
        params: from `resolve_params`.
        stop: when set, training ends after the current tree.

    Raises:
        DeadlineError: `stop` was set.
    """
    begun = time.perf_counter()
    task = task_of(table)
    fitting, held = split(table, int(params["seed"]))
    booster = _fit(table.matrix[fitting], table.targets[fitting], task, len(table.labels), params, stop)
    answers = booster.inplace_predict(table.matrix[held])
    found = _measure(task, table.targets[held], answers)
    final = _fit(table.matrix, table.targets, task, len(table.labels), params, stop)
    counts = {"n_train": float(len(fitting)), "n_valid": float(len(held))}
    ubj = bytes(final.save_raw(raw_format="ubj"))
    return TrainedModel(ubj, task, found | counts, params, time.perf_counter() - begun)


def split(table: Table, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows to fit, rows held out): a fifth of each class, or of all rows for regression; at least one of each."""
    rng = np.random.default_rng(seed)
    groups = (
        [np.arange(len(table.targets))]
        if not table.labels
        else [np.flatnonzero(table.targets == code) for code in range(len(table.labels))]
    )
    fitting, held = [], []
    for rows in groups:
        mixed = rng.permutation(rows)
        count = max(1, round(HELD_OUT * len(rows)))
        held.append(mixed[:count])
        fitting.append(mixed[count:])
    return np.sort(np.concatenate(fitting)), np.sort(np.concatenate(held))


def as_probabilities(task: Task, answers: Floats) -> Floats:
    """XGBoost's answers for classes as (n, k); for two classes it returns the probability of the second alone."""
    return np.column_stack([1 - answers, answers]) if task == "binary" else answers


def _measure(task: Task, targets: Floats, answers: Floats) -> dict[str, float]:
    if task == "regression":
        return evaluation.regression(targets, answers)
    return evaluation.classification(targets, as_probabilities(task, answers))


_OBJECTIVES: dict[Task, str] = {
    "binary": "binary:logistic",
    "multiclass": "multi:softprob",
    "regression": "reg:squarederror",
}


def _fit(
    matrix: Floats,
    targets: Floats,
    task: Task,
    n_classes: int,
    params: dict[str, float | int],
    stop: threading.Event,
) -> "xgboost.Booster":
    import xgboost

    threads = min(os.cpu_count() or 1, 1 + len(targets) // _ROWS_PER_THREAD)
    options: dict[str, float | int | str] = {k: v for k, v in params.items() if k != "num_boost_round"}
    options |= {"objective": _OBJECTIVES[task], "tree_method": "hist", "nthread": threads, "verbosity": 0}
    if task == "multiclass":
        options["num_class"] = n_classes
    if task != "binary":
        del options["scale_pos_weight"]
    data = xgboost.DMatrix(matrix, label=targets, missing=np.nan, nthread=threads)
    callbacks = [_stop_callback(stop.is_set)]
    booster = xgboost.train(options, data, int(params["num_boost_round"]), callbacks=callbacks, verbose_eval=False)
    if stop.is_set():
        raise DeadlineError("Training was stopped before it ended; no model was stored.")
    return booster


def _stop_callback(stopped: Callable[[], bool]) -> "xgboost.callback.TrainingCallback":
    import xgboost

    class StopTraining(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:
            return stopped()

    return StopTraining()
