"""Trains a model: measures it on a held-out fifth of the rows, then trains the stored model on all rows.

The metrics belong to a model that never saw the held-out rows. Both models are deterministic for the seed. With early
stopping the first fit finds the count of rounds on rows of their own, and the stored model gets that many.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.ml.data.column_encoder import Floats
from seedcore.ml.data.dataset import Table
from seedcore.ml.training import evaluation
from seedcore.ml.training.checkpoints import CheckpointState, JobCheckpoint
from seedcore.ml.training.evaluation import Interval
from seedcore.ml.training.fitting import Fit, check_device
from seedcore.ml.training.splits import Rows, RowSplit, split
from seedcore.schemas.ml.models import Task

if TYPE_CHECKING:
    import xgboost

REFERENCE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model in XGBoost's UBJSON format, with its metrics on the held-out rows.

    Attributes:
        importance: each feature's share of the gain of all splits; features without a split are left out.
        loss_scale: of a regression, the 99th percentile of the errors on held-out rows.
        reference: rows of the training set (at most REFERENCE_ROWS, d), as what its inputs looked like.
    """

    ubj: bytes
    task: Task
    metrics: dict[str, float]
    params: dict[str, float | int]
    seconds: float
    intervals: dict[str, Interval] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    loss_scale: float | None = None
    reference: Floats = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))


class HeldOutFacts(BaseModel):
    """What the first fit found on the held-out rows."""

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    loss_scale: float | None


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How to train, besides XGBoost's parameters.

    Attributes:
        early_stopping: rounds without an improvement after which the first fit stops; None: never.
        device: `cpu` or `cuda`.
        report: is called after each round with (rounds done, rounds in all).
        checkpoint: where a killed training goes on from.
        rising: whether no answer may fall when a feature rises; for a regression on numbers.
    """

    early_stopping: int | None = None
    device: str = "cpu"
    report: Callable[[int, int], None] = lambda _done, _total: None
    checkpoint: JobCheckpoint | None = None
    rising: bool = False


def task_of(table: Table) -> Task:
    """The kind of task that the labels define."""
    if table.label_kind == "number":
        return "regression"
    return "binary" if len(table.labels) == 2 else "multiclass"


def as_probabilities(task: Task, answers: Floats) -> Floats:
    """XGBoost's answers for classes as (n, k); for two classes it returns the probability of the second alone."""
    return np.column_stack([1 - answers, answers]) if task == "binary" else answers


def train(
    table: Table,
    params: dict[str, float | int],
    stop: threading.Event,
    options: TrainingOptions = TrainingOptions(),
) -> TrainedModel:
    """Train on `table`.

    Args:
        params: from `resolve_params`.
        stop: when set, training ends after the current tree.
        options: see there.

    Raises:
        InvalidInputError: the rows that are fitted do not allow it.
        NotConfiguredError: the device is not there.
        DeadlineError: `stop` was set.
        UnavailableError: XGBoost cannot train here and now, or a checkpoint cannot be written.
    """
    check_device(options.device)
    import xgboost

    began = time.perf_counter()
    task = task_of(table)
    parts = split(table, int(params["seed"]), stopping=options.early_stopping is not None)
    _check_fitting(table, parts.fitting)
    state, booster = _begin(table, params, options)
    fit = Fit(table, task, params, stop, options.report, options.checkpoint, options.device, rising=options.rising)
    try:
        if state.stage == 0:
            state = _measure(table, task, parts, fit, state, booster, options)
            booster = None
        # The end of the first fit stands in the state, and the second one begins from there.
        final = fit.run(state, booster, np.arange(len(table.targets)), state.target)
    except xgboost.core.XGBoostError as error:
        reason = str(error).split("\n")[0][:300]
        raise UnavailableError(f"XGBoost could not train: {reason}") from error
    facts = HeldOutFacts.model_validate_json(state.facts or "{}")
    chosen = np.random.default_rng(int(params["seed"])).permutation(len(table.targets))[:REFERENCE_ROWS]
    return TrainedModel(
        bytes(final.save_raw(raw_format="ubj")),
        task,
        facts.metrics,
        params,
        time.perf_counter() - began,
        facts.intervals,
        _importance(final, table.columns),
        facts.loss_scale,
        table.matrix[np.sort(chosen)],
    )


def _check_fitting(table: Table, fitting: Rows) -> None:
    if table.labels and len(np.unique(table.targets[fitting])) < 2:
        message = "the oldest rows, which are fitted first, are all of one class"
        raise InvalidInputError.for_field("time_column", message)
    if table.weights is not None and not table.weights[fitting].any():
        raise InvalidInputError.for_field("weight_column", "the rows that are fitted all have the weight 0")


def _begin(
    table: Table, params: dict[str, float | int], options: TrainingOptions
) -> tuple[CheckpointState, bytes | None]:
    if options.checkpoint is None:
        return CheckpointState(key=""), None
    what = (table.digest(), sorted(params.items()), options.early_stopping, options.device, options.rising)
    key = sha256(repr(what).encode()).hexdigest()
    return options.checkpoint.load(key) or (CheckpointState(key=key), None)


def _measure(
    table: Table,
    task: Task,
    parts: RowSplit,
    fit: Fit,
    state: CheckpointState,
    booster: bytes | None,
    options: TrainingOptions,
) -> CheckpointState:
    """The first fit; the state at the beginning of the second one, with what the first one found."""
    rounds = fit.rounds
    fitted = fit.run(state, booster, parts.fitting, rounds, parts.stopping, options.early_stopping)
    target = state.best_round if options.early_stopping else rounds
    answers = fitted.inplace_predict(table.matrix[parts.held], iteration_range=(0, target))
    targets, scale = table.targets[parts.held], None
    if task == "regression":
        found = evaluation.regression(targets, answers)
        scale = _loss_scale(targets, answers)
    else:
        found = evaluation.classification(targets, as_probabilities(task, answers))
    found.metrics |= {"n_train": float(len(parts.fitting)), "n_valid": float(len(parts.held))}
    if options.early_stopping:
        found.metrics |= {"n_stopping": float(len(parts.stopping)), "rounds": float(target)}
    facts = HeldOutFacts(metrics=found.metrics, intervals=found.intervals, loss_scale=scale)
    following = CheckpointState(
        key=state.key, stage=1, before=state.rounds, target=target, facts=facts.model_dump_json()
    )
    if options.checkpoint is not None:
        options.checkpoint.save(following, None)
    return following


def _loss_scale(targets: Floats, answers: Floats) -> float:
    """What counts as a loss of 1; where the model makes no error, how far targets are apart."""
    exact = targets.astype(np.float64)
    errors = float(np.quantile(np.abs(answers.astype(np.float64) - exact), 0.99))
    return errors or float(np.ptp(exact)) or 1.0


def _importance(booster: "xgboost.Booster", columns: tuple[str, ...]) -> dict[str, float]:
    gains: dict[str, float] = booster.get_score(importance_type="total_gain")  # type: ignore[assignment]
    whole = sum(gains.values())
    shares = {columns[int(name.removeprefix("f"))]: gain / whole for name, gain in gains.items() if whole > 0}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
