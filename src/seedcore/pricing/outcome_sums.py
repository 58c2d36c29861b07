"""Sums expected and realised changes of energy over the outcomes of decisions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple


class Expected(NamedTuple):
    """What was expected of a decision: seconds, share of failures, V, and the energy that it adds (seconds²)."""

    seconds: float
    failure: float
    v: float
    delta_energy: float


@dataclass(slots=True)
class Sums:
    """Sums over outcomes; seconds, seconds² (deltas), seconds⁴ (squares), and what skills said that they spent."""

    outcomes: int = 0
    expected_s: float = 0.0
    realised_s: float = 0.0
    expected_failures: float = 0.0
    failures: int = 0
    expected_delta: float = 0.0
    realised_delta: float = 0.0
    realised_squares: float = 0.0
    squared_error: float = 0.0
    tokens: float = 0.0
    money: float = 0.0

    def add(self, expected: Expected, seconds: float, ok: bool, spent: tuple[float, float] | None = None) -> None:
        """Add the outcome of a decision: the same ΔE = We + ½e² + V·cost, with its real seconds and success.

        Money in the cost counts as if it grew with the seconds: it cannot be separated from the backlog. `spent`: the
        tokens and the money that the skill reported.
        """
        e, fails, v, added = expected
        if e <= 0:
            return
        queued_s = max(0.0, (added - 0.5 * e * e - v * fails) / e)
        realised = queued_s * seconds + 0.5 * seconds * seconds + v * (not ok)
        self.outcomes += 1
        self.expected_s += e
        self.realised_s += seconds
        self.expected_failures += fails
        self.failures += not ok
        self.expected_delta += added
        self.realised_delta += realised
        self.realised_squares += realised * realised
        self.squared_error += (realised - added) ** 2
        if spent is not None:
            self.tokens += spent[0]
            self.money += spent[1]

    def join(self, other: "Sums") -> None:
        """Add the sums of `other`."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @classmethod
    def of(cls, row: Mapping[str, float]) -> "Sums":
        """The sums in a row with these fields."""
        found = cls()
        for field in fields(cls):
            value = row[field.name]
            setattr(found, field.name, int(value) if field.name in ("outcomes", "failures") else value)
        return found
