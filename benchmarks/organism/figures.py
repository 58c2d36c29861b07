"""What a part measures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from seedcore.settings import Settings


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity: its value in each round, and the target for their median."""

    name: str
    unit: str
    rounds: list[float]
    target: float
    at_least: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def met(self) -> bool:
        """Whether the median meets the target."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        bound = {"at_least" if self.at_least else "at_most": self.target}
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.value,
            "rounds": self.rounds,
            **bound,
            "met": self.met,
            **self.detail,
        }


Part = Callable[[Settings, int], list[Figure]]
"""Measures for so many rounds, on a migrated database of its own."""
