"""The trials of a running search: written by those who run them, read by those who follow."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from seedcore.ml.tuning.search_plan import SearchPlan
from seedcore.ml.tuning.trial_record import TrialRecord


@dataclass(frozen=True, slots=True)
class SearchNews:
    """What happened in a search since `seen` of the news before.

    Attributes:
        trials: those that changed, as they are now.
        running: whether a trial runs.
        over: all trials of the search have ended.
        cpus: (free, all) of the cluster, while no trial runs.
        error: of the last trial that failed; empty when none did.
        staging: a folder that those who run the trials write to, to be removed; empty when there is none.
    """

    seen: int
    trials: tuple[TrialRecord, ...]
    running: bool
    over: bool
    cpus: tuple[float, float] | None = None
    staging: str = ""
    error: str = ""


class TrialBoard:
    """The trials of a running search, written by Ray Tune's callbacks and read by those who follow."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._names: dict[str, str] = {}
        self._trials: dict[str, TrialRecord] = {}
        self._changed: dict[str, int] = {}
        self._resumed = {trial.trial: trial for trial in plan.interrupted}
        self._count, self._version = len(plan.past), 0
        self._condition = threading.Condition()
        self.staging = self._error = ""

    def begin(self, key: str, params: dict[str, float | int]) -> None:
        """A trial begins, or begins again after its process died."""
        with self._condition:
            if key not in self._names:
                self._names[key] = self._name(params)
            name = self._names[key]
            self._put(TrialRecord(name, {**self._plan.fixed, **params}, "running"))

    def _name(self, params: Mapping[str, float | int]) -> str:
        for name, trial in self._resumed.items():
            if all(trial.params.get(k) == v for k, v in params.items()):
                del self._resumed[name]
                return name
        self._count += 1
        return f"{self._count:04d}"

    def report(self, key: str, rounds: int, score: float) -> None:
        """A trial reached `rounds`."""
        with self._condition:
            trial = self._trials[self._names[key]]
            self._put(replace(trial, scores=(*trial.scores, (rounds, score))))

    def end(self, key: str) -> None:
        """A trial ended: it is completed when it had all rounds, else pruned."""
        with self._condition:
            trial = self._trials[self._names[key]]
            complete = bool(trial.scores) and trial.scores[-1][0] >= self._plan.rounds
            self._put(replace(trial, status="completed" if complete else "pruned"))

    def fail(self, key: str, error: str) -> None:
        """A trial failed for good."""
        with self._condition:
            self._error = error
            self._put(replace(self._trials[self._names[key]], status="failed"))

    def _put(self, trial: TrialRecord) -> None:
        self._version += 1
        self._trials[trial.trial] = trial
        self._changed[trial.trial] = self._version
        self._condition.notify_all()

    def news(self, seen: int, wait_s: float) -> SearchNews:
        """What changed after `seen`; waits for a change for at most `wait_s`."""
        with self._condition:
            self._condition.wait_for(lambda: self._version > seen, wait_s)
            changed = tuple(self._trials[name] for name, at in self._changed.items() if at > seen)
            running = any(trial.status == "running" for trial in self._trials.values())
            over = len(self._trials) >= self._plan.left and not running
            return SearchNews(self._version, changed, running, over, staging=self.staging, error=self._error)
