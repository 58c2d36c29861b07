"""Learns service time and success per (agent, task type), with forgetting and shrinkage to the mean.

An agent's estimate shrinks to the mean of its organ for that type, which shrinks to the type's mean over all organs.
While work stays the same, a long memory routes better; so it is long, and cut to the last few outcomes when they
contradict it. An agent's estimate fades while others run the type, faster after a change, so that a slow agent is tried
again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Self

import numpy as np

from seedcore.pricing.learned_json import SumsJson, TypeRatesJson
from seedcore.pricing.potential import Floats

FORGET = 0.98
"""Factor on the past for each new outcome where a host learns: an effective memory of 1 / (1 - FORGET) = 50."""

FORGET_STEADY = 0.995
"""The same in a `RateTable`, which detects changes: 200 outcomes."""

FORGET_RECENT = 0.9
"""The same for the last few outcomes, which the memory is compared with: 10 outcomes."""

CHANGED = 3.0
"""Memory is cut when the last few outcomes took this many times as long as it says, or as short. (With exponential
service times: less than once in 100,000 outcomes without a change.)"""

CHANGED_SUCCESS = 0.4
"""The same for the difference in success."""

FADE, FADE_CHANGED = 2000.0, 100.0
"""Outcomes of each agent of the type in which an estimate fades by e; the latter after a change."""

SETTLED = 50.0
"""Outcomes after a change until an estimate counts as settled again."""

PRIOR_WEIGHT = 2.0
"""Outcomes that the prior counts for: the organ's mean for an agent, the type's mean for an organ."""

DEFAULT_SECONDS = 0.05
"""Expected service time, in seconds, of a type that has never run."""


@dataclass(slots=True)
class RateEstimate:
    """Exponentially forgetting sums: weight (outcomes), seconds, successes."""

    weight: float = 0.0
    seconds: float = 0.0
    successes: float = 0.0

    def add(self, count: int, seconds: float, successes: int, forget: float = FORGET, faded: float = 1.0) -> None:
        """Add `count` outcomes that took `seconds` in total, `successes` of them good.

        They count as if added one by one, each as the batch's mean, so batches do not change the bound of the memory.
        The past is first multiplied by `faded`.
        """
        if count == 1:
            # The same sums without powers: hosts add every single task.
            keep = forget * faded
            self.weight = self.weight * keep + 1
            self.seconds = self.seconds * keep + seconds
            self.successes = self.successes * keep + successes
            return
        keep = forget**count
        share = (1 - keep) / (1 - forget) / count
        keep *= faded
        self.weight = self.weight * keep + share * count
        self.seconds = self.seconds * keep + share * seconds
        self.successes = self.successes * keep + share * successes

    def merge_earlier(self, earlier: "RateEstimate", forget: float = FORGET) -> None:
        """Merge `earlier`, as outcomes before all of this estimate's."""
        keep = max(0.0, 1.0 - (1.0 - forget) * self.weight)
        self.weight += earlier.weight * keep
        self.seconds += earlier.seconds * keep
        self.successes += earlier.successes * keep

    def mean_seconds(self, prior: float = DEFAULT_SECONDS) -> float:
        """Expected seconds of one task, shrunken to `prior`."""
        return (self.seconds + PRIOR_WEIGHT * prior) / (self.weight + PRIOR_WEIGHT)

    def success(self, prior: float = 1.0) -> float:
        """Expected share of good outcomes, shrunken to `prior`, in [0, 1]."""
        return (self.successes + PRIOR_WEIGHT * prior) / (self.weight + PRIOR_WEIGHT)

    def fade(self, keep: float) -> None:
        """Multiply the weight of all outcomes so far by `keep`."""
        self.weight *= keep
        self.seconds *= keep
        self.successes *= keep

    def to_json(self) -> SumsJson:
        """The sums; `RateEstimate(*sums)` is the same estimate."""
        return self.weight, self.seconds, self.successes


