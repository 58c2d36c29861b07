"""Learned service time and success per (agent, task type), with forgetting and shrinkage to a prior."""

from collections.abc import Iterable
from dataclasses import dataclass

FORGET = 0.98
"""Weight that one new outcome leaves to the past: an effective memory of 1 / (1 - FORGET) = 50 outcomes."""

PRIOR_WEIGHT = 5.0
"""Outcomes that the prior (the type's mean over all agents) counts for."""

DEFAULT_SECONDS = 0.05
"""Expected service time, in seconds, of a type that nobody has run yet."""


@dataclass(slots=True)
class RateEstimate:
    """Exponentially forgetting sums: weight (outcomes), seconds, successes."""

    weight: float = 0.0
    seconds: float = 0.0
    successes: float = 0.0

    def add(self, count: int, seconds: float, successes: int) -> None:
        """Take in `count` outcomes that took `seconds` in all, `successes` of them good.

        They count as they would one by one, each as the batch's mean: the memory is bounded however they come.
        """
        if count == 1:
            # The same sums, without the powers: hosts learn from every single task.
            self.weight = self.weight * FORGET + 1
            self.seconds = self.seconds * FORGET + seconds
            self.successes = self.successes * FORGET + successes
            return
        keep = FORGET**count
        share = (1 - keep) / (1 - FORGET) / count
        self.weight = self.weight * keep + share * count
        self.seconds = self.seconds * keep + share * seconds
        self.successes = self.successes * keep + share * successes

    def put_before(self, earlier: "RateEstimate") -> None:
        """Take in what `earlier` holds, as outcomes before all of this one's."""
        keep = 1.0 - (1.0 - FORGET) * self.weight
        self.weight += earlier.weight * keep
        self.seconds += earlier.seconds * keep
        self.successes += earlier.successes * keep

    def mean_seconds(self, prior: float = DEFAULT_SECONDS) -> float:
        """Expected seconds of one task, shrunken to `prior`."""
        return (self.seconds + PRIOR_WEIGHT * prior) / (self.weight + PRIOR_WEIGHT)

    def success(self, prior: float = 1.0) -> float:
        """Expected share of good outcomes, shrunken to `prior`, in [0, 1]."""
        return (self.successes + PRIOR_WEIGHT * prior) / (self.weight + PRIOR_WEIGHT)


class RateTable:
    """Estimates for every (agent, type), and the types' own means that agents shrink to."""

    def __init__(self) -> None:
        self._types: dict[str, RateEstimate] = {}
        self._agents: dict[str, dict[str, RateEstimate]] = {}

    def add(self, agent: str, task_type: str, count: int, seconds: float, successes: int) -> None:
        """Take in outcomes of one agent and type."""
        self._types.setdefault(task_type, RateEstimate()).add(count, seconds, successes)
        self._agents.setdefault(task_type, {}).setdefault(agent, RateEstimate()).add(count, seconds, successes)

    def remember(self, agent: str, task_type: str, earlier: RateEstimate) -> None:
        """Take in what an agent had learned earlier, as outcomes before all that were added here."""
        for known in (
            self._types.setdefault(task_type, RateEstimate()),
            self._agents.setdefault(task_type, {}).setdefault(agent, RateEstimate()),
        ):
            known.put_before(earlier)

    def estimate(self, agent: str, task_type: str) -> RateEstimate | None:
        """What `agent` itself learned about `task_type`; None when it has not done any."""
        return self._agents.get(task_type, {}).get(agent)

    def agents_with(self, task_type: str) -> Iterable[str]:
        """Agents that have done `task_type`."""
        return self._agents.get(task_type, ())

    def type_seconds(self, task_type: str) -> float:
        """Expected seconds of a type over all agents."""
        estimate = self._types.get(task_type)
        return DEFAULT_SECONDS if estimate is None else estimate.mean_seconds()

    def type_success(self, task_type: str) -> float:
        """Expected success of a type over all agents, in [0, 1]."""
        estimate = self._types.get(task_type)
        return 1.0 if estimate is None else estimate.success()

    def seconds(self, agent: str, task_type: str) -> float:
        """Expected seconds of `task_type` on `agent`."""
        prior = self.type_seconds(task_type)
        estimate = self.estimate(agent, task_type)
        return prior if estimate is None else estimate.mean_seconds(prior)

    def success(self, agent: str, task_type: str) -> float:
        """Expected success of `task_type` on `agent`, in [0, 1]."""
        prior = self.type_success(task_type)
        estimate = self.estimate(agent, task_type)
        return prior if estimate is None else estimate.success(prior)
