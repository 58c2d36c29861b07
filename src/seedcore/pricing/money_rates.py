"""Learns money per (agent, task type) from what attempts reported to have spent. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from seedcore.pricing.learned_json import TypeMoneyJson
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

    @classmethod
    def from_json(cls, types: Mapping[str, TypeMoneyJson]) -> Self:
        """The rates that `to_json` wrote."""
        made = cls()
        made.replace(types)
        return made

    def to_json(self, types: Iterable[str] | None = None) -> dict[str, TypeMoneyJson]:
        """All that was learned about `types` (None: about all), without loss."""
        names = self._types if types is None else [name for name in types if name in self._types]
        return {
            name: {
                "mean": self._types[name].mean.to_json(),
                "agents": {agent: own.to_json() for agent, own in self._types[name].agents.items()},
            }
            for name in names
        }

    def replace(self, types: Mapping[str, TypeMoneyJson]) -> None:
        """Take over whole types as `to_json` wrote them."""
        for name, given in types.items():
            agents = {agent: RateEstimate(*own) for agent, own in given["agents"].items()}
            self._types[name] = _TypeMoney(RateEstimate(*given["mean"]), agents)

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