@dataclass(slots=True)
class _Agent:
    """One agent's estimate; `at` is the type's count of outcomes at its last one."""

    organ: str
    estimate: RateEstimate
    at: int = 0
    fade: float = FADE
    recent: RateEstimate = field(default_factory=RateEstimate)

    def add(self, count: int, seconds: float, successes: int, keep: float) -> None:
        """Add outcomes, the past multiplied by `keep`; cut the memory when they contradict it."""
        self.estimate.add(count, seconds, successes, FORGET_STEADY, keep)
        self.recent.add(count, seconds, successes, FORGET_RECENT)
        if self.contradicted():
            self.estimate, self.fade = replace(self.recent), FADE_CHANGED
        elif self.estimate.weight > SETTLED:
            self.fade = FADE

    def contradicted(self) -> bool:
        """Whether the last few outcomes differ from those before."""
        old, new = self.estimate, self.recent
        if old.weight < 2 * new.weight or new.weight < 2:
            return False
        ratio = (new.seconds * old.weight) / max(old.seconds * new.weight, 1e-12)
        drop = abs(new.successes / new.weight - old.successes / old.weight)
        return ratio > CHANGED or ratio * CHANGED < 1.0 or drop > CHANGED_SUCCESS


class _TypeRates:
    """The estimates of one task type."""

    __slots__ = ("agents", "count", "mean", "organs")

    def __init__(self) -> None:
        self.count = 0
        self.mean = RateEstimate()
        self.organs: dict[str, RateEstimate] = {}
        self.agents: dict[str, _Agent] = {}

    def to_json(self) -> TypeRatesJson:
        return {
            "count": self.count,
            "mean": self.mean.to_json(),
            "organs": {organ: mean.to_json() for organ, mean in self.organs.items()},
            "agents": {
                agent: (own.organ, own.estimate.to_json(), own.at, own.fade, own.recent.to_json())
                for agent, own in self.agents.items()
            },
        }

    @classmethod
    def from_json(cls, given: TypeRatesJson) -> "_TypeRates":
        made = cls()
        made.count, made.mean = given["count"], RateEstimate(*given["mean"])
        made.organs = {organ: RateEstimate(*mean) for organ, mean in given["organs"].items()}
        made.agents = {
            agent: _Agent(organ, RateEstimate(*estimate), at, fade, RateEstimate(*recent))
            for agent, (organ, estimate, at, fade, recent) in given["agents"].items()
        }
        return made

    def agent(self, agent: str, organ: str) -> _Agent:
        known = self.agents.get(agent)
        if known is None:
            known = self.agents[agent] = _Agent(organ, RateEstimate(), self.count)
        return known

    def organ(self, organ: str) -> RateEstimate:
        known = self.organs.get(organ)
        if known is None:
            known = self.organs[organ] = RateEstimate()
        return known

    def keep(self, own: _Agent) -> float:
        """The factor that an agent's outcomes have faded to."""
        return exp((own.at - self.count) / (own.fade * len(self.agents)))


