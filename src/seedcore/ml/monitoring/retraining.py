"""Trains a model again on the newest rows whose outcome is known. Rows from before the change count where they help.

Two models are trained, with the rows from before the change and without them; the one that is better on the newest
fifth of the rows, which neither saw, is kept.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seedcore.ml.data.column_encoder import Floats
from seedcore.ml.data.dataset import Table
from seedcore.ml.training.train import TrainedModel, TrainingOptions, train
from seedcore.schemas.ml.models import Label

OLD_ROWS = 1.5
"""Rows from before the change, at most, for each row since: the newest fifth is then from after it."""

OLD_SHARE = 0.5
"""The weight of all rows from before the change together, as a share of that of the rows since, at most."""

MIN_FRESH = 20


@dataclass(frozen=True, slots=True)
class RetrainedModel:
    """A trained model, the table as it was trained on, and the weight of a row from before the change."""

    trained: TrainedModel
    table: Table
    fresh: int
    old_weight: float


def retrain_on(
    table: Table,
    since: float | None,
    params: dict[str, float | int],
    stop: threading.Event,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
) -> RetrainedModel:
    """Train on a table with times, oldest first; rows from the time `since` on are from after the change.

    Raises:
        InvalidInputError: the rows do not allow it.
        DeadlineError: `stop` was set.
    """
    assert table.times is not None
    total = len(table.targets)
    fresh = total if since is None else int(np.count_nonzero(table.times >= since))
    if fresh == total or fresh < MIN_FRESH:
        return RetrainedModel(train(table, params, stop, options), table, fresh, 1.0)
    table = newest_rows(table, fresh + round(OLD_ROWS * fresh))
    old = len(table.targets) - fresh
    balanced = min(1.0, OLD_SHARE * fresh / old)
    found = []
    for weight in (balanced, 0.0):
        weights = np.concatenate([np.full(old, weight), np.ones(fresh)]).astype(np.float32)
        weighted = replace(table, weights=weights)
        found.append(RetrainedModel(train(weighted, params, stop, options), weighted, fresh, weight))
    # Of equal ones the first: it has learnt from more rows.
    return min(found, key=lambda one: _badness(one.trained.metrics))


def newest_rows(table: Table, count: int) -> Table:
    """The last `count` rows of a table."""
    if count >= len(table.targets):
        return table
    return replace(
        table,
        matrix=table.matrix[-count:],
        targets=table.targets[-count:],
        weights=None if table.weights is None else table.weights[-count:],
        times=None if table.times is None else table.times[-count:],
    )


def with_labels(table: Table, known: Sequence[Label]) -> Table:
    """The table with the classes of the champion first, also those without a row: a successor must know them all."""
    if not table.labels:
        return table
    labels = (*known, *(label for label in table.labels if label not in known))
    numbers = np.array([labels.index(label) for label in table.labels], dtype=np.float32)
    targets: Floats = numbers[table.targets.astype(np.int64)]
    return replace(table, labels=labels, targets=targets)


def _badness(metrics: dict[str, float]) -> tuple[float, float]:
    if "accuracy" in metrics:
        return 1.0 - metrics["accuracy"], metrics["logloss"]
    return metrics["mae"], metrics["rmse"]
