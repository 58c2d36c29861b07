"""Learns money per (agent, task type) from what attempts reported to have spent. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from seedcore.pricing.potential import Floats
from seedcore.pricing.rates import FORGET_STEADY, PRIOR_WEIGHT, RateEstimate


@dataclass(slots=True)
class _TypeMoney:
    """Sums for one task type; the field `seconds` of the rates holds money."""

    mean: RateEstimate = field(default_factory=RateEstimate)
    agents: dict[str, RateEstimate] = field(default_factory=dict)


class MoneyRates:
    """Money for one task: an agent's estimate, shrunken to the type's mean; unknown until an attempt reported some."""

    def __init__(self) -> None:
        self._types: dict[str, _TypeMoney] = {}

    def add(self, agent: str, task_type: str, count: int, money: float) -> None:
        """Add `count` attempts that reported `money` in total."""
        known = self._types.setdefault(task_type, _TypeMoney())
        known.mean.add(count, money, 0, FORGET_STEADY)
        known.agents.setdefault(agent, RateEstimate()).add(count, money, 0, FORGET_STEADY)

    def expected(self, place: Mapping[str, int], task_type: str) -> Floats | None:
        """Money for one task of a type at each agent (its row in `place`), shape (n,); None: none was reported."""
        known = self._types.get(task_type)
        if known is None:
            return None
        mean = known.mean.seconds / known.mean.weight
        found = np.full(len(place), mean)
        for agent, own in known.agents.items():
            if (row := place.get(agent)) is not None:
                found[row] = (own.seconds + PRIOR_WEIGHT * mean) / (own.weight + PRIOR_WEIGHT)
        return found
