"""Makes rows to learn the salience from: what was known when a task was decided about, and what became of it.

A row holds only what was known then: of its stream what had ended before the task was submitted, of the task itself its
priority, its size and the number of the attempt. What ended later, and how often it was tried in the end, is left out.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from seedcore.changepoint.features import MIN_S, outcome_features
from seedcore.decision.salience import formula
from seedcore.tasks.history import EndedWork

RECENT_TIMES, RECENT_ENDS, USUAL_TIMES = 50, 100, 2_000
"""Ends of a stream whose times are of late, whose failures are counted, and whose times are usual; as the monitors'."""

DEAD_S = 3_600.0
MAX_ATTEMPTS = 4
"""Rows of one task: one for each attempt, as each is decided about."""

Features = dict[str, float | None]


class OutcomeRow(NamedTuple):
    """Features known beforehand, the salience of what became of the task in [0, 1], when it was submitted."""

    features: Features
    target: float
    created_s: float


@dataclass(slots=True)
class _StreamPast:
    """What ended so far in one stream."""

    ends: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT_ENDS))
    times: deque[float] = field(default_factory=deque)
    recent: deque[float] = field(default_factory=deque)
    dead: deque[float] = field(default_factory=deque)
    failures: int = 0
    sum_of_times: float = 0.0
    sum_of_recent: float = 0.0

    def add(self, task: EndedWork) -> None:
        for failed in (*[True] * (task.attempts - 1), task.failed)[-RECENT_ENDS:]:
            if len(self.ends) == RECENT_ENDS:
                self.failures -= self.ends[0]
            self.ends.append(failed)
            self.failures += failed
        if task.seconds is not None:
            level = outcome_features(task.seconds, True, None)[0]
            self.sum_of_times += _push(self.times, level, USUAL_TIMES)
            self.sum_of_recent += _push(self.recent, level, RECENT_TIMES)
        if task.failed:
            self.dead.append(task.finished_s)

    def features(self, now_s: float) -> Features:
        while self.dead and self.dead[0] < now_s - DEAD_S:
            self.dead.popleft()
        found: Features = {"dead_letters": len(self.dead)}
        if self.ends:
            found["failure_share"] = self.failures / len(self.ends)
        if self.times:
            usual, late = self.sum_of_times / len(self.times), self.sum_of_recent / len(self.recent)
            found["seconds_ratio"] = 2.0 ** (late - usual)
        return found


def _push(kept: deque[float], value: float, most: int) -> float:
    """Keep a value, and the newest `most` alone; the difference that it makes to their sum."""
    kept.append(value)
    return value - (kept.popleft() if len(kept) > most else 0.0)


def outcome_rows(tasks: Sequence[EndedWork]) -> list[OutcomeRow]:
    """A row for each attempt of each task, in the order of submission."""
    in_order = sorted(tasks, key=lambda task: task.created_s)
    ends = sorted(tasks, key=lambda task: task.finished_s)
    usual = _usual_costs(tasks)
    past: dict[str, _StreamPast] = {}
    rows: list[OutcomeRow] = []
    ended = 0
    for task in in_order:
        while ended < len(ends) and ends[ended].finished_s < task.created_s:
            past.setdefault(ends[ended].stream, _StreamPast()).add(ends[ended])
            ended += 1
        known = past.setdefault(task.stream, _StreamPast()).features(task.created_s)
        known |= {"priority": task.priority, "params_bytes": task.params_bytes, "valve_evidence": task.evidence}
        target = _target(task, usual)
        attempts = range(1, min(task.attempts, MAX_ATTEMPTS) + 1)
        rows += [OutcomeRow(known | {"attempts": attempt}, target, task.created_s) for attempt in attempts]
    return rows


def _target(task: EndedWork, usual: "dict[str, _UsualCost]") -> float:
    """The formula of what became of the task: so what is learned, and the formula, foretell the same."""
    of_type = usual[task.type]
    cost = of_type.cost_of(task)
    return formula(
        {
            "failure_share": float(task.failed),
            "escalated": float(task.escalated),
            "waits_for_approval": float(task.approval),
            "cost_ratio": None if cost is None or of_type.median <= 0.0 else cost / of_type.median,
        }
    )


@dataclass(frozen=True, slots=True)
class _UsualCost:
    """What tasks of one type cost: money where any of them said so, else seconds (from MIN_S on)."""

    in_money: bool
    median: float

    def cost_of(self, task: EndedWork) -> float | None:
        if self.in_money:
            return task.money
        return None if task.seconds is None else max(task.seconds, MIN_S)


def _usual_costs(tasks: Iterable[EndedWork]) -> dict[str, _UsualCost]:
    by_type: dict[str, list[EndedWork]] = {}
    for task in tasks:
        by_type.setdefault(task.type, []).append(task)
    found = {}
    for type_, those in by_type.items():
        in_money = any(task.money for task in those)
        kind = _UsualCost(in_money, 0.0)
        costs = [cost for task in those if (cost := kind.cost_of(task)) is not None]
        found[type_] = _UsualCost(in_money, median(costs) if costs else 0.0)
    return found
