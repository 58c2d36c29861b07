"""Learned money per (agent, task type), from what attempts said that they spent. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from seedcore.pricing.potential import Floats
from seedcore.pricing.rates import FORGET_STEADY, PRIOR_WEIGHT, RateEstimate


@dataclass(slots=True)
class _Type:
    """Sums of money stand where a rate has seconds."""

    mean: RateEstimate = field(default_factory=RateEstimate)
    agents: dict[str, RateEstimate] = field(default_factory=dict)


class Spending:
    """Money for one task, an agent's estimate shrunken to the type's mean; unknown until somebody has reported some."""

    def __init__(self) -> None:
        self._types: dict[str, _Type] = {}

    def add(self, agent: str, task_type: str, count: int, money: float) -> None:
        """Take in `count` attempts that reported `money` in all."""
        known = self._types.setdefault(task_type, _Type())
        known.mean.add(count, money, 0, FORGET_STEADY)
        known.agents.setdefault(agent, RateEstimate()).add(count, money, 0, FORGET_STEADY)

    def expected(self, place: Mapping[str, int], task_type: str) -> Floats | None:
        """Money for one task of a type at each agent (its row in `place`), shape (n,); None: nobody reported any."""
        known = self._types.get(task_type)
        if known is None:
            return None
        mean = known.mean.seconds / known.mean.weight
        found = np.full(len(place), mean)
        for agent, own in known.agents.items():
            if (row := place.get(agent)) is not None:
                found[row] = (own.seconds + PRIOR_WEIGHT * mean) / (own.weight + PRIOR_WEIGHT)
        return found
