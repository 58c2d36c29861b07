"""Training: hold a fifth of the rows out, measure on it, then learn from all rows.

The metrics are those of a model that never saw the held-out rows; the model that is kept has learnt from all, which
can only use more of what the client sent. Both are deterministic for the seed.
"""

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import DeadlineError
from seedcore.ml import evaluation
from seedcore.ml.dataset import Floats, Table
from seedcore.schemas.ml import Task

HELD_OUT = 0.2
# Below this many rows a second thread costs more than it brings.
_ROWS_PER_THREAD = 20_000


@dataclass(frozen=True, slots=True)
class Trained:
    """A model in XGBoost's UBJSON, and how it did on the held-out rows."""

    ubj: bytes
    task: Task
    metrics: dict[str, float]
    params: dict[str, float | int]
    seconds: float


def task_of(table: Table) -> Task:
    """What kind of answer the labels ask for."""
    if table.label_kind == "number":
        return "regression"
    return "binary" if len(table.labels) == 2 else "multiclass"


def train(table: Table, params: dict[str, float | int], stop: threading.Event) -> Trained:
    """Learn from `table`.

    Args:
        params: from `seedcore.ml.xgboost_params.resolve`.
        stop: when set, training ends after the tree that it is at.

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
    return Trained(ubj, task, found | counts, params, time.perf_counter() - begun)


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


def as_probabilities(task: Task, answers: Any) -> Floats:
    """XGBoost's answers for classes as (n, k): for two classes it gives the chance of the second alone."""
    return np.column_stack([1 - answers, answers]) if task == "binary" else answers


def _measure(task: Task, targets: Floats, answers: Any) -> dict[str, float]:
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
) -> Any:
    import xgboost

    class Stop(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return stop.is_set()

    threads = min(os.cpu_count() or 1, 1 + len(targets) // _ROWS_PER_THREAD)
    options: dict[str, Any] = {k: v for k, v in params.items() if k != "num_boost_round"}
    options |= {"objective": _OBJECTIVES[task], "tree_method": "hist", "nthread": threads, "verbosity": 0}
    if task == "multiclass":
        options["num_class"] = n_classes
    if task != "binary":
        del options["scale_pos_weight"]
    data = xgboost.DMatrix(matrix, label=targets, missing=np.nan, nthread=threads)
    booster = xgboost.train(options, data, int(params["num_boost_round"]), callbacks=[Stop()], verbose_eval=False)
    if stop.is_set():
        raise DeadlineError("Training was stopped before it ended; nothing was kept.")
    return booster
