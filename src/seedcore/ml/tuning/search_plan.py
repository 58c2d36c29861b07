"""The terms of one search, and when its trials report and may be pruned."""

import math
from dataclasses import dataclass
from typing import Any

from seedcore.ml.tuning.search_space import Dimension
from seedcore.ml.tuning.trial_record import TrialRecord

REDUCTION = 3
"""Of the trials that reach a rung, the best third goes on."""
_FIRST_PART = REDUCTION**2
_MIN_STEP = 4


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The terms of a search.

    Attributes:
        fixed: parameters that are the same in every trial.
        rounds: boosting rounds of a trial that is not pruned.
        trials: how many there are to be in all, with those of `past`.
        parallel: trials that run at once, at most.
        metric: what is optimized; `maximize` says in which direction.
        prune: whether ASHA ends trials that are behind.
        past: what earlier attempts of the job have seen.
        time_limit_s: trials end after so many seconds.
        trial_cpus: CPUs that Ray reserves for a trial; its model trains in one thread.
    """

    dimensions: tuple[Dimension, ...]
    fixed: dict[str, float | int]
    rounds: int
    trials: int
    parallel: int
    metric: str
    maximize: bool
    seed: int
    prune: bool
    time_limit_s: float
    trial_cpus: float
    past: tuple[TrialRecord, ...] = ()

    @property
    def step(self) -> int:
        """Boosting rounds between two reports, and up to the first rung."""
        return first_rung(self.rounds)

    @property
    def mode(self) -> str:
        """The direction, as Ray Tune and Optuna name it."""
        return "max" if self.maximize else "min"

    @property
    def ended(self) -> tuple[TrialRecord, ...]:
        """Past trials that are not run again."""
        return tuple(trial for trial in self.past if trial.status != "running")

    @property
    def interrupted(self) -> tuple[TrialRecord, ...]:
        """Past trials that an attempt left unfinished; they are run again, from the beginning."""
        return tuple(trial for trial in self.past if trial.status == "running")

    @property
    def left(self) -> int:
        """Trials that are still to be run, the interrupted ones among them."""
        return max(0, self.trials - len(self.ended))

    @property
    def sampler_seed(self) -> int:
        """Of the sampler: a resumed search must not draw again what its first attempt drew."""
        return (self.seed + 7919 * len(self.past)) % 2**31

    def point(self, trial: TrialRecord) -> dict[str, float | int]:
        """The parameters of a trial that the search chose."""
        return {dimension.name: trial.params[dimension.name] for dimension in self.dimensions}

    def teach_searcher(self, searcher: Any) -> None:
        """Let a searcher of Ray Tune's know what past trials came to; it takes their last score, as of others."""
        for trial in self.ended:
            if trial.status != "failed" and trial.scores:
                searcher.add_evaluated_point(self.point(trial), trial.scores[-1][1])

    def teach_scheduler(self, scheduler: Any, rounds_key: str, score_key: str) -> None:
        """Let a scheduler of Ray Tune's know what past trials reached at each report."""
        for trial in self.ended:
            past = PastTrial(trial.trial)
            scheduler.on_trial_add(None, past)
            for rounds, score in trial.scores:
                scheduler.on_trial_result(None, past, {rounds_key: rounds, score_key: score})


@dataclass(frozen=True, slots=True)
class PastTrial:
    """Stands for a trial of an earlier attempt: a scheduler reads its id."""

    trial_id: str


def first_rung(rounds: int) -> int:
    """Rounds at which a trial is first judged: a ninth of all, so that rungs are at 1/9, 1/3 and the end."""
    return min(rounds, max(_MIN_STEP, math.ceil(rounds / _FIRST_PART)))
