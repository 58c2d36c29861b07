"""What is kept about a trial of a search, the metrics that a search may optimize, and the best of what was seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from seedcore.errors import InvalidInputError
from seedcore.schemas.ml.models import Task

TrialStatus = Literal["running", "pruned", "completed", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial: its parameters, and its scores as (rounds, score), in the order of its reports.

    `pruned` also says of a trial that the end of the time limit stopped it. `stopped` is never stored: it is what one
    that ran is once its job has ended.
    """

    trial: str
    params: dict[str, float | int]
    status: TrialStatus
    scores: tuple[tuple[int, float], ...] = ()


MAXIMIZED = frozenset({"accuracy", "auc", "r2"})
METRICS: Mapping[Task, tuple[str, ...]] = {
    "binary": ("logloss", "accuracy", "auc"),
    "multiclass": ("logloss", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
}
"""By task kind, its default first."""
ALL_METRICS: Sequence[str] = tuple(dict.fromkeys(name for names in METRICS.values() for name in names))


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best score that was seen, and where."""

    trial: str
    params: dict[str, float | int]
    rounds: int
    score: float


def metric_for(task: Task, named: str | None) -> str:
    """The metric of a search on data of the kind `task`; its default unless one is named.

    Raises:
        InvalidInputError: the named metric is not one of that kind.
    """
    if named is None:
        return METRICS[task][0]
    if named not in METRICS[task]:
        raise InvalidInputError.for_field("metric", f"must be {' or '.join(METRICS[task])} for {task} data")
    return named


def best_of(trials: Iterable[TrialRecord], metric: str) -> BestTrial | None:
    """The best score of all trials that did not fail, at any of their reports; of equal ones that with fewer rounds."""
    sign = 1.0 if metric in MAXIMIZED else -1.0
    seen = (
        BestTrial(trial.trial, dict(trial.params), rounds, score)
        for trial in trials
        if trial.status != "failed"
        for rounds, score in trial.scores
    )
    return max(seen, key=lambda best: (sign * best.score, -best.rounds), default=None)