class RateTable:
    """Estimates for every (agent, type), and the means of organs and types that they shrink to."""

    def __init__(self) -> None:
        self._types: dict[str, _TypeRates] = {}

    @classmethod
    def from_json(cls, types: Mapping[str, TypeRatesJson]) -> Self:
        """The table that `to_json` wrote."""
        made = cls()
        made.replace(types)
        return made

    def to_json(self, types: Iterable[str] | None = None) -> dict[str, TypeRatesJson]:
        """All that was learned about `types` (None: about all), without loss; types without outcomes are left out."""
        names = self._types if types is None else [name for name in types if name in self._types]
        return {name: self._types[name].to_json() for name in names if self._types[name].agents}

    def replace(self, types: Mapping[str, TypeRatesJson]) -> None:
        """Take over whole types as `to_json` wrote them; `RateColumns` of these must be made again."""
        self._types |= {name: _TypeRates.from_json(given) for name, given in types.items()}

    def add(self, agent: str, task_type: str, count: int, seconds: float, successes: int, organ: str = "") -> None:
        """Add outcomes of one agent and type."""
        known = self._type(task_type)
        own = known.agent(agent, organ)
        own.add(count, seconds, successes, known.keep(own))
        known.count += count
        own.at, own.organ = known.count, organ
        known.mean.add(count, seconds, successes, FORGET_STEADY)
        known.organ(organ).add(count, seconds, successes, FORGET_STEADY)

    def merge_earlier(self, agent: str, task_type: str, earlier: RateEstimate, organ: str = "") -> None:
        """Merge what an agent had learned earlier, as outcomes before all that were added here."""
        known = self._type(task_type)
        known.agent(agent, organ).estimate.merge_earlier(earlier, FORGET_STEADY)
        known.mean.merge_earlier(earlier, FORGET_STEADY)
        known.organ(organ).merge_earlier(earlier, FORGET_STEADY)

    def estimate(self, agent: str, task_type: str) -> RateEstimate | None:
        """What `agent` itself learned about `task_type`, faded to now; None when it has run none."""
        known = self._types.get(task_type)
        own = None if known is None else known.agents.get(agent)
        if known is None or own is None:
            return None
        faded = replace(own.estimate)
        faded.fade(known.keep(own))
        return faded

    def type_seconds(self, task_type: str, organ: str = "") -> float:
        """Expected seconds of a type in an organ; over all organs where it has not run there."""
        known = self._types.get(task_type)
        if known is None:
            return DEFAULT_SECONDS
        mean, of_organ = known.mean.mean_seconds(), known.organs.get(organ)
        return mean if of_organ is None else of_organ.mean_seconds(mean)

    def type_success(self, task_type: str, organ: str = "") -> float:
        """Expected success of a type in an organ, in [0, 1]; over all organs where it has not run there."""
        known = self._types.get(task_type)
        if known is None:
            return 1.0
        mean, of_organ = known.mean.success(), known.organs.get(organ)
        return mean if of_organ is None else of_organ.success(mean)

    def seconds(self, agent: str, task_type: str, organ: str = "") -> float:
        """Expected seconds of `task_type` on `agent` of `organ`."""
        prior = self.type_seconds(task_type, organ)
        estimate = self.estimate(agent, task_type)
        return prior if estimate is None else estimate.mean_seconds(prior)

    def success(self, agent: str, task_type: str, organ: str = "") -> float:
        """Expected success of `task_type` on `agent` of `organ`, in [0, 1]."""
        prior = self.type_success(task_type, organ)
        estimate = self.estimate(agent, task_type)
        return prior if estimate is None else estimate.success(prior)

    def columns(self, agents: dict[str, int], task_type: str, organ: str = "") -> "RateColumns":
        """The estimates of an organ's agents (their rows by id) for a type, as vectors; `write` later additions."""
        made = RateColumns(self._type(task_type), self, task_type, organ, len(agents))
        for agent in made.known.agents:
            if agent in agents:
                made.write(agents[agent], agent)
        return made

    def _type(self, task_type: str) -> _TypeRates:
        known = self._types.get(task_type)
        if known is None:
            known = self._types[task_type] = _TypeRates()
        return known


class RateColumns:
    """Estimates of one type for n agents of an organ, as vectors: a batch need not look at every agent."""

    __slots__ = ("_at", "_fade", "_organ", "_seconds", "_successes", "_table", "_task_type", "_weight", "known")

    def __init__(self, known: _TypeRates, table: RateTable, task_type: str, organ: str, n: int) -> None:
        self.known, self._table, self._task_type, self._organ = known, table, task_type, organ
        self._weight, self._seconds, self._successes, self._at = (np.zeros(n) for _ in range(4))
        self._fade = np.full(n, FADE)

    def write(self, row: int, agent: str) -> None:
        """Copy an agent's estimate from the table."""
        own = self.known.agents[agent]
        self._weight[row] = own.estimate.weight
        self._seconds[row] = own.estimate.seconds
        self._successes[row] = own.estimate.successes
        self._at[row] = own.at
        self._fade[row] = own.fade

    def means(self) -> tuple[Floats, Floats]:
        """Expected seconds, and expected success, of each agent; both of shape (n,)."""
        keep = np.exp((self._at - self.known.count) / (self._fade * max(1, len(self.known.agents))))
        weight = self._weight * keep + PRIOR_WEIGHT
        seconds = PRIOR_WEIGHT * self._table.type_seconds(self._task_type, self._organ)
        success = PRIOR_WEIGHT * self._table.type_success(self._task_type, self._organ)
        return (self._seconds * keep + seconds) / weight, (self._successes * keep + success) / weight
